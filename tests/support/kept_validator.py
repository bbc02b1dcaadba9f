"""A validator in a process of its own that can be killed at any step, on a chain that stays.

The story, the store and the log are the real ones. The chain is a `FakeLedger` in a file that
outlives the process, and its miners answer the same again after every start. A life ends of
itself at a given step: a statement or commit of the database, or a change of the chain.
"""

import asyncio
import os
import pickle
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from sqlalchemy import Engine, event

from protocol.chain import WeightsReceipt
from protocol.ids import RoundNumber, Uid
from tests.support.behaviours import EditedCounter, Late, OtherModel, Shades, Silent
from tests.support.chain import FakeChain, FakeLedger
from tests.support.simulator import NETWORK, SimulatedMiner
from tests.support.validator import HandClock, Simulation
from validator.round import RoundStory

STEPS_FILE = "steps"


def cast() -> Sequence[SimulatedMiner]:
    """Honest miners, and cheats that need no memory."""
    return (
        SimulatedMiner("ann"),
        SimulatedMiner("ben"),
        SimulatedMiner("cat"),
        SimulatedMiner("shade", Shades()),
        SimulatedMiner("cheap", OtherModel()),
        SimulatedMiner("silent", Silent()),
        SimulatedMiner("late", Late()),
        SimulatedMiner("edits", EditedCounter()),
    )


@dataclass(eq=False)
class Steps:
    """Counts what the process does, and kills it at a step."""

    last: int | None
    count: int = 0

    def __call__(self, *_: object) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Chain:
    """A ledger in a file, and the vectors that it has taken."""

    path: Path
    ledger: FakeLedger = field(
        default_factory=lambda: FakeLedger(number=NETWORK.schedule.round_blocks - 1)
    )
    sent: list[tuple[dict[Uid, int], int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.ledger, self.sent = pickle.loads(self.path.read_bytes())  # noqa: S301 - our own

    def save(self) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_bytes(pickle.dumps((self.ledger, self.sent)))
        partial.replace(self.path)


class KeptChain(FakeChain):
    """A connection to a kept chain."""

    def __init__(self, chain: Chain, simulation: Simulation, steps: Steps) -> None:
        super().__init__(chain.ledger, simulation.signer.hotkey, sent=chain.sent)
        self.chain, self.steps = chain, steps

    async def set_weights(self, weights: Mapping[Uid, int], *, version_key: int) -> WeightsReceipt:
        self.steps()
        receipt = await super().set_weights(weights, version_key=version_key)
        self.chain.save()
        self.steps()
        return receipt

    async def commit(self, data: bytes) -> None:
        self.steps()
        await super().commit(data)
        self.chain.save()
        self.steps()


class KeptSimulation(Simulation):
    """A validator whose chain outlives it."""

    def __init__(self, chain: Chain, steps: Steps, data_dir: Path, **options: str | None) -> None:
        self.kept, self.steps = chain, steps
        super().__init__(
            cast(),
            data_dir,
            ledger=chain.ledger,
            database=options["database"],
            validator=options["validator"] or "Validator",
        )

    def _story(self) -> RoundStory:
        self.chain = KeptChain(self.kept, self, self.steps)
        self.clock = KeptClock(self.kept.ledger, kept=self.kept)
        return super()._story()


@dataclass
class KeptClock(HandClock):
    """A clock that keeps every block."""

    kept: Chain | None = None

    async def advance(self, blocks: int = 1) -> None:
        await super().advance(blocks)
        if self.kept is not None:
            self.kept.save()


async def play(simulation: KeptSimulation, rounds: int) -> None:
    """All rounds, from wherever they stand."""
    for number in range(1, rounds + 1):
        state = simulation.store.state(RoundNumber(number))
        if state is not None and state.weights_block is not None:
            continue
        ahead = simulation.ledger.number < NETWORK.schedule.start(RoundNumber(number))
        if ahead and not simulation.store.announcements(RoundNumber(number)):
            await simulation.story.foresee(RoundNumber(number))
        await simulation.play(number)


def live(data_dir: Path, database: str | None, validator: str, rounds: int, last: int) -> None:
    """One life: play until the end, or until the step at which the process is killed."""
    steps = Steps(last=last or None)
    event.listen(Engine, "before_cursor_execute", steps)
    event.listen(Engine, "commit", steps)
    chain = Chain(data_dir / "chain")
    simulation = KeptSimulation(chain, steps, data_dir, database=database, validator=validator)
    asyncio.run(play(simulation, rounds))
    simulation.store.close()
    (data_dir / STEPS_FILE).write_text(str(steps.count))


def run_life(
    data_dir: Path, database: str | None, *, validator: str, rounds: int, last: int = 0
) -> bool:
    """One life in a process of its own.

    Args:
        data_dir: Where database and chain lie.
        database: Its URL; None for SQLite in the folder.
        validator: The validator's name.
        rounds: Rounds to play, from the first.
        last: Step at which it is killed; 0 lets it end by itself.

    Returns:
        Whether it was killed.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=live, args=(data_dir, database, validator, rounds, last))
    process.start()
    process.join(120)
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the validator ended with {process.exitcode}")
    return process.exitcode != 0
