"""When a GPU is warm: power and temperature no longer drift. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from miner.power_trace import TraceRow
from protocol.units import Seconds, nanoseconds, seconds

STEADY_SECONDS = Seconds(30.0)
"""Stretch over which nothing may drift."""
LONGEST_SECONDS = Seconds(60.0)
"""A warm-up ends then, steady or not: some boards never settle."""
_POWER_SHARE = 0.01
_CELSIUS = 1.0
"""Steady: mean power within 1 % and mean temperature within 1 degree, last third to first."""
_PARTS = 3
_COVERED_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """How a warm-up ended."""

    duration: Seconds
    turns: int
    """How often the work ran."""
    is_steady: bool
    """Whether every device was steady; False when time ran out."""


def warm_up_text(warm_up: WarmUp) -> str:
    """How a warm-up ended, in words."""
    state = "steady" if warm_up.is_steady else "not steady yet"
    return f"{warm_up.duration:.0f} s, {state}"


def is_steady(rows: Sequence[TraceRow]) -> bool:
    """Whether power and temperature have stood still over the last 30 s.

    Args:
        rows: The trace so far, in the order of time.
    """
    if not rows:
        return False
    since_ns = rows[-1].at_ns - nanoseconds(STEADY_SECONDS)
    recent = [row for row in rows if row.at_ns >= since_ns]
    if seconds(recent[-1].at_ns - recent[0].at_ns) < _COVERED_SHARE * STEADY_SECONDS:
        return False
    third = len(recent) // _PARTS
    first, last = recent[:third], recent[-third:]
    if not first:
        return False
    before, after = (fmean(row.power_mw for row in part) for part in (first, last))
    if abs(after - before) > _POWER_SHARE * before:
        return False
    return abs(_temperature(last) - _temperature(first)) <= _CELSIUS


def _temperature(rows: Sequence[TraceRow]) -> float:
    """Mean temperature; 0 for a board that does not tell any, which then cannot drift."""
    told = [row.temperature_c for row in rows if row.temperature_c is not None]
    return fmean(told) if told else 0.0
