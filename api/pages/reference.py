"""Pages to look things up: models, places, methodology, sources, changes, the API itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api import grades
from api.answers import leaderboard_answer
from api.archive import KeptRelease, RowChange, State
from api.catalogue import Model, ModelSlug, Place
from api.charts.heat import MONTHS, heat_map
from api.charts.scale import written
from api.energy import BATCH_RANGE, REFERENCE_BATCH, Regime
from api.footprint import INTERVAL_METHOD
from api.grid.ladder import LEVEL_FLOOR
from api.grid_answers import latest_answer, typical_day_answer
from api.lookups import model_answer, models_answer, sources_answer
from api.pages.hours import Day, day_at
from api.pages.queries import ModelsForm, form
from api.pages.ranking import lines_of, scale
from api.pages.shell import Context, Site
from api.pue import PUE_ASSUMED, PUE_UNCERTAINTY
from api.reference_routes import place_named
from api.reference_schemas import GridNow, ModelDetail, Models, Sources, TypicalDay
from api.release import Release
from api.routes import LeaderboardQuery, leaderboard_filters, resolve
from api.schemas import Leaderboard
from protocol.errors import StoreError
from protocol.messages import Status

ROWS_OF_MODEL = 25
RELEASES_SHOWN = 20
CHANGES_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place in the list of places."""

    place: Place
    grid: GridNow
    day: Day


def add_reference(router: APIRouter, site: Site) -> None:
    """All look-up pages."""
    _add_things(router, site)
    _add_texts(router, site)


def _add_things(router: APIRouter, site: Site) -> None:

    @router.get("/models")
    def models(request: Request) -> Response:
        asked = form(ModelsForm, request)
        return site.page(request, "models.html", lambda release, _: models_context(release, asked))

    @router.get("/models/{name:path}")
    def model(request: Request, name: str) -> Response:
        return site.page(
            request,
            "model.html",
            lambda release, now: model_context(release, now, resolve(release, name)),
        )

    @router.get("/places")
    def places(request: Request) -> Response:
        return site.page(request, "places.html", places_context)

    @router.get("/places/{name}")
    def place(request: Request, name: str) -> Response:
        return site.page(
            request,
            "place.html",
            lambda release, now: place_context(release, now, place_named(release, name)),
        )


def _add_texts(router: APIRouter, site: Site) -> None:
    @router.get("/methodology")
    def methodology(request: Request) -> Response:
        return site.page(request, "methodology.html", lambda *_: methodology_context())

    @router.get("/sources")
    def sources(request: Request) -> Response:
        return site.page(request, "sources.html", lambda release, _: sources_context(release))

    @router.get("/changes")
    def changes(request: Request) -> Response:
        return site.page(request, "changes.html", lambda *_: changes_context(site))

    @router.get("/docs")
    def docs(request: Request) -> Response:
        document = request.app.openapi()
        return site.page(request, "docs.html", lambda *_: docs_context(document))


def models_context(release: Release, asked: ModelsForm) -> Context:
    """The list of models, narrowed by name and family."""
    answer = Models.model_validate_json(models_answer(release, asked.family))
    wanted = asked.q.strip().lower()
    models = [
        model
        for model in answer.models
        if wanted in model.name.lower() or wanted in model.id or wanted in model.vendor.lower()
    ]
    everything = Models.model_validate_json(models_answer(release, None)).models
    return {
        "asked": asked,
        "models": models,
        "total": len(everything),
        "families": sorted({model.family for model in everything}),
        "size_class": lambda model: grades.size_class(release.models[ModelSlug(model.id)]),
    }


def model_context(release: Release, now: datetime, slug: ModelSlug) -> Context:
    """Everything about one model: its rows in both regimes, its figures, what is left out."""
    detail = ModelDetail.model_validate_json(model_answer(release, slug))
    tables = []
    for regime in Regime:
        statuses = [] if regime is Regime.SERVED else list(Status)
        query = LeaderboardQuery(model=[slug], regime=regime, status=statuses, limit=ROWS_OF_MODEL)
        filters = leaderboard_filters(release, query)
        answer = Leaderboard.model_validate_json(leaderboard_answer(release, query, filters))
        if answer.rows:
            tables.append(
                {
                    "regime": regime.value,
                    "total": answer.total,
                    "lines": lines_of(release, now, answer.rows),
                    "scale": scale(answer.rows),
                }
            )
    model = release.models[slug]
    return {
        "detail": detail,
        "tables": tables,
        "size_class": grades.size_class(model),
        "thresholds": _thresholds(model),
    }


def places_context(release: Release, now: datetime) -> Context:
    """Every place, cleanest year first."""
    spots = [
        Spot(place=place, grid=grid_now(release, place, now), day=day_at(release, place, now))
        for place in release.catalogue.places.values()
    ]
    spots.sort(key=lambda spot: (spot.grid.year.value, spot.place.name))
    return {
        "spots": spots,
        "scale": max((spot.grid.year.high for spot in spots), default=1.0),
    }


def place_context(release: Release, now: datetime, place: Place) -> Context:
    """One place: now, the hours around it, the typical year."""
    typical = TypicalDay.model_validate_json(typical_day_answer(release, place, now))
    table = typical.intensity_g_per_kwh
    flat = [
        (value, month, hour) for month, day in enumerate(table) for hour, value in enumerate(day)
    ]
    low, high = min(flat), max(flat)
    words = (
        f"Lowest in {MONTHS[low[1]]} at {low[2]:02}:00 UTC ({written(low[0])} g), highest in "
        f"{MONTHS[high[1]]} at {high[2]:02}:00 UTC ({written(high[0])} g)."
    )
    is_flat = low[0] == high[0]
    return {
        "place": place,
        "grid": grid_now(release, place, now),
        "day": day_at(release, place, now),
        "typical": typical,
        "months": MONTHS,
        "heat": None if is_flat else heat_map(table, f"Typical year in {place.name}. {words}"),
        "heat_words": words,
        "regions": [region for region in release.catalogue.regions if region.place == place.id],
        "providers": release.catalogue.providers,
    }


def grid_now(release: Release, place: Place, now: datetime) -> GridNow:
    """A place's grid as the API answers."""
    return GridNow.model_validate_json(latest_answer(release, place, now))


def changes_context(site: Site) -> Context:
    """Kept releases and what changed with them, as far as an archive tells."""
    releases: tuple[KeptRelease, ...] = ()
    changes: tuple[RowChange, ...] = ()
    why = "this node keeps no archive"
    if site.archive is not None:
        try:
            releases = site.archive.releases(RELEASES_SHOWN)
            changes = site.archive.changes(CHANGES_SHOWN)
            why = ""
        except StoreError as fault:
            why = str(fault)
    return {"releases": releases, "changes": changes, "why": why, "carbon_of": carbon_of}


def carbon_of(state: State | None) -> str:
    """The carbon figure that a remembered state holds, in words."""
    value = (state or {}).get("carbon_g_per_mtok")
    return "none" if not isinstance(value, float | int) else f"{written(value)} g"


def methodology_context() -> Context:
    """The method's constants, from the code that applies them."""
    return {
        "letters": grades.LETTERS,
        "classes": [(name, grades.thresholds(name)) for name, _ in grades.SIZE_CLASSES],
        "limits": dict(grades.SIZE_CLASSES),
        "grade_year": grades.YEAR,
        "batch": REFERENCE_BATCH,
        "batches": BATCH_RANGE,
        "pue": PUE_ASSUMED,
        "pue_uncertainty": PUE_UNCERTAINTY,
        "level_floor": LEVEL_FLOOR,
        "interval_method": INTERVAL_METHOD,
    }


def sources_context(release: Release) -> Context:
    """Live sources with their state, and every table's source with its licence."""
    answer = Sources.model_validate_json(sources_answer(release))
    return {"answer": answer}


def docs_context(document: Mapping[str, Any]) -> Context:
    """The OpenAPI document, by tag."""
    groups: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append((path, method.upper(), operation))
    return {
        "document": document,
        "groups": groups,
        "values": lambda schema: allowed_values(schema, document),
        "answer_of": lambda operation: answer_fields(operation, document),
    }


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
        return f"{allowed_values(schema.get('items', {}), document)} (repeatable)"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
        if key in schema
    ]
    return " ".join([str(schema.get("type", "any")), *bounds])


def answer_fields(
    operation: Mapping[str, Any], document: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Name, type and meaning of what an operation answers."""
    content = operation.get("responses", {}).get("200", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if schema.get("type") == "array":
        schema = schema.get("items", {})
    if "$ref" not in schema:
        return []
    body = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return [
        (name, _type_name(member), member.get("description", ""))
        for name, member in body.get("properties", {}).items()
    ]


def _type_name(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_type_name(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type_name(schema.get('items', {}))}"
    return str(schema.get("format", schema.get("type", "any")))


def _thresholds(model: Model) -> list[tuple[str, float]]:
    name = grades.size_class(model)
    if name is None:
        return []
    return list(zip(grades.LETTERS, grades.thresholds(name), strict=False))
