"""Pictures that stand in a line of text: an interval, a day."""

from collections.abc import Sequence

from markupsafe import Markup

from api.charts.scale import Axis, written
from api.footprint import Estimate

WIDTH = 120
HEIGHT = 12
SPARK_WIDTH = 96
SPARK_HEIGHT = 28
_MARGIN = 3.0


def interval_bar(estimate: Estimate, scale: float) -> Markup:
    """An interval with its value on a linear scale from 0 to `scale`; text goes with it."""
    low, value, high = (
        round(WIDTH * min(1.0, part / scale), 1)
        for part in (estimate.low, estimate.value, estimate.high)
    )
    text = f"{written(estimate.low)} to {written(estimate.high)}"
    return Markup(
        '<svg class="interval" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="95 % interval {text}">'
        '<path class="track" d="M0 6H{width}"/>'
        '<rect class="span" x="{low}" y="3" width="{span}" height="6" rx="3"/>'
        '<circle class="dot" cx="{value}" cy="6" r="3.5"/></svg>'
    ).format(
        width=WIDTH,
        height=HEIGHT,
        text=text,
        low=low,
        span=round(max(1.0, high - low), 1),
        value=value,
    )


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A day's course from its lowest to its highest value, the lowest hour marked.

    Args:
        values: One per hour, at least two.
        label: The reading in words.
    """
    low, high = min(values), max(values)
    x = Axis(low=0, high=len(values) - 1, start_px=_MARGIN, end_px=SPARK_WIDTH - _MARGIN)
    # A nearly flat day is drawn flat: the picture spans at least 30 % of the mean.
    room = max(high - low, 0.3 * sum(values) / len(values)) or 1.0
    y = Axis(low=low, high=low + room, start_px=SPARK_HEIGHT - 5.0, end_px=_MARGIN)
    points = " ".join(f"{x.at(hour)},{y.at(value)}" for hour, value in enumerate(values))
    lowest = values.index(low)
    return Markup(
        '<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="{label}"><polyline points="{points}"/>'
        '<circle class="low" cx="{cx}" cy="{cy}" r="3"/></svg>'
    ).format(
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
        label=label,
        points=points,
        cx=x.at(lowest),
        cy=y.at(low),
    )
