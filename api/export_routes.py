"""The HTTP face of files and descriptions: exports, methodology, Croissant, JSON-LD."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.description import Document, croissant, dataset, defined_term, file_digest
from api.encoding import encoded
from api.export_schemas import Export
from api.exports import export_csv, export_json, export_parquet
from api.grid.intensity import Period
from api.known_names import refuse_unknown
from api.methodology import Methodology, methodology_answer
from api.ranking import Filters, Sort
from api.release import Holder, Release
from api.routes import (
    PROBLEMS,
    LeaderboardQuery,
    current,
    leaderboard_filters,
    respond,
    respond_hot,
)

CSV = "text/csv; charset=utf-8"
PARQUET = "application/vnd.apache.parquet"
JSON_LD = "application/ld+json"
Build = Callable[[Release, Filters, Period, Sort], bytes]
_WHOLE = "All rows that the filters admit, in the order asked for; `limit` and `cursor` do nothing."


def build_export_routes(holder: Holder) -> APIRouter:
    """All routes of files and descriptions over the release that answers now."""
    router = APIRouter(responses=PROBLEMS)
    _add_files(router, holder)
    _add_descriptions(router, holder)

    @router.get(
        "/api/v1/methodology",
        response_model=Methodology,
        tags=["reference"],
        summary="How figures come about, for machines",
    )
    def methodology(request: Request) -> Response:
        release = current(holder)
        answer = release.answer("methodology", lambda: methodology_answer(release))
        return respond_hot(request, release, answer)

    return router


def _add_files(router: APIRouter, holder: Holder) -> None:
    def send(request: Request, query: LeaderboardQuery, build: Build, media_type: str) -> Response:
        # Not kept: a whole ranking is large, and every filter would be another one.
        release = current(holder)
        filters = leaderboard_filters(release, query)
        refuse_unknown(release, filters)
        return respond(
            request, encoded(build(release, filters, query.period, query.sort), media_type)
        )

    @router.get(
        "/api/v1/export.csv",
        response_class=Response,
        summary="A whole ranking as CSV",
        description=_WHOLE,
        responses={200: {"content": {"text/csv": {}}}},
        tags=["use"],
    )
    def as_csv(request: Request, query: Annotated[LeaderboardQuery, Query()]) -> Response:
        return send(request, query, export_csv, CSV)

    @router.get(
        "/api/v1/export.json",
        response_model=Export,
        tags=["use"],
        summary="A whole ranking as JSON",
        description=_WHOLE,
    )
    def as_json(request: Request, query: Annotated[LeaderboardQuery, Query()]) -> Response:
        return send(request, query, export_json, "application/json")

    @router.get(
        "/api/v1/export.parquet",
        response_class=Response,
        summary="A whole ranking as Parquet",
        description=_WHOLE,
        responses={200: {"content": {PARQUET: {}}}},
        tags=["use"],
    )
    def as_parquet(request: Request, query: Annotated[LeaderboardQuery, Query()]) -> Response:
        return send(request, query, export_parquet, PARQUET)


def _add_descriptions(router: APIRouter, holder: Holder) -> None:
    def add(path: str, summary: str, build: Callable[[Release, str], Document]) -> None:
        @router.get(
            path,
            response_class=Response,
            responses={200: {"content": {JSON_LD: {}}}},
            tags=["reference"],
            name=path,
            summary=summary,
        )
        def describe(request: Request) -> Response:
            release = current(holder)
            document = build(release, str(request.base_url).rstrip("/"))
            return respond(request, encoded(document.encoded(), JSON_LD))

    add(
        "/croissant.json",
        "The data as a Croissant 1.0 dataset",
        lambda release, base: croissant(release, base, digest(release)),
    )
    add("/api/v1/dataset.jsonld", "The data as a schema.org Dataset", dataset)
    add(
        "/api/v1/term.jsonld",
        "The CASRAI term that footprints are instances of",
        lambda *_: defined_term(),
    )


def digest(release: Release) -> str:
    """SHA-256 of the default CSV export, computed once a release."""
    kept = release.answer("export.csv sha-256", lambda: file_digest(release), "text/plain")
    return kept.body.decode()
