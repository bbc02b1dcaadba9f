"""From counter readings to energy with an interval.

The energy counter (`nvmlDeviceGetTotalEnergyConsumption`) moves in ticks of about 100 ms, so
the plain difference of two readings misses up to one tick at each edge: tens of percent of a
short window. Here both edges are corrected. Around an idle edge the power is flat, so the
energy between the edge and the nearest tick is idle power times that time. At a busy edge the
energy of the tick that contains it is shared out in proportion. Each edge carries how well it
is known; sensor gain is a separate, systematic matter (`protocol.constants.SYSTEMATIC_PPM`).

Pure: times are monotonic ns, counter values mJ; whoever reads the device is `miner.meter`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import ceil, hypot, sqrt
from statistics import fmean, variance

from miner.refusals import EdgesUnknownError
from miner.repeats import student_factor
from miner.ticks import Tick, TickCalibration, best_timed, placed_on_grid
from protocol.units import Seconds, nanoseconds, seconds

_EDGE_TICKS = 6
"""Ticks wanted on the quiet side of an edge: five gaps that show how steady the power is."""
_EDGE_NS = nanoseconds(Seconds(0.1))
"""The quiet that they must span, so that fast counters do not measure their own polling."""


class Edges(StrEnum):
    """How the window's edges are corrected."""

    IDLE = "idle"
    """Flat power outside the window."""
    BUSY = "busy"
    """The load runs through the edges: interpolate within the tick."""


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
    sharp = best_timed(outward)
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


def interpolated_edge(ticks: Sequence[Tick], at_ns: int, calibration: TickCalibration) -> Edge:
    """The counter at an edge with load on both sides: linear within the tick.

    Raises:
        EdgesUnknownError: If the ticks on either side of the edge are not known.
    """
    wanted = edge_ticks(calibration)
    before = [tick for tick in ticks if tick.at_ns <= at_ns][-wanted:]
    after = [tick for tick in ticks if tick.at_ns > at_ns][:wanted]
    if not before or not after:
        raise EdgesUnknownError("the counter was not seen moving on both sides of a busy edge")
    near = placed_on_grid([*before, *after], calibration)
    start, end = near[len(before) - 1], near[len(before)]
    span_ns = end.at_ns - start.at_ns
    if span_ns <= 0:
        raise EdgesUnknownError(
            "two changes of the counter beside a busy edge cannot be told apart"
        )
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
        steadiness=_steadiness(near),
        exposure_ns=span_ns * sqrt(share * (1 - share)),
    )


def _steadiness(ticks: Sequence[Tick]) -> Steadiness:
    powers: list[float] = []
    blurs: list[float] = []
    for tick, later in pairwise(sorted(ticks, key=lambda tick: tick.at_ns)):
        gap_ns = later.at_ns - tick.at_ns
        if gap_ns <= 0:
            continue  # two changes that cannot be told apart say nothing of the power
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
