"""A real miner in a process of its own, on a devnet chain in the test's loop, to be killed.

The test plays the validator: it asks for the commitment all along and keeps every answer, so
that a second or half one would be seen.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from protocol.auth import SignedRequests
from protocol.canonical import message_digest
from protocol.ids import RoundNumber
from protocol.messages import Commitment, Report
from protocol.networks import DEVNET
from protocol.signing import Signed, verify
from protocol.wallet import HotkeySigner, create_dev_wallet
from scripts.devnet.gpu.config import DeviceConfig, GpuConfig, Source
from scripts.devnet.gpu.install import child_environment
from scripts.devnet.processes import Child, Fleet, Program, free_port, import_early
from scripts.devnet.stage import TORCH_ENVIRONMENT
from tests.support.devnet import VALIDATOR, Devnet, running_devnet, seat
from tests.support.model import need_smollm2

GPU = GpuConfig(devices=(DeviceConfig(source=Source.WORK, uuid="GPU-SIMULATED-killed"),))
SCHEDULE = DEVNET.schedule
_POLL_SECONDS = 0.1
_LONGEST_SECONDS = 200.0


@dataclass(slots=True)
class MinerProcess:
    """One miner, its chain, and what it ever served."""

    fleet: Fleet
    devnet: Devnet
    folder: Path
    signer: HotkeySigner
    http: httpx.AsyncClient
    environment: dict[str, str]
    child: Child | None = None
    commitments: dict[RoundNumber, set[bytes]] = field(default_factory=dict)
    """Every distinct answer to a request for a commitment."""

    async def start(self) -> None:
        """Start the miner's process."""
        environment = {**self.environment, **child_environment(GPU), **TORCH_ENVIRONMENT}
        program = Program(module="miner.cli", arguments=("serve",), environment=environment)
        self.child = await self.fleet.start("miner", program)

    async def end(self, number: signal.Signals) -> int:
        """Send the process a signal and wait for its end; its exit status."""
        assert self.child is not None
        self.child.signal(number)
        status = await self.child.wait()
        self.fleet.children.remove(self.child)
        return status

    async def kill(self) -> None:
        """End the process without a chance to write anything."""
        assert await self.end(signal.SIGKILL) == -signal.SIGKILL

    async def state(self) -> str:
        """What the miner says that it is at; empty while it does not answer."""
        try:
            return str((await self.http.get("/v1/status")).json()["state"])
        except httpx.TransportError:
            return ""

    async def until_state(self, wanted: str) -> None:
        """Wait until the miner is at something."""

        async def reached() -> bool:
            return await self.state() == wanted

        await self.until(reached)

    async def until_committed(self, number: RoundNumber) -> bytes:
        """Wait for a round's commitment."""

        async def committed() -> bool:
            return await self.ask(number) is not None

        await self.until(committed)
        (found,) = self.commitments[number]
        return found

    async def until(self, reached: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something, the miner alive all the while."""
        async with asyncio.timeout(_LONGEST_SECONDS):
            while not await reached():
                self.fleet.check_alive()
                await asyncio.sleep(_POLL_SECONDS)

    async def ask(self, number: RoundNumber) -> bytes | None:
        """Ask for a round's commitment, as a validator does."""
        with contextlib.suppress(httpx.TransportError):
            answer = await self._get(f"/v1/rounds/{number}/commitment")
            if answer.is_success:
                self.commitments.setdefault(number, set()).add(answer.content)
                return answer.content
        return None

    async def revealed(self, number: RoundNumber) -> Report:
        """Pass the deadline and read the report; it is whole, and the one committed to."""
        self.mine_to(SCHEDULE.commit_deadline(number) + 1)

        async def answered() -> bool:
            return (await self._get(f"/v1/rounds/{number}/report")).is_success

        await self.until(answered)
        data = (await self._get(f"/v1/rounds/{number}/report")).content
        report = verify(Signed[Report].model_validate_json(data), hotkey=self.signer.hotkey)
        (only,) = self.commitments[number]
        commitment = verify(Signed[Commitment].model_validate_json(only), hotkey=self.signer.hotkey)
        assert commitment.report_digest == message_digest(report)
        return report

    def mine_to(self, block: int) -> None:
        """Have the chain make blocks up to this number."""
        self.devnet.node.mine(max(0, block - self.devnet.node.head.number))

    def kept_files(self, number: RoundNumber) -> list[str]:
        """Names of what lies on the disk of a round."""
        return sorted(path.name for path in self.folder.glob(f"data/*/{number:012d}/*"))

    async def _get(self, path: str) -> httpx.Response:
        return await self.http.get(path, auth=SignedRequests(VALIDATOR, self.signer.hotkey))


@asynccontextmanager
async def miner_process(folder: Path, **settings: str) -> AsyncIterator[MinerProcess]:
    """A registered miner that is ready to be started, at the first block of round 1.

    Args:
        folder: Where everything lies.
        settings: More `MINER_*` settings, without their prefix.
    """
    model = need_smollm2()
    import_early("protocol.generation", "protocol.subtensor", "fastapi", "uvicorn")
    signer = create_dev_wallet("miner", "hot", folder / "wallets", uri="//killed")
    async with running_devnet() as devnet, Fleet(folder / "logs") as fleet:
        seat(devnet.subnet, signer.hotkey)
        devnet.node.seal()
        port = free_port()
        given = {
            "NETWORK": DEVNET.name,
            "ENDPOINT": devnet.endpoint,
            "WALLET_NAME": "miner",
            "WALLET_HOTKEY": "hot",
            "WALLET_PATH": str(folder / "wallets"),
            "MODELS": str(model),
            "DEVICE": "cpu",
            "DTYPE": "float32",
            "THREADS": "1",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATA_DIR": str(folder / "data"),
            "LOCK_DIR": str(folder / "locks"),
            **settings,
        }
        environment = {f"MINER_{name}": value for name, value in given.items()}
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
            rig = MinerProcess(fleet, devnet, folder, signer, http, environment)
            rig.mine_to(SCHEDULE.start(RoundNumber(1)))
            yield rig
