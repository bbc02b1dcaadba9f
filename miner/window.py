"""One window of measurement: the quiet before, the work, the quiet after."""

from collections.abc import Callable, Sequence

from miner.counter import Edges, edge_ticks
from miner.measurement import Measurement, measure_window
from miner.refusals import CounterStuckError, MeterError, SamplerDiedError
from miner.sampler import Sampler, needs_ticks, next_poll_seconds, wants_sharp_tick
from miner.timer import Background, Timer
from protocol.constants import TRACE_RATE_HZ
from protocol.units import Seconds, microseconds, nanoseconds, seconds

_UNDISTURBED_SECONDS = Seconds(0.001)
_UNDISTURBED_NS = nanoseconds(_UNDISTURBED_SECONDS)
"""Nothing is read for so long after the window opens; the next tick is a period away."""
_STUCK_SECONDS = Seconds(2.0)
"""A counter that does not change for so long is unusable."""


class Window:
    """An open window; `measurement` is there once its `with` block has ended.

    Args:
        samplers: Devices that are metered.
        timer: Clock of all readings.
        edges: What the caller knows of the load around the window.
    """

    def __init__(self, samplers: Sequence[Sampler], timer: Timer, edges: Edges) -> None:
        self._samplers = tuple(samplers)
        self._timer = timer
        self._edges = edges
        self._background: Background | None = None
        self._failure: MeterError | None = None
        self._measurement: Measurement | None = None
        self._row_due_ns = 0
        self.start_ns = 0
        self.end_ns = 0

    @property
    def measurement(self) -> Measurement:
        """The window's energy.

        Raises:
            SamplerDiedError: If the window was not closed.
        """
        if self._measurement is None:
            raise SamplerDiedError("this window was not closed")
        return self._measurement

    def stamp(self) -> tuple[int, int]:
        """(microseconds, energy counter in mJ), both since the window opened.

        One counter call per device. The counter moves in ticks of about 100 ms.

        Raises:
            MeterError: If the counter fails, restarts or runs backwards.
        """
        elapsed_ns = self._timer.now_ns() - self.start_ns
        energies = (sampler.energy_since_start_mj(self.start_ns) for sampler in self._samplers)
        return microseconds(elapsed_ns), sum(energies)

    def open(self, synchronise: Callable[[], None]) -> None:
        """Watch the quiet before the window, then open it."""
        for sampler in self._samplers:
            sampler.start_afresh()
        self._background = self._timer.repeat(self._step)
        self._await_quiet(self._timer.now_ns())
        for sampler in self._samplers:
            sampler.open_window()
        synchronise()
        self.start_ns = self._timer.now_ns()
        for sampler in self._samplers:
            sampler.mark_start()
        if self._edges is Edges.BUSY:  # the next tick must be well timed
            self._background.wake()

    def close(self, synchronise: Callable[[], None]) -> None:
        """Close the window, and watch the quiet after it."""
        synchronise()
        self.end_ns = self._timer.now_ns()
        for sampler in self._samplers:
            sampler.mark_end()
        self._await_quiet(self.end_ns)
        self.stop()
        for sampler in self._samplers:
            sampler.take_row()
            sampler.close_window()

    def stop(self) -> None:
        """End the background sampling.

        Raises:
            MeterError: If it failed meanwhile.
        """
        background, self._background = self._background, None
        if background is None:
            return
        died = not background.is_alive
        background.stop()
        if self._failure:
            raise self._failure
        if died:
            raise SamplerDiedError("the background sampler ended before the window did")

    def conclude(self) -> None:
        """Compute the measurement from what was read."""
        self._measurement = measure_window(
            [sampler.readings() for sampler in self._samplers],
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            edges=self._edges,
        )

    def _await_quiet(self, since_ns: int) -> None:
        periods = [sampler.calibration for sampler in self._samplers if sampler.calibration]
        count = max((edge_ticks(calibration) for calibration in periods), default=0)
        await_ticks(self._samplers, self._timer, since_ns=since_ns, count=count)

    def _step(self) -> float | None:
        try:
            return self._sample()
        except MeterError as refusal:
            self._failure = refusal
            return None

    def _sample(self) -> float:
        """A row when one is due; after a busy opening edge, polling until its tick is seen."""
        now_ns = self._timer.now_ns()
        if self.start_ns and now_ns < self.start_ns + _UNDISTURBED_NS:
            return _UNDISTURBED_SECONDS  # the work starts now, and must not wait for a reading
        if now_ns >= self._row_due_ns:
            for sampler in self._samplers:
                sampler.take_row()
            pause = min(sampler.next_row_seconds() for sampler in self._samplers)
            self._row_due_ns = self._timer.now_ns() + nanoseconds(pause)
        wait = seconds(max(0, self._row_due_ns - self._timer.now_ns()))
        if self.start_ns and wants_sharp_tick(self._samplers, self._edges, self.start_ns):
            for sampler in self._samplers:
                sampler.observe()
            wait = Seconds(min(wait, next_poll_seconds(self._samplers)))
        return wait


class Rows:
    """Evidence rows taken beside some work, without a window.

    Args:
        samplers: Devices that are looked at.
        timer: Clock of all readings.
    """

    def __init__(self, samplers: Sequence[Sampler], timer: Timer) -> None:
        self._samplers = tuple(samplers)
        self._failure: MeterError | None = None
        self._background = timer.repeat(self._step)

    def stop(self) -> None:
        """Take no more.

        Raises:
            MeterError: If a reading failed meanwhile.
        """
        self._background.stop()
        if self._failure:
            raise self._failure

    def _step(self) -> float | None:
        try:
            for sampler in self._samplers:
                sampler.take_row()
        except MeterError as refusal:
            self._failure = refusal
            return None
        return 1 / TRACE_RATE_HZ


def await_ticks(samplers: Sequence[Sampler], timer: Timer, *, since_ns: int, count: int) -> None:
    """Poll until every counter has ticked so often since a time.

    Raises:
        CounterStuckError: If one does not move for 2 s, or 5 of its periods.
    """
    patience_ns = nanoseconds(_STUCK_SECONDS)
    moved_ns = timer.now_ns()
    seen = [len(sampler.ticks) for sampler in samplers]
    while needs_ticks(samplers, since_ns, count):
        if timer.now_ns() - moved_ns > patience_ns:
            raise CounterStuckError(
                f"an energy counter did not move for {seconds(patience_ns):.1f} s"
            )
        timer.sleep(next_poll_seconds(samplers))
        for sampler in samplers:
            sampler.observe()
        now_seen = [len(sampler.ticks) for sampler in samplers]
        if now_seen != seen:
            seen, moved_ns = now_seen, timer.now_ns()
