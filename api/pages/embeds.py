"""What other sites show of ours: label, widget, picture of a shared link."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.card import Card, card_png
from api.charts.scale import written
from api.encoding import encoded
from api.grades import grade
from api.grid.intensity import Period
from api.headline import headline
from api.label import label_svg, letter_colour
from api.offerings import Row
from api.pages.ranking import SVG, row_named
from api.pages.shell import HTML, Site, row_path, with_header
from api.ranking import Filters, Sort, ranked
from api.release import Release
from api.routes import current, respond

PNG = "image/png"
Theme = Annotated[Literal["light", "dark"], Query()]
_FRAMED = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors *"


def add_embeds(router: APIRouter, site: Site) -> None:
    """Label, widget and pictures."""

    @router.get("/label/{row:path}.svg")
    def label(request: Request, row: str, theme: Theme = "light") -> Response:
        svg = label_svg(row_named(current(site.holder), row), theme)
        return respond(request, encoded(svg, SVG))

    @router.get("/embed/{row:path}")
    def embed(request: Request, row: str, theme: Theme = "light") -> Response:
        release = current(site.holder)
        found = row_named(release, row)
        context = {
            "row": found,
            "carbon": found.carbon[Period.YEAR].total,
            "year": found.grid[Period.YEAR].factor.date,
            "grade": grade(found),
            "theme": theme,
            "row_link": f"/row/{row_path(found.id)}",
            "release": release,
        }
        response = respond(request, encoded(site.render("embed.html", context), HTML))
        return with_header(response, "content-security-policy", _FRAMED)

    @router.get("/og.png")
    def card(request: Request) -> Response:
        release = current(site.holder)
        return respond(request, release.answer("og.png", lambda: _headline_png(release), PNG))

    @router.get("/og/{row:path}.png")
    def row_card(request: Request, row: str) -> Response:
        release = current(site.holder)
        found = row_named(release, row)
        key = f"og/{found.id}.png"
        return respond(request, release.answer(key, lambda: _row_png(found), PNG))


def _headline_png(release: Release) -> bytes:
    sold = [row for row in release.rows if Filters().admits(row) and row.access == "api"]
    order = ranked(sold, sort=Sort.CARBON, period=Period.YEAR)
    title = headline(order, Period.YEAR) or "Carbon, price and speed of language models"
    models = len({row.model.id for row in release.rows})
    note = f"{models} models, {len(release.rows):,} rows, release {release.id}"
    return card_png(Card(title=title, figure="", unit="", note=note))


def _row_png(row: Row) -> bytes:
    carbon = row.carbon[Period.YEAR].total
    found = grade(row)
    ground, ink = letter_colour(found.letter) if found else ("", "")
    status = "SIMULATED: measures nothing" if row.status == "simulated" else f"energy {row.status}"
    return card_png(
        Card(
            title=f"{row.model.name} on {row.provider.name}, {row.place_name}",
            figure=f"{written(carbon.value, 2)} g",
            unit=f"CO2e per million output tokens (95 %: {written(carbon.low, 2)} to "
            f"{written(carbon.high, 2)})",
            note=f"{status}; grid of {row.grid[Period.YEAR].factor.date}",
            letter=found.letter if found else "",
            letter_ground=ground,
            letter_ink=ink,
        )
    )
