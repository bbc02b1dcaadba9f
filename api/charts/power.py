"""A miner's power over its run, thinned for the eye: the highest and lowest of each slice."""

from collections.abc import Sequence

from markupsafe import Markup

from api.charts.scale import Axis, linear_axis, written

WIDTH = 760
HEIGHT = 250
SLICES = 350
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 748.0, 26.0, 208.0


def thinned(times_s: Sequence[float], powers_w: Sequence[float]) -> list[tuple[float, float]]:
    """At most two points a slice: what was lowest and what was highest in it, in time order."""
    count = len(times_s)
    if count <= 2 * SLICES:
        return list(zip(times_s, powers_w, strict=True))
    found: list[tuple[float, float]] = []
    for part in range(SLICES):
        begin, end = part * count // SLICES, (part + 1) * count // SLICES
        positions = range(begin, end)
        picked = {
            min(positions, key=powers_w.__getitem__),
            max(positions, key=powers_w.__getitem__),
        }
        found += [(times_s[position], powers_w[position]) for position in sorted(picked)]
    return found


def power_trace(points: Sequence[tuple[float, float]], *, end_s: float, summary: str) -> Markup:
    """The picture of (seconds since the window opened, watts), the window shaded."""
    if not points:
        return Markup("")
    x = Axis(
        low=min(0.0, points[0][0]),
        high=max(end_s, points[-1][0]) or 1.0,
        start_px=_LEFT,
        end_px=_RIGHT,
    )
    y = linear_axis(max(watts for _, watts in points), _BOTTOM, _TOP)
    ticks = Markup("").join(
        Markup(
            '<path class="grid" d="M{left} {y}H{right}"/>'
            '<text class="tick end" x="{tx}" y="{ty}">{text}</text>'
        ).format(
            left=_LEFT, right=_RIGHT, y=y.at(tick), tx=_LEFT - 6, ty=y.at(tick) + 4,
            text=written(tick),
        )
        for tick in y.ticks()
    )  # fmt: skip
    line = " ".join(f"{x.at(second)},{y.at(watts)}" for second, watts in points)
    return Markup(
        '<svg class="curve trace" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="{summary}"><rect class="window" x="{start}" y="{top}" width="{span}" '
        'height="{tall}"/>{ticks}<polyline class="course" points="{line}"/>'
        '<text class="tick mid" x="{start}" y="{below}">0 s</text>'
        '<text class="tick mid" x="{end}" y="{below}">{end_text} s</text>'
        '<text class="axis" x="4" y="12">GPU power, W</text>'
        '<text class="axis end" x="{right}" y="{lower}">seconds since the window opened</text>'
        "</svg>"
    ).format(
        width=WIDTH, height=HEIGHT, summary=summary, ticks=ticks, line=line,
        start=x.at(0.0), end=x.at(end_s), span=round(x.at(end_s) - x.at(0.0), 1),
        top=_TOP, tall=_BOTTOM - _TOP, below=_BOTTOM + 17, lower=_BOTTOM + 34, right=_RIGHT,
        end_text=written(end_s),
    )  # fmt: skip
