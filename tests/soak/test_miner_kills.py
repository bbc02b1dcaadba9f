"""Whole rounds of a real miner through kills, an absent chain, and peers that never answer."""

import asyncio
import random
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.canonical import message_digest
from protocol.ids import RoundNumber
from protocol.networks import DEVNET
from tests.support.devnet import COLDKEY, STRANGER, seat
from tests.support.miner_process import MinerProcess, miner_process

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

KILLS = 10
LONGEST_LIFE_SECONDS = 6.0
SCHEDULE = DEVNET.schedule
KEPT = ["commitment.json", "outcome.json", "report.json"]
ONE, TWO, THREE = (RoundNumber(number) for number in (1, 2, 3))


@pytest.fixture
async def miner(tmp_path: Path) -> AsyncIterator[MinerProcess]:
    """A miner beside a validator's log and a client that take its calls and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        log = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with miner_process(tmp_path, VALIDATOR_LOGS=log) as rig:
            yield rig


async def test_kills_at_any_time_leave_one_whole_report_a_round(miner: MinerProcess) -> None:
    chance = random.Random(20_261_122)  # noqa: S311 - moments of kills, no secrets
    for _ in range(KILLS):
        await miner.start()
        life_seconds = chance.uniform(0.0, LONGEST_LIFE_SECONDS)
        async with asyncio.timeout(life_seconds + 30):
            ends = asyncio.get_running_loop().time() + life_seconds
            while asyncio.get_running_loop().time() < ends:
                await miner.ask(ONE)
                await asyncio.sleep(0.05)
        await miner.kill()
        assert set(miner.kept_files(ONE)) <= {*KEPT, "report.partial", "commitment.partial"}

    await miner.start()
    await miner.until_committed(ONE)
    first = await miner.revealed(ONE)
    miner.mine_to(SCHEDULE.start(TWO))
    await miner.until_committed(TWO)
    second = await miner.revealed(TWO)
    assert await miner.end(signal.SIGTERM) == 0

    assert [len(answers) for answers in miner.commitments.values()] == [1, 1]
    assert miner.kept_files(ONE) == miner.kept_files(TWO) == KEPT
    assert message_digest(first) != message_digest(second)


async def test_a_chain_that_restarts_and_peers_that_hang_cost_no_round(
    miner: MinerProcess,
) -> None:
    await miner.start()
    await miner.until_state("measuring")
    miner.devnet.node.faults.restart(3.0)
    half_sent = await asyncio.open_connection("127.0.0.1", miner.http.base_url.port)
    half_sent[1].write(b"GET /v1/profile HTTP/1.1\r\nHost: miner\r\n")
    await miner.until_committed(ONE)

    miner.mine_to(SCHEDULE.start(TWO))
    await miner.until_state("measuring")
    await miner.end(signal.SIGTERM)
    assert "report.json" not in miner.kept_files(TWO)
    await miner.start()
    await miner.until_committed(TWO)
    assert (await miner.revealed(TWO)).round == TWO
    assert await miner.end(signal.SIGTERM) == 0
    half_sent[1].close()


async def test_a_hotkey_that_lost_its_uid_declines_and_mines_on_when_it_is_back(
    miner: MinerProcess,
) -> None:
    await miner.start()
    await miner.until_committed(ONE)
    uid = miner.devnet.subnet.uid(miner.signer.hotkey)
    assert uid is not None
    miner.devnet.subnet.replace(uid, STRANGER.hotkey, COLDKEY)
    miner.mine_to(SCHEDULE.start(TWO))

    async def declined() -> bool:
        rounds = (await miner.http.get("/v1/status")).json()["last_rounds"]
        return bool(rounds[0]["round"] == TWO and rounds[0]["code"] == "not_registered")

    await miner.until(declined)
    seat(miner.devnet.subnet, miner.signer.hotkey)
    miner.mine_to(SCHEDULE.start(THREE))
    await miner.until_committed(THREE)
    assert await miner.end(signal.SIGTERM) == 0
