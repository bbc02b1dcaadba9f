"""The whole network in real processes: the demo as a user sees it, and a validator that dies."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from protocol.ids import BlockNumber, RoundNumber
from protocol.merkle import verify_consistency
from protocol.messages import TreeHead
from protocol.model_files import cache_dir
from protocol.networks import DEVNET
from protocol.rounds import Phase
from protocol.signing import Signed, verify
from scripts.devnet.cast import CAST
from scripts.devnet.processes import Child, Fleet, free_port
from scripts.devnet.stage import Stage, open_stage
from tests.support.model import need_smollm2

pytestmark = [pytest.mark.soak, pytest.mark.timeout(800)]

ROOT = Path(__file__).parents[2]
HONEST = [part.name for part in CAST if part.honest]
CHEATS = [part.name for part in CAST if not part.honest]


@dataclass(slots=True)
class Validator:
    """The demo's validator process, as one that can be killed and started again."""

    stage: Stage
    child: Child

    @classmethod
    def of(cls, stage: Stage) -> "Validator":
        """The one that runs."""
        (child,) = (child for child in stage.fleet.children if child.name == "validator")
        return cls(stage=stage, child=child)

    async def kill(self) -> None:
        """End it without a chance to write anything."""
        self.child.signal(signal.SIGKILL)
        await self.child.wait()
        self.stage.fleet.children.remove(self.child)

    async def start(self) -> None:
        """Start it again, and wait until it answers."""
        self.child = await self.stage.fleet.start("validator", self.child.program)
        async with asyncio.timeout(120):
            while not await self._answers():
                self.stage.fleet.check_alive()
                await asyncio.sleep(0.2)

    async def head(self) -> TreeHead:
        """The signed head of its log."""
        answer = await self.stage.get(f"{self.stage.validator_url}/v1/log/head")
        signed = Signed[TreeHead].model_validate_json(json.dumps(answer))
        return verify(signed, hotkey=self.stage.validator_hotkey)

    async def _answers(self) -> bool:
        try:
            answer = await self.stage.http.get(f"{self.stage.validator_url}/healthz")
        except httpx.HTTPError:
            return False
        return answer.is_success


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """The demo's network, every part a process of its own."""
    async with (
        Fleet(tmp_path / "logs") as fleet,
        open_stage(fleet, tmp_path, model=need_smollm2(), api_port=free_port()) as opened,
    ):
        yield opened


def test_the_demo_ends_by_itself_and_tells_honest_from_cheating_miners(tmp_path: Path) -> None:
    need_smollm2()
    command = [sys.executable, "-m", "scripts.devnet.demo", "--once", "--data-dir", str(tmp_path)]
    environment = {**os.environ, "COLUMNS": "200", "CARBONBENCH_CACHE": str(cache_dir())}

    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    rows = {name: row_of(done.stdout, name) for name in (*HONEST, *CHEATS)}
    assert all("accepted" in rows[name] for name in HONEST), rows
    assert max(weight_percent(rows[name]) for name in CHEATS) < min(
        weight_percent(rows[name]) for name in HONEST
    ), rows
    assert "simulated" in done.stdout
    assert processes_that_name(tmp_path) == []


@pytest.mark.parametrize("phase", [Phase.MEASURING, Phase.REVEALING, Phase.SCORING])
async def test_a_validator_killed_in_a_round_scores_it_all_the_same(
    stage: Stage, phase: Phase
) -> None:
    validator = Validator.of(stage)
    schedule, players = DEVNET.schedule, len(stage.miners)
    first = RoundNumber(schedule.round_at(await stage.block()))
    await play(stage, first)
    before = await validator.head()
    number = RoundNumber(first + 1)

    await stage.mine_to(schedule.start(number))
    if phase is not Phase.MEASURING:
        await stage.until(number, "committed", players, print)
        await stage.mine_to(schedule.beacon(number))
    if phase is Phase.SCORING:
        await stage.until(number, "verdicts", players, print)
        await stage.mine_to(schedule.reveal_deadline(number) + 1)
    await validator.kill()
    await validator.start()
    await play(stage, number)

    after = await validator.head()
    assert after.size > before.size
    assert after.round >= number
    url = f"{stage.validator_url}/v1/log/consistency"
    answer = await stage.get(url, old=before.size, new=after.size)
    verify_consistency(
        old_size=before.size,
        old_root=bytes.fromhex(before.root),
        size=after.size,
        root=bytes.fromhex(after.root),
        proof=[bytes.fromhex(hashed) for hashed in answer["proof"]],
    )


async def play(stage: Stage, number: RoundNumber) -> None:
    """Take a round from wherever it stands to its end."""
    schedule, players = DEVNET.schedule, len(stage.miners)
    block = await stage.block()
    if schedule.phase(BlockNumber(block)) is Phase.MEASURING:
        await stage.until(number, "committed", players, print)
        await stage.mine_to(schedule.beacon(number))
    if schedule.phase(await stage.block()) is not Phase.SCORING:
        await stage.until(number, "verdicts", players, print)
        await stage.mine_to(schedule.reveal_deadline(number) + 1)
    await stage.until_scored(number)


def row_of(printed: str, name: str) -> str:
    """A miner's row in the printed table."""
    (row,) = re.findall(rf"^│ {name} .*$", printed, re.MULTILINE)
    return str(row)


def weight_percent(row: str) -> float:
    """The last column of a row."""
    return float(row.rstrip("│ ").rpartition("│")[2].strip().removesuffix("%"))


def processes_that_name(folder: Path) -> list[str]:
    """Command lines and environments of running processes that hold a folder's name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parts = [process.joinpath(part).read_bytes() for part in ("cmdline", "environ")]
        except OSError:
            continue
        if str(folder).encode() in b"".join(parts) and int(process.name) != os.getpid():
            found.append(parts[0].decode())
    return found
