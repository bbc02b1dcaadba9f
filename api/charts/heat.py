"""A typical year: month by hour, each cell on the sequential scale."""

from collections.abc import Sequence

from markupsafe import Markup

from api.charts.palette import CIVIDIS, step
from api.charts.scale import written

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WIDTH = 760
HEIGHT = 326
_LEFT, _TOP, _CELL_W, _CELL_H = 40, 22, 30, 21
_HOURS = 24
_LABELS_EVERY = 3


def heat_map(table: Sequence[Sequence[float]], summary: str) -> Markup:
    """The picture of 12 months of 24 hours (gCO2e per kWh), with its legend."""
    values = [value for month in table for value in month]
    low, high = min(values), max(values)
    span = high - low or 1.0
    parts: list[Markup] = []
    for row, (name, month) in enumerate(zip(MONTHS, table, strict=True)):
        top = _TOP + row * _CELL_H
        parts.append(_text("tick end", _LEFT - 6, top + 15, name))
        parts += [
            _cell(hour, top, CIVIDIS[step((value - low) / span)], f"{name} {hour:02}:00", value)
            for hour, value in enumerate(month)
        ]
    parts += [
        _text("tick mid", _LEFT + hour * _CELL_W, 14, f"{hour:02}:00")
        for hour in range(0, _HOURS, _LABELS_EVERY)
    ]
    parts.append(_legend(low, high))
    return Markup(
        '<svg class="heat" viewBox="0 0 {width} {height}" role="img" aria-label="{summary}">'
        "{parts}</svg>"
    ).format(width=WIDTH, height=HEIGHT, summary=summary, parts=Markup("").join(parts))


def _cell(hour: int, top: int, colour: str, when: str, value: float) -> Markup:
    return Markup(
        '<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="2" fill="{fill}">'
        "<title>{when} UTC: {grams} g per kWh</title></rect>"
    ).format(
        x=_LEFT + hour * _CELL_W + 1,
        y=top + 1,
        w=_CELL_W - 2,
        h=_CELL_H - 2,
        fill=colour,
        when=when,
        grams=written(value),
    )


def _legend(low: float, high: float) -> Markup:
    top = _TOP + len(MONTHS) * _CELL_H + 16
    width = 34
    start = _LEFT + 96
    swatches = Markup("").join(
        Markup('<rect x="{x}" y="{y}" width="{w}" height="14" fill="{fill}"/>').format(
            x=start + position * width, y=top, w=width, fill=colour
        )
        for position, colour in enumerate(CIVIDIS)
    )
    end = start + len(CIVIDIS) * width
    return Markup("").join(
        [
            _text("tick end", start - 8, top + 12, f"{written(low)} g"),
            swatches,
            _text("tick", end + 8, top + 12, f"{written(high)} g per kWh"),
        ]
    )


def _text(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{kind}" x="{x}" y="{y}">{text}</text>').format(
        kind=kind, x=x, y=y, text=text
    )
