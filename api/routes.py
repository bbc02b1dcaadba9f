"""The HTTP face of a release: parse, look up, answer. No logic lives here."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api import schemas
from api.answers import page_answer, recommend_answer, understood
from api.catalogue import Access, Certainty, ModelSlug, find_model
from api.encoding import Encoded, encoded, outgoing
from api.energy import Regime
from api.grid.intensity import Period
from api.known_names import refuse_unknown
from api.problems import ProblemError
from api.ranking import RANKED_STATUSES, Filters, Sort
from api.release import Holder, Release
from protocol.messages import Status

LEADERBOARD = "/api/v1/leaderboard"
RECOMMEND = "/api/v1/recommend"
MAX_LIMIT = 200
DEFAULT_LIMIT = 20
"""Rows of a page: 56 kB, each row with all its factors and their sources."""
Name = Annotated[str, Field(min_length=1, max_length=100)]
Names = Annotated[tuple[Name, ...], Field(max_length=20)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]

_PROBLEM = {
    "model": schemas.Problem,
    "content": {"application/problem+json": {}},
    "description": "Problem (RFC 9457)",
}
PROBLEMS: dict[int | str, dict[str, object]] = {
    401: _PROBLEM,
    404: _PROBLEM,
    410: _PROBLEM,
    414: _PROBLEM,
    422: _PROBLEM,
    429: _PROBLEM,
    503: _PROBLEM,
}
BODY_PROBLEMS: dict[int | str, dict[str, object]] = {400: _PROBLEM, 413: _PROBLEM}
"""What a request with a body may also meet."""


class _Selection(BaseModel):
    """Filters that all views share."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    regime: Regime = Regime.SERVED
    """`served`: batched, what an API's customer gets. `single`: one prompt at a time."""
    access: Access | None = None
    """Sold by the token, or a machine of one's own."""
    status: Annotated[tuple[Status, ...], Field(max_length=6)] = ()
    """Of the energy figure; verified, published and modelled where it is left out."""
    provider: Names = ()
    """Such as `aws-bedrock`; /api/v1/providers lists them."""
    place: Names = ()
    """A place, a provider's region or an area such as `eu`; /api/v1/regions lists them."""
    certainty: Annotated[tuple[Certainty, ...], Field(max_length=4)] = ()
    """How well it is known where a request is computed."""
    period: Period = Period.YEAR
    """The newest whole year, the last 30 days, or this hour."""
    max_price: Annotated[Decimal, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    """USD per 1e6 tokens, three input tokens to one output token."""
    min_speed: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    """Output tokens per second of one request on the measured machine."""


class LeaderboardQuery(_Selection):
    """Parameters of the ranking."""

    family: Names = ()
    """Such as `Llama`."""
    model: Names = ()
    """A model's id, name or repository; /api/v1/models lists them."""
    sort: Sort = Sort.CARBON
    """What comes first: least carbon, energy or price, or most speed."""
    limit: Limit = DEFAULT_LIMIT
    """Rows on a page."""
    cursor: Annotated[str, Field(max_length=100)] | None = None
    """`next` of the page before; holds within one release."""


class RecommendQuery(_Selection):
    """Parameters of a recommendation."""

    model: Name
    """A model's id, name or repository, or a part that only one model has."""


def build_routes(holder: Holder) -> APIRouter:
    """All data routes over the release that answers now."""
    router = APIRouter()

    @router.get(
        LEADERBOARD,
        response_model=schemas.Leaderboard,
        responses=PROBLEMS,
        tags=["ranking"],
        summary="Ranking of model x provider x place",
    )
    def leaderboard(request: Request, query: Annotated[LeaderboardQuery, Query()]) -> Response:
        release = current(holder)
        return respond_hot(request, release, ranking(release, query))

    @router.get(
        RECOMMEND,
        response_model=schemas.Recommendation,
        responses=PROBLEMS,
        tags=["ranking"],
        summary="The lowest-carbon way to run a model",
    )
    @router.get(
        "/api/recommend",
        response_model=schemas.Recommendation,
        responses=PROBLEMS,
        tags=["ranking"],
        summary="Alias of /api/v1/recommend",
    )
    def recommend(request: Request, query: Annotated[RecommendQuery, Query()]) -> Response:
        return respond(request, recommendation(current(holder), query, holder.now()))

    return router


def ranking(release: Release, query: LeaderboardQuery) -> Encoded:
    """The answer to a question for a ranking.

    Raises:
        ProblemError: If a name is unknown, or the cursor is another release's.
    """
    filters = leaderboard_filters(release, query)
    refuse_unknown(release, filters)
    asked = understood(filters, query)
    body = page_answer(release, query, filters, asked)
    return encoded(body, tag=release.tag(b"leaderboard", asked, (query.cursor or "").encode()))


def recommendation(release: Release, query: RecommendQuery, now: datetime) -> Encoded:
    """The answer to a question for a recommendation; one for all that admit the same rows.

    Raises:
        ProblemError: If a name is unknown, or nothing satisfies the constraints.
    """
    slug, filters = resolve(release, query.model), selection_filters(query)
    refuse_unknown(release, filters)
    admitted = release.index.admitted(filters, model=slug)
    hour = now.replace(minute=0, second=0, microsecond=0)
    return release.answer(
        ("recommend", slug, hour, query.period, *admitted),
        lambda: recommend_answer(release, slug, filters, query.period, now),
        is_named_by_key=True,
    )


def current(holder: Holder) -> Release:
    """The release that answers, or a problem when there is none yet."""
    release = holder.release
    if release is None:
        raise ProblemError(503, "not_ready", "the first release is being built", hint="Retry.")
    return release


def resolve(release: Release, name: str) -> ModelSlug:
    """The one model that a name means, or a problem with suggestions."""
    found = find_model(name, release.names)
    if isinstance(found, str):
        return found
    if found:
        detail = f"{name!r} is not the name of one model"
        hint = "Use one of the suggestions."
        raise ProblemError(404, "unknown_model", detail, hint=hint, suggestions=found)
    raise ProblemError(
        404, "unknown_model", f"no model is named {name!r}", hint="See /api/v1/models."
    )


def selection_filters(query: _Selection) -> Filters:
    """The shared filters of a query."""
    return _filters(query, query.access, _ANY, _ANY)


def leaderboard_filters(release: Release, query: LeaderboardQuery) -> Filters:
    """The filters of a ranking; a served ranking without stated access holds providers only."""
    access = query.access
    if access is None and query.regime is Regime.SERVED and not query.provider:
        access = Access.API
    models = frozenset([resolve(release, name) for name in query.model])
    return _filters(query, access, _lower(query.family), models)


def _filters(
    query: _Selection, access: Access | None, families: frozenset[str], models: frozenset[str]
) -> Filters:
    return Filters(
        regime=query.regime,
        access=access,
        statuses=frozenset(query.status) if query.status else RANKED_STATUSES,
        families=families,
        models=models,
        providers=_lower(query.provider),
        places=_lower(query.place),
        certainties=frozenset(query.certainty),
        max_price_usd_per_mtok=query.max_price,
        min_speed_tokens_per_second=query.min_speed,
    )


def respond(request: Request, answer: Encoded) -> Response:
    """An encoded answer, or 304 when the caller holds it already."""
    ready = outgoing(answer, request.scope["headers"])
    response = Response(ready.body, ready.status)
    response.raw_headers = ready.headers
    return response


def respond_hot(request: Request, release: Release, answer: Encoded) -> Response:
    """The same for an answer that holds as long as its release: `Guard` gives it next time."""
    release.remember((request.scope["path"], request.scope["query_string"]), answer)
    return respond(request, answer)


_ANY: frozenset[str] = frozenset()


def _lower(values: Sequence[str]) -> frozenset[str]:
    return frozenset([value.strip().lower() for value in values]) if values else _ANY
