"""The HTTP face of the look-ups: models, providers, regions, grid, footprint, compare."""

from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api import reference_schemas as shown
from api.catalogue import Place
from api.grid.intensity import Period
from api.grid_answers import forecast_answer, history_answer, latest_answer, typical_day_answer
from api.known_names import refuse_unknown
from api.lookups import (
    model_answer,
    models_answer,
    providers_answer,
    regions_answer,
    sources_answer,
)
from api.offerings import Row
from api.problems import ProblemError
from api.ranking import Filters, Ranked, Sort, ranked
from api.release import Holder, Release
from api.routes import (
    PROBLEMS,
    Name,
    current,
    resolve,
    respond,
    respond_hot,
)
from api.schemas import Answer
from api.subnet_answers import (
    Miners,
    Rounds,
    Validators,
    miners_answer,
    rounds_answer,
    validators_answer,
)
from api.units_of_use import Use
from api.use_answers import compare_answer, footprint_answer

Zone = Annotated[
    str,
    Path(
        min_length=1,
        max_length=40,
        description="A grid zone (`US-MIDA-PJM`), a place (`us-virginia`) or a provider's region "
        "(`us-east-1`).",
    ),
]
RowId = Annotated[str, Field(min_length=1, max_length=300)]
"""`id` of a row of the leaderboard."""
ModelPath = Annotated[
    str,
    Path(min_length=1, max_length=100, description="A model's id, name or repository."),
]
MAX_COMPARED = 4


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelsQuery(_Strict):
    """Parameters of the list of models."""

    family: Name | None = None
    """Such as `Llama`."""


class FootprintQuery(_Strict):
    """Parameters of a footprint: a row of a ranking and how it is used."""

    row: RowId
    """`id` of a row of the leaderboard."""
    period: Period = Period.YEAR
    """Time that the grid intensity is of."""
    input_tokens: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Of one query; priced only."""
    output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 300
    """Of one query."""
    queries_per_day: Annotated[int, Field(ge=1, le=10_000_000_000)] = 1_000
    """Over a month of 30.4375 days."""


class CompareQuery(_Strict):
    """Parameters of a comparison."""

    row: Annotated[list[RowId], Field(min_length=2, max_length=MAX_COMPARED)]
    """`id` of two to four rows of one regime."""
    period: Period = Period.YEAR
    """Time that the grid intensities are of."""


def build_reference_routes(holder: Holder) -> APIRouter:
    """All look-up routes over the release that answers now."""
    router = APIRouter()
    _add_models(router, holder)
    _add_places(router, holder)
    _add_grid(router, holder)
    _add_uses(router, holder)
    return router


def _add_models(router: APIRouter, holder: Holder) -> None:
    @router.get(
        "/api/v1/models",
        response_model=shown.Models,
        responses=PROBLEMS,
        tags=["reference"],
        summary="All models with what is known of each",
    )
    def models(request: Request, query: Annotated[ModelsQuery, Query()]) -> Response:
        release = current(holder)
        if query.family is not None:
            refuse_unknown(release, Filters(families=frozenset({query.family.lower()})))
        key = f"models?{query.model_dump_json()}"
        answer = release.answer(key, lambda: models_answer(release, query.family))
        return respond_hot(request, release, answer)

    @router.get(
        "/api/v1/models/{name:path}",
        response_model=shown.ModelDetail,
        responses=PROBLEMS,
        tags=["reference"],
        summary="Every energy figure of a model, method by method",
    )
    def model(request: Request, name: ModelPath) -> Response:
        release = current(holder)
        slug = resolve(release, name)
        return respond(
            request, release.answer(f"model/{slug}", lambda: model_answer(release, slug))
        )


def _add_places(router: APIRouter, holder: Holder) -> None:
    def add(
        name: str, schema: type[Answer], build: Callable[[Release], bytes], summary: str
    ) -> None:
        @router.get(
            f"/api/v1/{name}",
            response_model=schema,
            responses=PROBLEMS,
            tags=["reference"],
            name=name.replace("/", "_"),
            summary=summary,
        )
        def look_up(request: Request) -> Response:
            release = current(holder)
            return respond_hot(request, release, release.answer(name, lambda: build(release)))

    add("providers", shown.Providers, providers_answer, "Who sells models by the token")
    add(
        "regions", shown.Regions, regions_answer, "Providers' regions with place, grid zone and PUE"
    )
    add(
        "sources",
        shown.Sources,
        sources_answer,
        "Where figures come from, with licences and states",
    )
    add("subnet/validators", Validators, validators_answer, "Validators whose logs are read")
    add("subnet/rounds", Rounds, rounds_answer, "What the network measured, round by round")
    add("subnet/miners", Miners, miners_answer, "Miners as the logs show them")


def _add_grid(router: APIRouter, holder: Holder) -> None:
    def add(
        name: str,
        schema: type[Answer],
        build: Callable[[Release, Place, datetime], bytes],
        summary: str,
    ) -> None:
        @router.get(
            f"/api/v1/grid/{{zone}}/{name}",
            response_model=schema,
            responses=PROBLEMS,
            tags=["grid"],
            name=f"grid_{name}",
            summary=summary,
        )
        def grid(request: Request, zone: Zone) -> Response:
            release, now = current(holder), holder.now()
            place = place_named(release, zone)
            key = f"grid/{place.zone}/{name}/{now:%Y%m%d%H}"
            return respond(request, release.answer(key, lambda: build(release, place, now)))

    add("latest", shown.GridNow, latest_answer, "Intensity now, over 30 days and over the year")
    add("forecast", shown.GridForecast, forecast_answer, "The next 24 hours")
    add("typical-day", shown.TypicalDay, typical_day_answer, "Month by hour of a typical year")
    add(
        "history",
        shown.GridHistory,
        lambda release, place, _: history_answer(release, place),
        "What live sources reported in the last 31 days",
    )


def _add_uses(router: APIRouter, holder: Holder) -> None:
    @router.get(
        "/api/v1/footprint",
        response_model=shown.FootprintAnswer,
        responses=PROBLEMS,
        tags=["use"],
        summary="Inference carbon footprint of a stated use: per query and per month",
    )
    def footprint(request: Request, query: Annotated[FootprintQuery, Query()]) -> Response:
        release = current(holder)
        item = _ranked_row(release, _row(release, query.row), query.period)
        use = Use(
            input_tokens_per_query=query.input_tokens,
            output_tokens_per_query=query.output_tokens,
            queries_per_day=query.queries_per_day,
        )
        key = f"footprint?{query.model_dump_json()}"
        return respond(
            request,
            release.answer(key, lambda: footprint_answer(release, item, query.period, use)),
        )

    @router.get(
        "/api/v1/compare",
        response_model=shown.Comparison,
        responses=PROBLEMS,
        tags=["use"],
        summary="Two to four rows side by side, and whether they differ",
    )
    def compare(request: Request, query: Annotated[CompareQuery, Query()]) -> Response:
        release = current(holder)
        rows = [_row(release, name) for name in dict.fromkeys(query.row)]
        if len({row.regime for row in rows}) > 1:
            detail = "served and single figures differ up to 50-fold and are never compared"
            raise ProblemError(422, "invalid_parameters", detail, hint="Choose one regime.")
        if len(rows) < len(query.row):
            raise ProblemError(422, "invalid_parameters", "a row is named twice")
        key = f"compare?{query.model_dump_json()}"
        return respond(
            request, release.answer(key, lambda: compare_answer(release, rows, query.period))
        )


def place_named(release: Release, name: str) -> Place:
    """The place of that id, the first place of that grid zone, or that of a provider's region."""
    catalogue, wanted = release.catalogue, name.lower()
    for place in catalogue.places.values():
        if wanted in {place.zone.lower(), place.id}:
            return place
    for region in catalogue.regions:
        if wanted == region.name.lower():
            return catalogue.places[region.place]
    known: dict[str, str] = {p.zone.lower(): p.zone for p in catalogue.places.values()}
    known |= {each: each for each in catalogue.places}
    known |= {region.name.lower(): region.name for region in catalogue.regions}
    raise ProblemError(
        404,
        "unknown_zone",
        f"no zone, place or region is named {name!r}",
        hint="See /api/v1/regions.",
        suggestions=[known[each] for each in get_close_matches(wanted, known, n=5, cutoff=0.5)],
    )


def _row(release: Release, name: str) -> Row:
    row = release.row_named(name)
    if row is None:
        detail = f"no row is named {name!r}"
        raise ProblemError(404, "unknown_row", detail, hint="Take the id from the leaderboard.")
    return row


def _ranked_row(release: Release, row: Row, period: Period) -> Ranked:
    """The row with its rank among all ways to run its model in its regime."""
    rivals = [
        other
        for other in release.rows
        if other.model.id == row.model.id and other.regime is row.regime
    ]
    order = ranked(rivals, sort=Sort.CARBON, period=period)
    return next(item for item in order if item.row is row)
