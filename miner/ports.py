"""The miner's ports: everything outside that its story needs, and the run of one assignment."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from miner.outcome import Outcome
from miner.reporting import Energy, PromptRun, Task
from protocol.chain import Chain
from protocol.errors import Error
from protocol.ids import RoundNumber
from protocol.messages import Commitment, ModelRef, Report
from protocol.signing import Signed, Signer

T = TypeVar("T")
M_co = TypeVar("M_co", covariant=True)
Stamp = Callable[[], tuple[int, int | None]]
"""(microseconds, energy counter in mJ or None), both since the window opened."""
Watch = Callable[[int], None]
"""Called after each step with the number of prompts done; raises `StoppedError` to end the run."""
Pause = Callable[[float], Awaitable[None]]
"""Waits that many seconds."""
Monotonic = Callable[[], int]
"""Nanoseconds of a clock that never steps."""


class StoppedError(Error):
    """The run was ended from outside; its window is void."""


class OverdueError(Error):
    """The run went on past the commitment deadline; it is no longer worth finishing."""


class Engine(Protocol):
    """Runs prompts through a model."""

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The models that can be run."""
        ...

    def prepare(self, task: Task, watch: Watch) -> None:
        """Load the model if it is not the loaded one, and warm it up."""
        ...

    def run(self, task: Task, stamp: Stamp, watch: Watch) -> tuple[PromptRun, ...]:
        """The workload, prompt by prompt, under the task's nonce chain."""
        ...

    def synchronise(self) -> None:
        """Wait until the device has finished everything that was asked of it."""
        ...


class Meter(Protocol[M_co]):
    """Counts a device's energy around a piece of work."""

    def measure(
        self, work: Callable[[Stamp], T], synchronise: Callable[[], None]
    ) -> tuple[T, M_co]:
        """The work's result and what was measured over its window, idle edges observed.

        Raises:
            MeasurementError: If there is no number that we would sign.
        """
        ...


class Archive(Protocol):
    """Keeps reports and commitments over restarts; never two commitments for a round."""

    def report(self, number: RoundNumber) -> Signed[Report] | None:
        """The report of a round, or None."""
        ...

    def commitment(self, number: RoundNumber) -> Signed[Commitment] | None:
        """The commitment of a round, or None."""
        ...

    def keep_report(self, report: Signed[Report]) -> None:
        """Keep the report of a round, before its commitment; a later one takes its place."""
        ...

    def keep_commitment(self, commitment: Signed[Commitment]) -> None:
        """Keep the commitment of a round: from now on it is served.

        Raises:
            StoreError: If there is one for the round already.
        """
        ...

    def keep_outcome(self, outcome: Outcome) -> bool:
        """Keep how a round ended; whether that was not known before."""
        ...

    def make_room(self) -> None:
        """Make sure that another round's report can be kept.

        Raises:
            StoreError: If the disk has no room for it.
        """
        ...

    def outcomes(self) -> tuple[Outcome, ...]:
        """How the last rounds ended, newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that the story needs."""

    chain: Chain
    signer: Signer
    engine: Engine
    meter: Meter[Energy]
    archive: Archive
    pause: Pause
    monotonic: Monotonic
    tell: Callable[[Outcome], None]
    """Called with how each round ended, once."""


def measure(
    task: Task, engine: Engine, meter: Meter[M_co], watch: Watch
) -> tuple[tuple[PromptRun, ...], M_co]:
    """One measured run: load and warm up, then idle, the workload, idle.

    Blocks for the whole run: call it in a thread.

    Raises:
        WorkloadError: If the model or its prompts cannot be run.
        MeasurementError: If there is no number that we would sign.
        StoppedError: If `watch` ended it.
    """
    engine.prepare(task, watch)
    return meter.measure(lambda stamp: engine.run(task, stamp, watch), engine.synchronise)
