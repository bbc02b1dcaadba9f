"""A grid's hours around now: band, course, lowest hour, the now line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from api.charts.scale import Axis, linear_axis, written
from api.footprint import Estimate

WIDTH = 760
HEIGHT = 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 748.0, 26.0, 208.0
_LABELS_EVERY = 3
_NEAR_EDGE_PX = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One hour of a grid (gCO2e per kWh)."""

    start: datetime
    intensity: Estimate


def curve(hours: Sequence[Hour], *, now_index: int, lowest_index: int, summary: str) -> Markup:
    """The picture of consecutive hours.

    Args:
        hours: At least two, oldest first.
        now_index: The hour that runs now.
        lowest_index: The lowest of the hours from now on.
        summary: The reading in words.
    """
    x = Axis(low=0, high=len(hours), start_px=_LEFT, end_px=_RIGHT)
    y = linear_axis(max(hour.intensity.high for hour in hours), _BOTTOM, _TOP)
    middles = [position + 0.5 for position in range(len(hours))]
    upper = [f"{x.at(m)},{y.at(h.intensity.high)}" for m, h in zip(middles, hours, strict=True)]
    lower = [f"{x.at(m)},{y.at(h.intensity.low)}" for m, h in zip(middles, hours, strict=True)]
    line = [f"{x.at(m)},{y.at(h.intensity.value)}" for m, h in zip(middles, hours, strict=True)]
    parts = Markup(
        '<polygon class="band" points="{band}"/><polyline class="course" points="{line}"/>'
    ).format(band=" ".join([*upper, *reversed(lower)]), line=" ".join(line))
    body = Markup("").join(
        [_axes(hours, x, y), parts, _now(x, now_index), _lowest(hours, x, y, lowest_index)]
    )
    return Markup(
        '<svg class="curve" viewBox="0 0 {width} {height}" role="img" aria-label="{summary}">'
        "{body}</svg>"
    ).format(width=WIDTH, height=HEIGHT, summary=summary, body=body)


def _axes(hours: Sequence[Hour], x: Axis, y: Axis) -> Markup:
    parts = [
        Markup(
            '<path class="grid" d="M{left} {y}H{right}"/>'
            '<text class="tick end" x="{tx}" y="{ty}">{text}</text>'
        ).format(
            left=_LEFT, right=_RIGHT, y=y.at(tick), tx=_LEFT - 6, ty=y.at(tick) + 4,
            text=written(tick),
        )
        for tick in y.ticks()
    ]  # fmt: skip
    for position, hour in enumerate(hours):
        if hour.start.hour % _LABELS_EVERY == 0:
            parts.append(
                Markup('<text class="tick mid" x="{x}" y="{y}">{text}</text>').format(
                    x=x.at(position), y=_BOTTOM + 17, text=f"{hour.start:%H:%M}"
                )
            )
    parts.append(
        Markup(
            '<text class="axis" x="4" y="12">gCO2e per kWh</text>'
            '<text class="axis end" x="{right}" y="{below}">hour, UTC</text>'
        ).format(right=_RIGHT, below=_BOTTOM + 34)
    )
    return Markup("").join(parts)


def _now(x: Axis, index: int) -> Markup:
    return Markup(
        '<path class="now" d="M{x} {top}V{bottom}"/><text class="now-name mid" x="{x}" y="{ty}">'
        "now</text>"
    ).format(x=x.at(index), top=_TOP, bottom=_BOTTOM, ty=_TOP - 5)


def _lowest(hours: Sequence[Hour], x: Axis, y: Axis, index: int) -> Markup:
    hour = hours[index]
    cx, cy = x.at(index + 0.5), y.at(hour.intensity.value)
    is_right = cx > _RIGHT - _NEAR_EDGE_PX
    return Markup(
        '<circle class="low" cx="{cx}" cy="{cy}" r="5"/>'
        '<text class="{kind}" x="{tx}" y="{ty}">lowest {at} UTC: {grams} g</text>'
    ).format(
        cx=cx,
        cy=cy,
        kind="low-name end" if is_right else "low-name",
        tx=cx - 9 if is_right else cx + 9,
        ty=min(cy + 18, _BOTTOM - 5),
        at=f"{hour.start:%H:%M}",
        grams=written(hour.intensity.value),
    )
