"""An operator's walk through docs/operating-miner.md on the devnet, command by command.

Every `sh` block is run, in order, and must print what the `text` block under it promises. The
test plays the operator where the page asks for one: it registers the hotkey, and fills in
`miner.env`. A chain node and one validator's log run in the test's own loop.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from protocol.http_server import HttpServer, bind
from protocol.ids import Hotkey, RoundNumber
from protocol.networks import DEVNET
from protocol.signing import sign
from protocol.wallet import create_dev_wallet
from scripts.devnet.gpu.config import DeviceConfig, GpuConfig, Source
from scripts.devnet.gpu.install import child_environment
from scripts.devnet.processes import free_port
from scripts.devnet.stage import TORCH_ENVIRONMENT
from tests.support import factories
from tests.support.devnet import Devnet, running_devnet, seat
from tests.support.keys import ALICE
from tests.support.log import DevLog
from tests.support.model import need_smollm2

PAGE = Path(__file__).parents[2] / "docs" / "operating-miner.md"
GPU = GpuConfig(devices=(DeviceConfig(source=Source.WORK, uuid="GPU-SIMULATED-walk"),))
PORT = "8091"
"""The page's; the test takes a free one."""
WALLET, HOTKEY = "my-wallet", "my-hotkey"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STEP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of the page."""

    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@dataclass(slots=True)
class Operator:
    """Someone who reads the page from top to bottom and does what it says."""

    folder: Path
    devnet: Devnet
    log: DevLog
    environment: dict[str, str]
    answers: dict[str, str]
    """What goes into `miner.env`."""
    port: int
    serving: list[asyncio.subprocess.Process] = field(default_factory=list)
    output: str = ""
    """What the last `sh` block has printed."""

    async def do(self, block: Block) -> None:
        match block.language:
            case "sh":
                self.output = "\n".join([await self._run(line) for line in block.lines])
            case "text":
                await self._see(block.lines)
            case "env":
                self._fill_in(block.lines)
            case "console" if "btcli subnets register" in block.text:
                self._register()

    async def stop(self) -> list[int]:
        """Send SIGTERM to what runs in the background; the exit statuses."""
        for process in self.serving:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        return [await process.wait() for process in self.serving]

    async def _run(self, line: str) -> str:
        command = line.replace(PORT, str(self.port))
        if command.endswith("&"):
            await self._start(command.removesuffix("&"))
            return ""
        process = await self._shell(command, asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                printed, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            pytest.fail(f"{command} does not end")
        assert process.returncode == 0, f"{command} ended with {process.returncode}:\n{printed!r}"
        return printed.decode()

    async def _start(self, command: str) -> None:
        with (self.folder / "serve.log").open("wb") as log:
            self.serving.append(await self._shell(f"exec {command}", log.fileno()))

    async def _shell(self, command: str, output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_shell(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def _see(self, promised: list[str]) -> None:
        """The promised lines are printed, in this order; a service is given time."""
        ends = asyncio.get_running_loop().time() + _STEP_SECONDS
        while (missing := first_missing(promised, self._printed())) and self._is_going_on():
            assert asyncio.get_running_loop().time() < ends, f"{missing}\n{self._printed()}"
            await asyncio.sleep(0.2)
        assert missing is None, f"not printed: {missing}\n{self._printed()}"

    def _printed(self) -> str:
        return self.output or (self.folder / "serve.log").read_text()

    def _is_going_on(self) -> bool:
        return not self.output and all(process.returncode is None for process in self.serving)

    def _fill_in(self, lines: list[str]) -> None:
        known = (self.folder / "miner.env").read_text()
        named = [line.partition("=")[0] for line in lines]
        assert all(f"# {name}=" in known for name in named), named
        with (self.folder / "miner.env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in self.answers.items())

    def _register(self) -> None:
        wallets = Path(self.environment["HOME"]) / ".bittensor" / "wallets"
        signer = create_dev_wallet(WALLET, HOTKEY, wallets, uri="//walker")
        (wallets / WALLET / "coldkey").unlink()
        seat(self.devnet.subnet, signer.hotkey)
        self.devnet.node.mine(DEVNET.schedule.round_blocks)
        add_verdict(self.log, signer.hotkey)


def first_missing(promised: list[str], printed: str) -> str | None:
    """The first promised line that is not printed after the one before it."""
    rest = [" ".join(line.split()) for line in printed.splitlines()]
    for promise in promised:
        parts = [re.escape(part.strip()) for part in promise.split("...")]
        wanted = re.compile(".*".join(parts))
        found = next((at for at, line in enumerate(rest) if wanted.fullmatch(line)), None)
        if found is None:
            return promise
        del rest[: found + 1]
    return None


def blocks_of(page: Path) -> Iterator[Block]:
    for language, text in _BLOCK.findall(page.read_text()):
        yield Block(language, text)


def add_verdict(log: DevLog, miner: Hotkey) -> None:
    """One accepted report of the miner's, scored."""
    whose = {"validator": ALICE.hotkey, "round": RoundNumber(1)}
    verdict = factories.verdict().model_copy(update={**whose, "miner": miner, "findings": ()})
    record = factories.round_record()
    score = record.scores[0].model_copy(update={"miner": miner})
    record = record.model_copy(update={**whose, "scores": (score,)})
    log.entries += [sign(verdict, ALICE), sign(record, ALICE)]


@asynccontextmanager
async def served_log(log: DevLog) -> AsyncIterator[str]:
    """A validator's log on a real socket; its address."""
    app = FastAPI(openapi_url=None)

    @app.get("/{path:path}")
    async def read(request: Request) -> Response:
        found = log.answer(httpx.Request("GET", str(request.url)))
        return Response(found.content, found.status_code, media_type="application/json")

    server = HttpServer(app)
    with bind("127.0.0.1", 0, variable="VALIDATOR_PORT") as listener:
        running = asyncio.create_task(server.run_on(listener))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.stop()
        await running


@asynccontextmanager
async def operator(folder: Path) -> AsyncIterator[Operator]:
    """An operator on a machine with a simulated GPU and the devnet's node."""
    model, log, port = need_smollm2(), DevLog(), free_port()
    programs = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        **child_environment(GPU),
        **TORCH_ENVIRONMENT,
        "HOME": str(folder / "home"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "CARBONBENCH_CACHE": str(model.parents[2]),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    async with running_devnet() as devnet, served_log(log) as log_url:
        answers = {
            "MINER_NETWORK": DEVNET.name,
            "MINER_ENDPOINT": devnet.endpoint,
            "MINER_WALLET_NAME": WALLET,
            "MINER_WALLET_HOTKEY": HOTKEY,
            "MINER_MODELS": "smollm2-135m",
            "MINER_DEVICE": "cpu",
            "MINER_THREADS": "1",
            "MINER_HOST": "127.0.0.1",
            "MINER_AXON_IP": "127.0.0.1",
            "MINER_PORT": str(port),
            "MINER_LOCK_DIR": str(folder / "locks"),
            "MINER_VALIDATOR_LOGS": log_url,
        }
        walker = Operator(folder, devnet, log, environment, answers, port)
        try:
            yield walker
        finally:
            await walker.stop()


@pytest.mark.timeout(900)
async def test_the_page_leads_from_nothing_to_an_accepted_report(tmp_path: Path) -> None:
    async with operator(tmp_path) as walker:
        for block in blocks_of(PAGE):
            await walker.do(block)

        assert await walker.stop() == [0]
    assert not (tmp_path / "home/.bittensor/wallets" / WALLET / "coldkey").exists()


def test_what_no_test_runs_is_only_what_needs_another_machine() -> None:
    elsewhere = {"btcli", "cd", "docker", "export", "git", "journalctl", "make", "sudo"}
    words = [
        part.split()[0]
        for block in blocks_of(PAGE)
        if block.language == "console"
        for line in block.lines
        for part in line.split("&&")
    ]

    assert set(words) <= elsewhere | {"carbonbench-miner", ".venv/bin/carbonbench-miner"}
    assert {block.language for block in blocks_of(PAGE)} == {"sh", "text", "env", "console"}


@pytest.mark.parametrize(
    ("promised", "missing"),
    [
        (["a ... c"], None),
        (["a b c", "d"], None),
        (["d", "a b c"], "a b c"),
        (["a ..."], None),
        (["... b"], "... b"),
    ],
)
def test_a_promise_is_kept_line_by_line(promised: list[str], missing: str | None) -> None:
    assert first_missing(promised, "a  b   c\nd\n") == missing
