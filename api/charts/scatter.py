"""Carbon against another quantity, both logarithmic, one mark and interval a row."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api.charts.scale import Axis, log_axis, written
from api.footprint import Estimate

WIDTH = 960
HEIGHT = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 940.0, 18.0, 352.0
_NAMED = 6
_LABEL_GAP_PX = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One row in the picture."""

    name: str
    href: str
    x: float
    carbon: Estimate
    """gCO2e per 1e6 output tokens."""
    status: str
    """Shape of the mark: measured figures are filled, modelled ones hollow, simulated crossed."""


def frontier(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The marks that no other one beats in both quantities, from the smallest x on."""
    found: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.x, mark.carbon.value, mark.name)):
        if not found or mark.carbon.value < found[-1].carbon.value:
            found.append(mark)
    return tuple(found)


def scatter(marks: Sequence[Mark], *, x_title: str, summary: str) -> Markup:
    """The picture; empty without marks."""
    if not marks:
        return Markup("")
    x = log_axis([mark.x for mark in marks], _LEFT, _RIGHT)
    best = frontier(marks)
    ends = [mark.carbon.low for mark in best]
    y = log_axis([*ends, *(mark.carbon.value for mark in marks)], _BOTTOM, _TOP)
    held = {id(mark) for mark in best}
    parts = [_axes(x, y, x_title)]
    parts += [_interval(mark, x, y, id(mark) in held) for mark in marks]
    parts.append(_steps(best, x, y))
    parts += [_dot(mark, x, y, id(mark) in held) for mark in marks]
    parts += _labels(best, x, y)
    return Markup(
        '<svg class="scatter" viewBox="0 0 {width} {height}" role="img" aria-label="{summary}">'
        "{parts}</svg>"
    ).format(width=WIDTH, height=HEIGHT, summary=summary, parts=Markup("").join(parts))


def _axes(x: Axis, y: Axis, x_title: str) -> Markup:
    parts = []
    for tick in y.ticks():
        parts.append(
            Markup(
                '<path class="grid" d="M{left} {y}H{right}"/>'
                '<text class="tick end" x="{tx}" y="{ty}">{text}</text>'
            ).format(
                left=_LEFT,
                right=_RIGHT,
                y=y.at(tick),
                tx=_LEFT - 8,
                ty=y.at(tick) + 4,
                text=written(tick),
            )
        )
    for tick in x.ticks():
        parts.append(
            Markup(
                '<path class="grid" d="M{x} {top}V{bottom}"/>'
                '<text class="tick mid" x="{x}" y="{ty}">{text}</text>'
            ).format(x=x.at(tick), top=_TOP, bottom=_BOTTOM, ty=_BOTTOM + 18, text=written(tick))
        )
    parts.append(
        Markup(
            '<text class="axis end" x="{right}" y="{below}">{x_title}</text>'
            '<text class="axis" x="4" y="12">gCO2e per million output tokens</text>'
        ).format(right=_RIGHT, below=_BOTTOM + 38, x_title=x_title)
    )
    return Markup("").join(parts)


def _interval(mark: Mark, x: Axis, y: Axis, is_best: bool) -> Markup:
    return Markup('<path class="{kind}" d="M{x} {low}V{high}"/>').format(
        kind="span best" if is_best else "span",
        x=x.at(mark.x),
        low=y.at(mark.carbon.low),
        high=y.at(mark.carbon.high),
    )


def _steps(best: Sequence[Mark], x: Axis, y: Axis) -> Markup:
    """The frontier as stairs: what a buyer can reach at most for a price."""
    path = f"M{x.at(best[0].x)} {_TOP}V{y.at(best[0].carbon.value)}"
    for mark in best[1:]:
        path += f"H{x.at(mark.x)}V{y.at(mark.carbon.value)}"
    return Markup('<path class="frontier" d="{path}H{right}"/>').format(path=path, right=_RIGHT)


def _dot(mark: Mark, x: Axis, y: Axis, is_best: bool) -> Markup:
    text = (
        f"{mark.name}: {written(mark.carbon.value)} g "
        f"({written(mark.carbon.low)} to {written(mark.carbon.high)}), {mark.status}"
    )
    cx, cy = x.at(mark.x), y.at(mark.carbon.value)
    radius = 5.5 if is_best else 4.0
    kind = f"mark {mark.status}" + (" best" if is_best else "")
    if mark.status == "simulated":
        shape = Markup('<path d="M{a} {b}l8 8m0-8l-8 8"/>').format(a=cx - 4, b=cy - 4)
    else:
        shape = Markup('<circle cx="{cx}" cy="{cy}" r="{radius}"/>').format(
            cx=cx, cy=cy, radius=radius
        )
    return Markup('<g class="{kind}" data-href="{href}"><title>{text}</title>{shape}</g>').format(
        kind=kind, href=mark.href, text=text, shape=shape
    )


def _labels(best: Sequence[Mark], x: Axis, y: Axis) -> list[Markup]:
    """Names of the frontier's marks, the lowest first, as far as they do not collide."""
    labels: list[Markup] = []
    taken: list[tuple[float, float]] = []
    for mark in sorted(best, key=lambda mark: mark.carbon.value):
        cx, cy = x.at(mark.x), y.at(mark.carbon.value) + 18
        if len(labels) == _NAMED or cy > _BOTTOM - 4:
            cy -= 26
        if any(abs(cy - other) < _LABEL_GAP_PX and abs(cx - ox) < 190 for ox, other in taken):  # noqa: PLR2004 - width of a label in pixels
            continue
        taken.append((cx, cy))
        is_right = cx > WIDTH * 0.7
        labels.append(
            Markup('<text class="{kind}" x="{x}" y="{y}">{name}</text>').format(
                kind="name end" if is_right else "name",
                x=cx - 6 if is_right else cx + 6,
                y=cy,
                name=mark.name,
            )
        )
    return labels[:_NAMED]
