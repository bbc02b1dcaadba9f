"""Two validators and six miners in one process, over a real chain connection and real HTTP.

The stories, servers, clients, databases and the SDK are the real ones. A toy stands in for the
model on both sides (`tests.support.simulator`), the meter reads an invented device, and time
runs `SPEEDUP` times faster for the duration of runs; nothing that it gives is a measurement.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from miner.archive import FileArchive
from miner.metrics import Metrics
from miner.ports import Ports as MinerPorts
from miner.ports import Stamp, Watch
from miner.reporting import Energy, Identity, Machine, PromptRun, Task
from miner.server import MAX_BODY_BYTES, create_app
from miner.session import Session
from miner.standing import Standing
from miner.visits import Visits
from protocol.auth import RequestVerifier
from protocol.chain import Axon
from protocol.http_server import HttpServer, bind
from protocol.ids import RoundNumber
from protocol.messages import ModelRef
from protocol.networks import Network
from protocol.nonce_chain import first_nonce, next_nonce
from protocol.nonce_store import SqliteNonceStore
from protocol.prompts import tagged_prompt
from protocol.rounds import Schedule
from protocol.subtensor import SubtensorChain
from protocol.units import Microseconds, Millijoules, PartsPerMillion
from protocol.wallet import HotkeySigner
from tests.support import simulator
from tests.support.behaviours import REFERENCE
from tests.support.devnet import NETUID, Devnet, seat
from tests.support.factories import ENVIRONMENT
from tests.support.simulator import MODEL, SimulatedMiner, ToyRescorer
from tests.support.validator import open_store
from validator.follower import Follower, HeadClock
from validator.log import TransparencyLog
from validator.miners import HttpMiners
from validator.ports import Ports
from validator.round import RoundStory
from validator.running import in_thread
from validator.store import Store
from validator.verdicts import Judge

T = TypeVar("T")

SPEEDUP = 60
NETWORK: Network = replace(
    simulator.NETWORK,
    schedule=Schedule(round_blocks=24, commit_blocks=6, reveal_blocks=12),
    block_seconds=0.4,
    workload=replace(simulator.NETWORK.workload, prompt_count=6),
)
_PROMPT_US = 400_000
_POWER_MW = 150_000
_TICK_US = 100_000
_SECOND_NS = 10**9
_LONGEST_PAUSE_SECONDS = 0.25


@dataclass(slots=True)
class TinyEngine:
    """The toy model behind the miner's port."""

    models: tuple[ModelRef, ...] = (MODEL,)

    def prepare(self, task: Task, watch: Watch) -> None:
        watch(0)

    def run(self, task: Task, stamp: Stamp, watch: Watch) -> tuple[PromptRun, ...]:
        nonce, runs, before = first_nonce(task.seed), [], stamp()
        for prompt in simulator.texts(task.workload.prompt_count):
            ids = simulator.encode(tagged_prompt(nonce, prompt))
            output = simulator.answer(REFERENCE, ids, task.workload.new_tokens)
            after = stamp()
            runs.append(PromptRun(ids, output, before, after))
            before, nonce = after, next_nonce(nonce, output)
        time.sleep(task.workload.prompt_count * _PROMPT_US / 10**6 / SPEEDUP)
        return tuple(runs)

    def synchronise(self) -> None:
        pass


@dataclass(slots=True)
class TinyMeter:
    """The invented device of a simulated miner behind the miner's port."""

    device: SimulatedMiner
    runs: int = 0

    def measure(
        self, work: Callable[[Stamp], T], synchronise: Callable[[], None]
    ) -> tuple[T, Energy]:
        self.runs += 1
        power_mw = round(_POWER_MW * self.device.efficiency) + self.runs % 100
        stamps = iter(range(10**6))

        def stamp() -> tuple[int, int]:
            at_us = next(stamps) * _PROMPT_US
            return at_us, simulator._counter_mj(power_mw, at_us)

        result = work(stamp)
        duration_us = (next(stamps) - 1) * _PROMPT_US
        energy_mj = round(power_mw * duration_us / 10**6)
        number = RoundNumber(self.runs)
        return result, Energy(
            energy_mj=Millijoules(energy_mj),
            duration_us=Microseconds(duration_us),
            systematic_ppm=PartsPerMillion(50_000),
            by_device=(self.device._device_energy(number, power_mw, duration_us, energy_mj),),
        )


@dataclass(slots=True)
class Mischief:
    """What a miner's server does instead of its work: an ASGI wrapper."""

    app: ASGIApp
    mode: str = "none"
    """none, error, loris, oversized or bomb."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.mode == "none" or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        if self.mode == "bomb":
            headers.append((b"content-encoding", b"gzip"))
        status = 500 if self.mode == "error" else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        chunk = b"x" if self.mode == "loris" else b"\x00" * 65_536
        for _ in range(1 if self.mode == "error" else 200):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0.1 if self.mode == "loris" else 0)
            if self.mode == "none":
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(slots=True)
class LiveMiner:
    """One miner: its session, its server, and the handles of a saboteur."""

    name: str
    signer: HotkeySigner
    chain: SubtensorChain
    session: Session
    face: Mischief
    server: HttpServer
    axon: Axon
    skew_seconds: float = 0.0
    """How far its clock is ahead of everybody's."""

    def now_ns(self) -> int:
        return time.time_ns() + round(self.skew_seconds * _SECOND_NS)


@dataclass(slots=True)
class LiveValidator:
    """One validator."""

    signer: HotkeySigner
    chain: SubtensorChain
    clock: HeadClock
    store: Store
    log: TransparencyLog
    miners: HttpMiners


@dataclass(slots=True)
class FastClock(HeadClock):
    """The chain's head; the wall clock runs faster, as the runs' durations do."""

    def unix_ms(self) -> int:
        return time.time_ns() * SPEEDUP // 10**6


@dataclass(slots=True)
class SmallNetwork:
    """Everything that runs."""

    devnet: Devnet
    validators: list[LiveValidator] = field(default_factory=list)
    miners: list[LiveMiner] = field(default_factory=list)
    following: list[asyncio.Task[None]] = field(default_factory=list)


@contextlib.asynccontextmanager
async def small_network(
    devnet: Devnet, folder: Path, *, miners: int = 6, validators: int = 2
) -> AsyncIterator[SmallNetwork]:
    """Start everything, and stop it at the end."""
    network = SmallNetwork(devnet)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for number in range(miners):
            await _start_miner(network, folder, f"m{number}", stack, tasks)
        for number in range(validators):
            await _start_validator(network, folder, f"V{number}", stack, tasks)
        try:
            yield network
        finally:
            for miner in network.miners:
                miner.session.stop()
                miner.server.stop()
            for working in network.following:
                working.cancel()


async def _start_miner(
    network: SmallNetwork,
    folder: Path,
    name: str,
    stack: contextlib.AsyncExitStack,
    tasks: asyncio.TaskGroup,
) -> None:
    devnet = network.devnet
    signer, device = HotkeySigner.from_uri(f"//{name}"), SimulatedMiner(name)
    seat(devnet.subnet, signer.hotkey)
    chain = await devnet.chain(signer)
    stack.push_async_callback(chain.close)
    listener = stack.enter_context(bind("127.0.0.1", 0, variable="MINER_PORT"))
    axon = Axon(ip="127.0.0.1", port=listener.getsockname()[1])
    home = folder / name
    home.mkdir()
    archive = FileArchive(home, keep_rounds=5)
    visits = Visits()
    metrics = Metrics(visits)
    session = await _session(chain, signer, device, axon, archive, metrics)
    await session.begin()
    nonces = stack.enter_context(SqliteNonceStore(home / "requests.sqlite3"))
    clock: list[LiveMiner] = []
    verifier = RequestVerifier(
        self_hotkey=signer.hotkey,
        nonces=nonces,
        max_body_bytes=MAX_BODY_BYTES,
        now_ns=lambda: clock[0].now_ns(),  # noqa: PLW0108 - it is there only later
    )
    app = create_app(Standing(session=session, visits=visits, metrics=metrics), archive, verifier)
    face = Mischief(app)
    server = HttpServer(app)
    server.config.app = face
    clock.append(
        LiveMiner(
            name=name,
            signer=signer,
            chain=chain,
            session=session,
            face=face,
            server=server,
            axon=axon,
        )
    )
    tasks.create_task(server.run_on(listener))
    network.following.append(tasks.create_task(session.follow()))
    network.miners.append(clock[0])


async def _session(
    chain: SubtensorChain,
    signer: HotkeySigner,
    device: SimulatedMiner,
    axon: Axon,
    archive: FileArchive,
    metrics: Metrics,
) -> Session:
    identity = Identity(
        genesis_hash=await chain.genesis_hash(), netuid=NETUID, hotkey=signer.hotkey
    )
    return Session(
        identity=identity,
        network=NETWORK,
        machine=Machine(devices=(device.device,), environment=ENVIRONMENT, engine="transformers"),
        axon=axon,
        ports=MinerPorts(
            chain=chain,
            signer=signer,
            engine=TinyEngine(),
            meter=TinyMeter(device),
            archive=archive,
            pause=lambda seconds: asyncio.sleep(min(seconds, _LONGEST_PAUSE_SECONDS)),
            monotonic=time.monotonic_ns,
            tell=metrics.tell,
        ),
    )


async def _start_validator(
    network: SmallNetwork,
    folder: Path,
    name: str,
    stack: contextlib.AsyncExitStack,
    tasks: asyncio.TaskGroup,
) -> None:
    devnet = network.devnet
    signer = HotkeySigner.from_uri(f"//{name}")
    seat(devnet.subnet, signer.hotkey, stake_tao=5_000, permit=True)
    chain = await devnet.chain(signer)
    stack.push_async_callback(chain.close)
    home = folder / name
    home.mkdir()
    store, log = open_store(None, home)
    stack.callback(store.close)
    genesis = await chain.genesis_hash()
    clock = FastClock(chain, NETWORK.block_seconds)
    await clock.look()
    miners = HttpMiners(signer, allow_private=True, timeout_seconds=0.5)
    await stack.enter_async_context(miners)
    judge = Judge(hotkey=signer.hotkey, genesis_hash=genesis, netuid=NETUID, network=NETWORK)
    ports = Ports(
        chain=chain,
        miners=miners,
        rescorer=ToyRescorer(NETWORK),
        ledger=store,
        clock=clock,
        signer=signer,
        workshop=in_thread,
    )
    story = RoundStory(judge, ports)
    follower = Follower(story, clock, NETWORK.schedule, store.unsettled)
    network.following.append(tasks.create_task(clock.follow()))
    network.following.append(tasks.create_task(follower.run()))
    network.validators.append(
        LiveValidator(signer=signer, chain=chain, clock=clock, store=store, log=log, miners=miners)
    )
