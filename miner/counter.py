"""From counter readings to energy with an interval.

The energy counter (`nvmlDeviceGetTotalEnergyConsumption`) moves in ticks of about 100 ms, so
the plain difference of two readings misses up to one tick at each edge: tens of percent of a
short window. Here both edges are corrected. Around an idle edge the power is flat, so the
energy between the edge and the nearest tick is idle power times that time. At a busy edge the
energy of the tick that contains it is shared out in proportion. Each edge carries how well it
is known; sensor gain is a separate, systematic matter (`protocol.constants.SYSTEMATIC_PPM`).

Pure: times are monotonic ns, counter values mJ; whoever reads the device is `miner.meter`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import ceil, hypot, sqrt
from statistics import fmean, median, variance

from miner.refusals import (
    CounterBackwardsError,
    CounterResetError,
    CounterStuckError,
    EdgesUnknownError,
)
from miner.repeats import student_factor
from protocol.units import Seconds, nanoseconds, seconds

_EDGE_TICKS = 6
"""Ticks wanted on the quiet side of an edge: five gaps that show how steady the power is."""
_EDGE_NS = nanoseconds(Seconds(0.1))
"""The quiet that they must span, so that fast counters do not measure their own polling."""
_LEAST_CALIBRATION_TICKS = 3
_SHARP_SHARE = 0.2
"""A tick is sharp when its time is known to this share of the period."""
_BLUR_FACTOR = 2
_JITTERS = 3
"""How many standard deviations a period may be longer than usual."""
_RESET_SHARE = 0.5
"""A counter that falls below this share of its value has restarted; else it ran backwards."""


class Edges(StrEnum):
    """How the window's edges are corrected."""

    IDLE = "idle"
    """Flat power outside the window."""
    BUSY = "busy"
    """The load runs through the edges: interpolate within the tick."""


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
    """Standard deviation of the interval between changes, polling included."""
    count: int
    """Intervals seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """How much the power beside an edge varies from tick to tick."""

    variance: float
    """Of the mean power between ticks (mW^2), polling included."""
    blur_variance: float
    """What late polls alone give it (mW^2)."""
    freedom: int
    """Degrees of freedom."""

    @property
    def spread_mw(self) -> float:
        """Standard deviation of the power itself, what polling gives it taken off."""
        return sqrt(max(0.0, self.variance - self.blur_variance))

    @property
    def blur_mw(self) -> float:
        """Standard deviation that polling gives constant power."""
        return sqrt(self.blur_variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What a counter without ticks would show at one instant, and how well that is known."""

    at_ns: int
    energy_mj: float
    half_widths_mj: tuple[float, ...]
    """Independent errors, each equally likely anywhere within plus or minus its half-width."""
    power_mw: float
    """Mean power of the ticks that the correction used."""
    steadiness: Steadiness
    exposure_ns: float
    """Standard deviation of the edge's energy, for each mW by which the power is unsteady."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy with the uncertainty that edges and readings leave."""

    energy_mj: float
    deviation_mj: float
    """Standard uncertainty."""
    half_width_mj: float
    """Half of the 95 % interval."""


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
        longest_ns = calibration.period_ns + _JITTERS * calibration.jitter_ns
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

    Changes that were missed between two readings count as the whole number of periods that
    they span.

    Raises:
        CounterStuckError: If there are fewer than three changes.
    """
    if len(ticks) < _LEAST_CALIBRATION_TICKS:
        raise CounterStuckError(f"the energy counter changed only {len(ticks)} times")
    gaps = [later.at_ns - tick.at_ns for tick, later in pairwise(ticks)]
    typical = median(gaps)
    counts = [max(1, round(gap / typical)) for gap in gaps]
    period = sum(gaps) / sum(counts)
    off = [gap - count * period for gap, count in zip(gaps, counts, strict=True)]
    return TickCalibration(
        period_ns=round(period),
        jitter_ns=round(sqrt(fmean(error * error for error in off))),
        count=len(gaps),
    )


def edge_ticks(calibration: TickCalibration) -> int:
    """How many ticks are wanted on the quiet side of an edge."""
    return max(_EDGE_TICKS, ceil(_EDGE_NS / calibration.period_ns) + 1)


def opening_edge(ticks: Sequence[Tick], at_ns: int, calibration: TickCalibration) -> Edge:
    """The counter at an edge with flat power before it.

    Raises:
        EdgesUnknownError: If fewer than two ticks before the edge are known.
    """
    before = [tick for tick in ticks if tick.latest_ns <= at_ns]
    return _flat_edge(before[::-1][: edge_ticks(calibration)], at_ns)


def closing_edge(ticks: Sequence[Tick], at_ns: int, calibration: TickCalibration) -> Edge:
    """The counter at an edge with flat power after it.

    Raises:
        EdgesUnknownError: If fewer than two ticks after the edge are known.
    """
    after = [tick for tick in ticks if tick.earliest_ns >= at_ns]
    return _flat_edge(after[: edge_ticks(calibration)], at_ns)


def _flat_edge(outward: Sequence[Tick], at_ns: int) -> Edge:
    """Extrapolate flat power from the nearest well-timed tick to the edge.

    A poll that came late times its tick badly; where power is flat the next tick does as well.

    Args:
        outward: Ticks on the quiet side, nearest first.
        at_ns: The edge.
    """
    if len(outward) < 2:  # noqa: PLR2004 - a slope needs two
        raise EdgesUnknownError("the counter was not seen moving twice beside a quiet edge")
    sharp = _best_timed(outward)
    nearest, farthest = sharp[0], sharp[-1]
    base_ns = nearest.at_ns - farthest.at_ns
    slope = (nearest.energy_mj - farthest.energy_mj) / base_ns
    reach_ns = at_ns - nearest.at_ns
    lever = abs(reach_ns / base_ns)
    gaps = len(sharp) - 1
    gap_ns = abs(base_ns) / gaps
    return Edge(
        at_ns=at_ns,
        energy_mj=nearest.energy_mj + slope * reach_ns,
        half_widths_mj=(
            slope * (1 + lever) * nearest.half_width_ns,
            slope * lever * farthest.half_width_ns,
            0.5,
        ),
        power_mw=_milliwatts(slope),
        steadiness=_steadiness(sharp),
        exposure_ns=sqrt(abs(reach_ns) * gap_ns + reach_ns**2 / gaps),
    )


def _best_timed(ticks: Sequence[Tick]) -> list[Tick]:
    """Those that are about as well timed as the best two, in the same order."""
    second = sorted(tick.half_width_ns for tick in ticks)[1]
    return [tick for tick in ticks if tick.half_width_ns <= _BLUR_FACTOR * second]


def interpolated_edge(ticks: Sequence[Tick], at_ns: int, calibration: TickCalibration) -> Edge:
    """The counter at an edge with load on both sides: linear within the tick.

    Raises:
        EdgesUnknownError: If the ticks on either side of the edge are not known.
    """
    before = [tick for tick in ticks if tick.at_ns <= at_ns]
    after = [tick for tick in ticks if tick.at_ns > at_ns]
    if not before or not after:
        raise EdgesUnknownError("the counter was not seen moving on both sides of a busy edge")
    start, end = _sharpened(before[-1], after[0], calibration)
    span_ns = end.at_ns - start.at_ns
    share = min(1.0, max(0.0, (at_ns - start.at_ns) / span_ns))
    gained = end.energy_mj - start.energy_mj
    slope = gained / span_ns
    return Edge(
        at_ns=at_ns,
        energy_mj=start.energy_mj + gained * share,
        half_widths_mj=(
            slope * (1 - share) * start.half_width_ns,
            slope * share * end.half_width_ns,
            0.5,
        ),
        power_mw=_milliwatts(slope),
        steadiness=_steadiness([*before[-_EDGE_TICKS:], *after[:_EDGE_TICKS]]),
        exposure_ns=span_ns * sqrt(share * (1 - share)),
    )


def _sharpened(start: Tick, end: Tick, calibration: TickCalibration) -> tuple[Tick, Tick]:
    """Two successive ticks, the blurred one placed one period from the sharp one.

    A blurred span may hide several ticks, of which the last one's value was read. Before a
    sharp tick that is the one before it. After a sharp tick it is the next one only if the
    span has no room for two.
    """
    period_ns, limit_ns = calibration.period_ns, calibration.period_ns * _SHARP_SHARE
    if start.half_width_ns > limit_ns >= end.half_width_ns:
        return _placed(start, end, -period_ns, calibration), end
    has_room_for_two = end.latest_ns - start.at_ns >= 2 * period_ns - calibration.jitter_ns
    if end.half_width_ns > limit_ns >= start.half_width_ns and not has_room_for_two:
        return start, _placed(end, start, period_ns, calibration)
    return start, end


def _placed(blurred: Tick, sharp: Tick, offset_ns: int, calibration: TickCalibration) -> Tick:
    """The blurred tick at an offset from the sharp one, if its own span allows that."""
    earliest = max(blurred.earliest_ns, sharp.earliest_ns + offset_ns - calibration.jitter_ns)
    latest = min(blurred.latest_ns, sharp.latest_ns + offset_ns + calibration.jitter_ns)
    if earliest > latest:
        return blurred
    return Tick(earliest_ns=earliest, latest_ns=latest, energy_mj=blurred.energy_mj)


def _steadiness(ticks: Sequence[Tick]) -> Steadiness:
    powers: list[float] = []
    blurs: list[float] = []
    for tick, later in pairwise(sorted(ticks, key=lambda tick: tick.at_ns)):
        gap_ns = later.at_ns - tick.at_ns
        power = _milliwatts((later.energy_mj - tick.energy_mj) / gap_ns)
        powers.append(power)
        blurs.append(power**2 * (tick.half_width_ns**2 + later.half_width_ns**2) / 3 / gap_ns**2)
    if len(powers) < 2:  # noqa: PLR2004 - a variance needs two
        return Steadiness(variance=0.0, blur_variance=0.0, freedom=0)
    return Steadiness(
        variance=variance(powers), blur_variance=fmean(blurs), freedom=len(powers) - 1
    )


def _milliwatts(slope_mj_per_ns: float) -> float:
    return slope_mj_per_ns / seconds(1)


def energy_between(opening: Edge, closing: Edge) -> Energy:
    """Energy from one edge to another; adjoining windows that share an edge add up exactly.

    The unsteadiness of the power is pooled over both edges. As it is known from few ticks,
    its part of the interval takes Student's factor instead of the normal one.
    """
    half_widths = (*opening.half_widths_mj, *closing.half_widths_mj)
    timing = hypot(*(width / sqrt(3) for width in half_widths))
    timing_half = timing * coverage_factor(half_widths)
    spread, factor = _pooled(opening.steadiness, closing.steadiness)
    wander = spread * seconds(1) * hypot(opening.exposure_ns, closing.exposure_ns)
    return Energy(
        energy_mj=closing.energy_mj - opening.energy_mj,
        deviation_mj=hypot(timing, wander),
        half_width_mj=hypot(timing_half, factor * wander),
    )


def _pooled(first: Steadiness, second: Steadiness) -> tuple[float, float]:
    """Pooled standard deviation (mW), and the factor to half of a 95 % interval."""
    freedom = first.freedom + second.freedom
    if freedom == 0:
        return 0.0, 0.0
    excess = first.freedom * (first.variance - first.blur_variance)
    excess += second.freedom * (second.variance - second.blur_variance)
    return sqrt(max(0.0, excess / freedom)), student_factor(freedom)


def coverage_factor(half_widths: Sequence[float]) -> float:
    """Factor from the standard deviation of a sum of uniform errors to half of its 95 % interval.

    A parabola in the excess kurtosis through three exact points: normal (0: 1.960), the sum of
    two equal uniform errors (-0.6: 1.902) and a single uniform error (-1.2: 1.645); see JCGM
    100:2008 (GUM) annex G on why a normal factor would overstate the last two.
    """
    total = sum(width * width for width in half_widths)
    if total == 0:
        return 0.0
    kurtosis = -1.2 * sum(width**4 for width in half_widths) / total**2
    return 1.960 - 0.0692 * kurtosis - 0.2764 * kurtosis * kurtosis
