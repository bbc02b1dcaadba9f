"""The SVG label of a row: letter, figure, interval, what stands behind it, method and year.

Own artwork and own letters (`api.grades`); it says itself that it is no official label. Drawn
without a style element, so that it keeps under a strict policy and inside other pages.
"""

from markupsafe import Markup

from api.charts.palette import CIVIDIS, ink
from api.charts.scale import written
from api.footprint import METHODOLOGY_VERSION
from api.grades import LETTERS, Grade, grade
from api.grid.intensity import Period
from api.offerings import Row

WIDTH = 340
HEIGHT = 452
_FONT = "Verdana,DejaVu Sans,sans-serif"
_STEP_PX = 26
_LEFT = 24
_STEPS = len(CIVIDIS) - 1
_THEMES = {
    "light": {"ground": "#ffffff", "ink": "#14171a", "soft": "#4d5358", "line": "#c9ccc6"},
    "dark": {"ground": "#14181b", "ink": "#f0f2f3", "soft": "#aeb6bc", "line": "#3a4147"},
}
_LONGEST_NAME = 30


def letter_colour(letter: str) -> tuple[str, str]:
    """Ground and ink of a letter on the sequential scale."""
    step = round(LETTERS.index(letter) * _STEPS / (len(LETTERS) - 1))
    return CIVIDIS[step], ink(step)


def label_svg(row: Row, theme: str = "light") -> bytes:
    """The label over the newest whole year.

    Args:
        row: What is labelled.
        theme: `light` or `dark`.
    """
    colours = _THEMES[theme]
    found = grade(row)
    carbon = row.carbon[Period.YEAR].total
    year = row.grid[Period.YEAR].factor.date
    title = (
        f"{row.model.name}, {row.provider.name}, {row.place_name}: "
        f"{written(carbon.value, 2)} gCO2e per million output tokens, {row.regime}, "
        f"energy {row.status}"
    )
    body = Markup("").join(
        [
            _text(_LEFT, 34, "INFERENCE CARBON", 13, colours["soft"], bold=True),
            _text(_LEFT, 62, _cut(row.model.name), 18, colours["ink"], bold=True),
            _text(_LEFT, 84, _cut(f"{row.provider.name}, {row.place_name}", 40), 12,
                  colours["soft"]),
            _scale(found, colours),
            _figures(row, colours, year),
        ]
    )  # fmt: skip
    return (
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            'viewBox="0 0 {width} {height}" role="img" aria-label="{title}" font-family="{font}">'
            '<title>{title}</title><rect x="1" y="1" width="{inner}" height="{tall}" rx="14" '
            'fill="{ground}" stroke="{line}" stroke-width="2"{dash}/>{body}</svg>'
        )
        .format(
            width=WIDTH,
            height=HEIGHT,
            inner=WIDTH - 2,
            tall=HEIGHT - 2,
            title=title,
            font=_FONT,
            ground=colours["ground"],
            line=colours["ink"] if row.status == "simulated" else colours["line"],
            dash=Markup(' stroke-dasharray="9 6"') if row.status == "simulated" else "",
            body=body,
        )
        .encode()
    )


def _scale(found: Grade | None, colours: dict[str, str]) -> Markup:
    parts = []
    for position, letter in enumerate(LETTERS):
        top = 104 + position * _STEP_PX
        ground, text = letter_colour(letter)
        chosen = found is not None and found.letter == letter
        reached = found is not None and found.best <= letter <= found.worst
        parts.append(
            Markup('<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="4" fill="{fill}"/>').format(
                x=_LEFT, y=top, w=64 + 16 * position, h=_STEP_PX - 4, fill=ground
            )
        )
        parts.append(_text(_LEFT + 10, top + 16, letter, 14, text, bold=True))
        if reached:
            parts.append(
                Markup('<path d="M{x} {y}v{h}" stroke="{ink}" stroke-width="3"/>').format(
                    x=212, y=top - 2, h=_STEP_PX, ink=colours["soft"]
                )
            )
        if chosen:
            parts.append(
                Markup('<path d="M204 {m}l18 -15h90v30h-90z" fill="{ink}"/>').format(
                    m=top + 11, ink=colours["ink"]
                )
            )
            parts.append(_text(252, top + 19, letter, 22, colours["ground"], bold=True))
    if found is None:
        parts.append(_text(216, 190, "not graded", 13, colours["soft"]))
    return Markup("").join(parts)


def _figures(row: Row, colours: dict[str, str], year: str) -> Markup:
    carbon = row.carbon[Period.YEAR].total
    energy, found = row.energy.estimate, grade(row)
    status = {"simulated": "SIMULATED: measures nothing"}.get(row.status, f"energy {row.status}")
    grades = (
        f"Class {found.size_class}, thresholds of {found.year}; interval reaches "
        f"{found.best} to {found.worst}"
        if found and not found.is_certain
        else f"Class {found.size_class}, thresholds of {found.year}"
        if found
        else "No letter: one prompt at a time, or size unknown"
    )
    mark = "" if row.status in {"verified", "published"} else "\N{ALMOST EQUAL TO} "
    lines = (
        (324, f"{mark}{written(carbon.value, 2)} gCO2e", 24, colours["ink"], True),
        (344, "per million output tokens", 12, colours["soft"], False),
        (366, f"95 %: {written(carbon.low, 2)} to {written(carbon.high, 2)} g; "
              f"{written(energy.value, 2)} Wh GPU", 12, colours["ink"], False),
        (388, f"{row.regime}; {status}; grid of {year}; PUE {written(row.pue.estimate.value)}", 11,
         colours["ink"], False),
        (408, grades, 11, colours["soft"], False),
        (432, f"CarbonBench method {METHODOLOGY_VERSION}. No official label.", 10,
         colours["soft"], False),
    )  # fmt: skip
    return Markup("").join(
        _text(_LEFT, y, text, size, colour, bold=bold) for y, text, size, colour, bold in lines
    )


def _text(x: float, y: float, text: str, size: int, fill: str, *, bold: bool = False) -> Markup:
    return Markup(
        '<text x="{x}" y="{y}" font-size="{size}" fill="{fill}"{weight}>{text}</text>'
    ).format(
        x=x,
        y=y,
        size=size,
        fill=fill,
        weight=Markup(' font-weight="700"') if bold else "",
        text=text,
    )


def _cut(text: str, length: int = _LONGEST_NAME) -> str:
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
