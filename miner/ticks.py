"""The counter's ticks: when each change came, how well that is known, and their period. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, sqrt
from statistics import fmean, median

from miner.refusals import CounterBackwardsError, CounterResetError, CounterStuckError

_LEAST_CALIBRATION_TICKS = 3
_TIMED_SHARE = 0.1
"""A change is well enough timed for the period when its time is known to 10 % of it."""
_BLUR_FACTOR = 2
_SIGMAS = 3
"""How many standard deviations a period may be off."""
_RESET_SHARE = 0.5
"""A counter that falls below this share of its value has restarted; else it ran backwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One counter reading, and the span of time in which the call was out."""

    before_ns: int
    after_ns: int
    energy_mj: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One change of the counter, known to lie between two readings."""

    earliest_ns: int
    latest_ns: int
    energy_mj: int
    """Counter value after the change."""

    @property
    def at_ns(self) -> float:
        """Middle of the span."""
        return (self.earliest_ns + self.latest_ns) / 2

    @property
    def half_width_ns(self) -> float:
        """Half of the span; the change is equally likely anywhere within."""
        return (self.latest_ns - self.earliest_ns) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TickCalibration:
    """The counter's update period on one device."""

    period_ns: int
    jitter_ns: int
    """Standard deviation of the interval between changes, what polling adds taken off."""
    drift_ns: float
    """Standard uncertainty of the period."""
    count: int
    """Intervals seen."""


def tick_between(
    previous: Reading, current: Reading, calibration: TickCalibration | None = None
) -> Tick | None:
    """The change between two successive readings, or None when the counter stood still.

    Several changes count as the last one. A counter with a known period changed last within
    one period before it was read, however long ago the previous reading was.

    Raises:
        CounterResetError: If the counter restarted.
        CounterBackwardsError: If it fell otherwise.
    """
    if current.energy_mj == previous.energy_mj:
        return None
    if current.energy_mj < previous.energy_mj:
        fall = f"the energy counter fell from {previous.energy_mj} to {current.energy_mj} mJ"
        if current.energy_mj < previous.energy_mj * _RESET_SHARE:
            raise CounterResetError(fall)
        raise CounterBackwardsError(fall)
    earliest_ns = previous.before_ns
    if calibration:
        longest_ns = calibration.period_ns + _SIGMAS * calibration.jitter_ns
        earliest_ns = max(earliest_ns, current.before_ns - longest_ns)
    return Tick(earliest_ns=earliest_ns, latest_ns=current.after_ns, energy_mj=current.energy_mj)


def find_ticks(readings: Iterable[Reading]) -> tuple[Tick, ...]:
    """All changes in a series of readings, which may come in any order.

    Raises:
        CounterResetError: If the counter restarted.
        CounterBackwardsError: If it fell otherwise.
    """
    ordered = sorted(readings, key=lambda reading: (reading.before_ns, reading.after_ns))
    pairs = pairwise(ordered)
    changes = (tick_between(previous, current) for previous, current in pairs)
    return tuple(change for change in changes if change)


def calibrate_tick(ticks: Sequence[Tick]) -> TickCalibration:
    """The update period, from changes seen by fast polling.

    A straight line through the well-timed changes over their number, weighted by how well each
    is timed. On a busy machine some polls come late; the ends of the series may be among them,
    so their distance alone would not do. Changes that were missed between two readings count
    as the whole number of periods that they span.

    Raises:
        CounterStuckError: If there are fewer than three changes.
    """
    if len(ticks) < _LEAST_CALIBRATION_TICKS:
        raise CounterStuckError(f"the energy counter changed only {len(ticks)} times")
    typical = median(later.at_ns - tick.at_ns for tick, later in pairwise(ticks))
    timed = [tick for tick in ticks if tick.half_width_ns <= _TIMED_SHARE * typical]
    if len(timed) < _LEAST_CALIBRATION_TICKS:
        timed = list(ticks)  # none is well timed: they must do
    numbers = _numbered(timed, _one_period_ns(timed))
    rough = (timed[-1].at_ns - timed[0].at_ns) / numbers[-1]
    jitter = _jitter(timed, numbers, rough)
    weights = [1 / (tick.half_width_ns**2 / 3 + jitter**2 + 1) for tick in timed]
    centre = fmean(numbers, weights)
    middle = fmean([tick.at_ns for tick in timed], weights)
    parts = list(zip(weights, numbers, timed, strict=True))
    lever = sum(weight * (number - centre) ** 2 for weight, number, _ in parts)
    moment = sum(
        weight * (number - centre) * (tick.at_ns - middle) for weight, number, tick in parts
    )
    period = moment / lever
    return TickCalibration(
        period_ns=round(period),
        jitter_ns=round(_jitter(timed, numbers, period)),
        drift_ns=1 / sqrt(lever),
        count=len(ticks) - 1,
    )


def _one_period_ns(ticks: Sequence[Tick]) -> float:
    """Mean of the intervals that are one period long; a busy machine misses many changes."""
    gaps = sorted(later.at_ns - tick.at_ns for tick, later in pairwise(ticks))
    short = gaps[len(gaps) // 4]
    return fmean(gap for gap in gaps if short / 2 < gap < 1.5 * short)


def _numbered(ticks: Sequence[Tick], typical_ns: float) -> list[int]:
    """Which tick of the counter each one is, the first being 0."""
    numbers = [0]
    for tick, later in pairwise(ticks):
        numbers.append(numbers[-1] + max(1, round((later.at_ns - tick.at_ns) / typical_ns)))
    return numbers


def _jitter(ticks: Sequence[Tick], numbers: Sequence[int], period_ns: float) -> float:
    """Standard deviation of the interval between ticks, what polling adds taken off."""
    off, blur = [], []
    for (tick, later), (number, following) in zip(pairwise(ticks), pairwise(numbers), strict=True):
        off.append((later.at_ns - tick.at_ns - (following - number) * period_ns) ** 2)
        blur.append((tick.half_width_ns**2 + later.half_width_ns**2) / 3)
    return sqrt(max(0.0, fmean(off) - fmean(blur)))


def best_timed(ticks: Sequence[Tick]) -> list[Tick]:
    """Ticks that are about as well timed as the best two, in the same order."""
    second = sorted(tick.half_width_ns for tick in ticks)[1]
    return [tick for tick in ticks if tick.half_width_ns <= _BLUR_FACTOR * second]


def placed_on_grid(ticks: Sequence[Tick], calibration: TickCalibration) -> list[Tick]:
    """Ticks that were seen late, placed by the best timed of them and the known period.

    A tick was the last one before it was seen, so the grid of the best timed tick says when
    it came, within jitter and drift. If it was seen when a tick was just due, the next tick
    tells whether that one was in. Where it is not clear, or contradicts what was seen, a tick
    stays as it was seen; where two ticks would take one place, all of them do.

    Args:
        ticks: In the order of time.
        calibration: The counter's period.
    """
    if not ticks:
        return []
    grid = _Grid(anchor=min(ticks, key=lambda tick: tick.half_width_ns), calibration=calibration)
    placed: list[Tick] = []
    following: int | None = None
    taken: int | None = None
    for tick in reversed(ticks):
        number = grid.number(tick, following)
        if number is not None and taken is not None and number >= taken:
            return list(ticks)  # two in one place: the grid does not fit what was seen
        placed.append(tick if number is None else grid.narrowed(tick, number))
        taken = taken if number is None else number
        following = grid.only_number(placed[-1])
    return placed[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Where ticks are due: whole periods from the anchor, which has number 0."""

    anchor: Tick
    calibration: TickCalibration

    def due_ns(self, number: int) -> float:
        """When a tick is due."""
        return self.anchor.at_ns + number * self.calibration.period_ns

    def slack_ns(self, number: int) -> float:
        """How far off that may be."""
        off_ns = self.calibration.jitter_ns + abs(number) * self.calibration.drift_ns
        return self.anchor.half_width_ns + _SIGMAS * off_ns

    def number(self, tick: Tick, following: int | None) -> int | None:
        """Number of a tick, given the next one's if that is known to be the very next."""
        number = self._last_due(tick.latest_ns)
        slack_ns = self.slack_ns(number)
        if tick.latest_ns - self.due_ns(number) <= slack_ns:
            candidates = {number, number - 1}
        elif self.due_ns(number + 1) - tick.latest_ns <= slack_ns:
            candidates = {number + 1, number}
        else:
            return number
        return following - 1 if following is not None and following - 1 in candidates else None

    def only_number(self, tick: Tick) -> int | None:
        """Number of a tick whose span has room for one tick alone, or None."""
        number = self._last_due(tick.at_ns + self.calibration.period_ns / 2)
        earlier_ns = self.due_ns(number - 1) + self.slack_ns(number)
        later_ns = self.due_ns(number + 1) - self.slack_ns(number)
        return number if earlier_ns < tick.earliest_ns and tick.latest_ns < later_ns else None

    def narrowed(self, tick: Tick, number: int) -> Tick:
        """A tick within its own span and what the grid allows."""
        due_ns, slack_ns = self.due_ns(number), self.slack_ns(number)
        earliest_ns = max(tick.earliest_ns, floor(due_ns - slack_ns))
        latest_ns = min(tick.latest_ns, ceil(due_ns + slack_ns))
        if earliest_ns > latest_ns:
            return tick
        return Tick(earliest_ns=earliest_ns, latest_ns=latest_ns, energy_mj=tick.energy_mj)

    def _last_due(self, at_ns: float) -> int:
        return floor((at_ns - self.anchor.at_ns) / self.calibration.period_ns)
