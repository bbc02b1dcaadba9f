"""A small SVG badge of a row: grams, interval, year and method, for READMEs and cards."""

from markupsafe import escape

from api.energy import Regime
from api.footprint import METHODOLOGY_VERSION, rounded
from api.grid.intensity import Period
from api.offerings import Row
from protocol.messages import Status

CHARACTER_PX = 6.6
"""Mean width of a character of the 11 px font."""
PADDING_PX = 7


def badge_svg(row: Row) -> bytes:
    """The badge of a row over the newest whole year; simulated figures say so."""
    carbon = row.carbon[Period.YEAR].total
    year = row.grid[Period.YEAR].factor.date
    left = "carbon" if row.regime is Regime.SERVED else "carbon, one at a time"
    if row.status is Status.SIMULATED:
        left = f"SIMULATED {left}"
    right = (
        f"{rounded(carbon.value, 2):g} g/Mtok ({rounded(carbon.low, 2):g}"
        f"\N{EN DASH}{rounded(carbon.high, 2):g}) {year}"
    )
    title = (
        f"{row.model.name} on {row.provider.name}, {row.place_name}: {right}, "
        f"{row.regime}, energy {row.status}, method {METHODOLOGY_VERSION}"
    )
    first, second = (round(len(text) * CHARACTER_PX + 2 * PADDING_PX) for text in (left, right))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="20" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f'<rect width="{first}" height="20" fill="#3b4248"/>'
        f'<rect x="{first}" width="{second}" height="20" fill="#00507f"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{PADDING_PX}" y="14">{escape(left)}</text>'
        f'<text x="{first + PADDING_PX}" y="14">{escape(right)}</text></g></svg>'
    ).encode()
