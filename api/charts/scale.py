"""Axes: positions of values, round ticks, and numbers as they are written at them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from api.footprint import rounded

_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A span of values laid onto a span of pixels."""

    low: float
    high: float
    start_px: float
    end_px: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Pixel position of a value; values outside the span stick to its ends."""
        inside = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return round(self.start_px + share * (self.end_px - self.start_px), 1)

    def ticks(self) -> tuple[float, ...]:
        """Round values inside the span."""
        return tuple(_log_ticks(self) if self.is_log else _linear_ticks(self))


def log_axis(values: list[float], start_px: float, end_px: float) -> Axis:
    """A logarithmic axis that holds all positive values, with room at both ends."""
    low, high = min(values), max(values)
    return Axis(low=low / 1.25, high=high * 1.25, start_px=start_px, end_px=end_px, is_log=True)


def linear_axis(high: float, start_px: float, end_px: float) -> Axis:
    """A linear axis from 0 with room above the highest value."""
    return Axis(low=0.0, high=high * 1.08 or 1.0, start_px=start_px, end_px=end_px)


def written(value: float, digits: int = 3) -> str:
    """A figure to so many significant digits, thousands apart, without an exponent."""
    shown = rounded(value, digits)
    if abs(shown) >= 100:  # noqa: PLR2004 - three digits before the point
        return f"{shown:,.0f}"
    text = f"{shown:.10f}".rstrip("0").rstrip(".")
    return text or "0"


def _log_ticks(axis: Axis) -> Iterator[float]:
    first = math.floor(math.log10(axis.low))
    last = math.ceil(math.log10(axis.high))
    steps = _STEPS[:3] if last - first <= 3 else _STEPS[:1]  # noqa: PLR2004 - decades that fit
    for decade in range(first, last + 1):
        for step in steps:
            value = step * 10.0**decade
            if axis.low <= value <= axis.high:
                yield value


def _linear_ticks(axis: Axis) -> Iterator[float]:
    rough = (axis.high - axis.low) / 5
    decade = 10.0 ** math.floor(math.log10(rough))
    width = next(step * decade for step in _STEPS if step * decade >= rough)
    count = int((axis.high - axis.low) / width)
    for position in range(count + 1):
        yield rounded(axis.low + position * width, 6)
