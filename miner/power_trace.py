"""The evidence trace: rows of instant power, and the energy under them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, pstdev

from protocol.units import Joules, Seconds, Watts, nanoseconds, seconds, watts

SENSOR_SECONDS = Seconds(0.1)
"""Update period of the power sensor on current boards (arXiv 2312.02741)."""
_TRACE_SHARE = 0.03
"""Counter and trace may differ by this share, or by two ticks of the window, or by three times
the chance error of rows that see only part of the time: whichever is most."""
_TRACE_SIGMAS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """One row of the evidence trace."""

    at_ns: int
    power_mw: int
    """Instant power (`NVML_FI_DEV_POWER_INSTANT`)."""
    average_power_mw: int
    """What `nvmlDeviceGetPowerUsage` gives: a one-second average from Ampere on."""
    temperature_c: int | None
    sm_clock_mhz: int | None
    """None is what the board does not tell."""


def trapezoid(rows: Sequence[TraceRow], start_ns: int, end_ns: int) -> Joules | None:
    """Energy under the instant power, interpolated at both edges; None when rows do not reach.

    Every row counts: dropping rows whose power did not change loses steps (zeus 0.16 does so,
    and is 50 % off on a step).
    """
    ordered = sorted(rows, key=lambda row: row.at_ns)
    if not ordered or ordered[0].at_ns > start_ns or ordered[-1].at_ns < end_ns:
        return None
    total = 0.0
    for row, later in pairwise(ordered):
        left, right = max(row.at_ns, start_ns), min(later.at_ns, end_ns)
        if left < right:
            power_mw = (_power_at(row, later, left) + _power_at(row, later, right)) / 2
            total += watts(power_mw) * seconds(right - left)
    return Joules(total)


def trace_tolerance(rows: Sequence[TraceRow], start_ns: int, end_ns: int, tick_ns: int) -> float:
    """How far trace and counter may differ over a window, as a share.

    Args:
        rows: The trace.
        start_ns: When the window opened.
        end_ns: When it closed.
        tick_ns: Period of the counter.
    """
    period_ns = max(tick_ns, nanoseconds(SENSOR_SECONDS))
    powers = [row.power_mw for row in rows if start_ns <= row.at_ns <= end_ns]
    chance = pstdev(powers) / fmean(powers) / sqrt(len(powers)) if any(powers) else 0.0
    return max(_TRACE_SHARE, 2 * period_ns / (end_ns - start_ns), _TRACE_SIGMAS * chance)


def peak_power(rows: Sequence[TraceRow], start_ns: int, end_ns: int) -> Watts | None:
    """Largest instant power within the window; None when no row fell into it."""
    inside = [row.power_mw for row in rows if start_ns <= row.at_ns <= end_ns]
    return watts(max(inside)) if inside else None


def _power_at(row: TraceRow, later: TraceRow, at_ns: int) -> float:
    share = (at_ns - row.at_ns) / (later.at_ns - row.at_ns)
    return row.power_mw + share * (later.power_mw - row.power_mw)
