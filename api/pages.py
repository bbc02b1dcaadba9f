"""The HTML face: one leaderboard page, rendered on the server, complete without JavaScript."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError

from api.badge import badge_svg
from api.catalogue import Access, Certainty
from api.cursors import page_cursor, page_start
from api.encoding import encoded
from api.energy import Regime
from api.footprint import METHODOLOGY_VERSION, rounded
from api.grid.intensity import Period
from api.headline import headline
from api.present import REGIME_NOTES
from api.problems import problem_response
from api.ranking import Ranked, Sort, ranked
from api.release import Holder, Release
from api.routes import LeaderboardQuery, current, leaderboard_filters, respond, respond_hot
from api.sparkline import interval_bar
from protocol.messages import Status

HTML = "text/html; charset=utf-8"
HERE = Path(__file__).parent
_LISTS = frozenset({"status", "provider", "place", "certainty", "family", "model"})
_STATIC = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


def build_pages(holder: Holder) -> APIRouter:
    """The page and its static files."""
    router = APIRouter(include_in_schema=False)
    environment = _environment()
    static = {
        name: encoded((HERE / "static" / name).read_bytes(), media_type)
        for name, media_type in _STATIC.items()
    }

    @router.get("/")
    def leaderboard(request: Request) -> Response:
        query = page_query(request)
        release = current(holder)
        html = release.answer(
            f"page?{query.model_dump_json()}", lambda: _page(environment, release, query), HTML
        )
        return respond_hot(request, release, html)

    @router.get("/docs")
    def docs(request: Request) -> Response:
        document = request.app.openapi()
        html = environment.get_template("docs.html").render(
            document=document, values=lambda schema: allowed_values(schema, document)
        )
        return respond(request, encoded(html.encode(), HTML))

    @router.get("/badge/{row:path}.svg")
    def badge(request: Request, row: str) -> Response:
        found = current(holder).row_named(row)
        if found is None:
            return problem_response(404, "unknown_row", "no row is named so")
        return respond(request, encoded(badge_svg(found), "image/svg+xml"))

    @router.get("/static/{name}")
    def asset(request: Request, name: str) -> Response:
        if name not in static:
            return problem_response(404, "not_found", "no such file")
        return respond(request, static[name])

    return router


def allowed_values(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """What a parameter may be, in words, from its JSON Schema."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return allowed_values(document["components"]["schemas"][name], document)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        parts = [allowed_values(each, document) for each in schema["anyOf"]]
        return " or ".join(part for part in parts if part != "null")
    if schema.get("type") == "array":
        return f"{allowed_values(schema['items'], document)} (repeatable)"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
        if key in schema
    ]
    return " ".join([str(schema.get("type", "any")), *bounds])


def page_query(request: Request) -> LeaderboardQuery:
    """The query of a form: fields that were left empty are as good as absent."""
    given: dict[str, str | list[str]] = {}
    for name in dict.fromkeys(request.query_params.keys()):
        values = [value for value in request.query_params.getlist(name) if value.strip()]
        if values:
            given[name] = values if name in _LISTS else values[-1]
    try:
        return LeaderboardQuery.model_validate(given)
    except ValidationError as fault:
        errors = [{**error, "loc": ("query", *error["loc"])} for error in fault.errors()]
        raise RequestValidationError(errors) from fault


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["money"] = _money
    environment.globals["interval_bar"] = interval_bar
    return environment


def _page(environment: jinja2.Environment, release: Release, query: LeaderboardQuery) -> bytes:
    filters = leaderboard_filters(release, query)
    order = ranked(
        [row for row in release.rows if filters.admits(row)], sort=query.sort, period=query.period
    )
    start = page_start(query.cursor, release.id)
    page = order[start : start + query.limit]
    end = start + len(page)
    parameters = query.model_dump(mode="json", exclude_defaults=True, exclude={"cursor"})

    def link(**changes: object) -> str:
        merged = {k: v for k, v in {**parameters, **changes}.items() if v not in (None, "", [])}
        return "/?" + urlencode(merged, doseq=True) if merged else "/"

    return (
        environment.get_template("leaderboard.html")
        .render(
            release=release,
            query=query,
            filters=filters,
            order=order,
            page=page,
            first=start + 1,
            last=end,
            headline=headline(order, query.period),
            note=REGIME_NOTES[filters.regime],
            scale=_scale(page, query.period),
            simulated=_simulated(release, filters.regime),
            choices=_choices(release),
            link=link,
            next_link=link(cursor=page_cursor(end, release.id)) if end < len(order) else None,
            methodology=METHODOLOGY_VERSION,
        )
        .encode()
    )


def _choices(release: Release) -> dict[str, list[str]]:
    rows = release.rows
    return {
        "regime": [regime.value for regime in Regime],
        "period": [period.value for period in Period],
        "sort": [sort.value for sort in Sort],
        "status": [status.value for status in Status],
        "access": [access.value for access in Access],
        "certainty": [certainty.value for certainty in Certainty],
        "family": sorted({row.model.family for row in rows}),
        "provider": sorted({row.provider.id for row in rows}),
        "place": sorted({place.id for row in rows for place in row.places if place.tabulated}),
    }


def _simulated(release: Release, regime: Regime) -> int:
    """Simulated cells that this ranking leaves out."""
    return len(
        {
            row.figure.id
            for row in release.rows
            if row.status is Status.SIMULATED and row.regime is regime
        }
    )


def _scale(page: tuple[Ranked, ...], period: Period) -> float:
    return max((item.row.carbon[period].total.high for item in page), default=1.0) or 1.0


def _money(value: Decimal | None) -> str:
    return "not stated" if value is None else f"{value.normalize():f}"


def _figure(value: float) -> str:
    """A figure to three significant digits, without an exponent."""
    shown = rounded(value, 3)
    return f"{shown:,.0f}" if abs(shown) >= 100 else f"{shown:g}"  # noqa: PLR2004 - digits shown
