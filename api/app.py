"""The ASGI application: routes, pages, health, problem JSON, guard."""

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import schemas
from api.archive import Archive
from api.archive_routes import build_archive_routes
from api.callers import Callers
from api.emissions_routes import build_emissions_routes
from api.export_routes import build_export_routes
from api.faultless import Faultless
from api.footprint import METHODOLOGY_VERSION
from api.guard import Guard
from api.metrics import CONTENT_TYPE, Metrics
from api.network_evidence import Evidence, NoEvidence
from api.pages import build_pages
from api.pages.shell import Site, build_environment
from api.problems import install_problem_handlers
from api.reference_routes import build_reference_routes
from api.release import Holder
from api.routes import build_routes


class Application(FastAPI):
    """The framework with our front before it: what is refused or known never reaches it."""

    front: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the server's start and end are the framework's alone."""
        answering = self.front if scope["type"] == "http" else self.behind
        await answering(scope, receive, send)

    async def behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the front passes on."""
        await super().__call__(scope, receive, send)


def create_app(
    holder: Holder,
    *,
    max_age_seconds: float = 7_200.0,
    evidence: Evidence | None = None,
    archive: Archive | None = None,
    callers: Callers | None = None,
    metrics: Metrics | None = None,
) -> Application:
    """The application over a holder that somebody else refreshes.

    Args:
        holder: Holds the release that answers.
        max_age_seconds: Age of the newest refresh from which `/readyz` fails.
        archive: Where past releases are looked up; their routes answer 503 without it.
        callers: Who may ask how often; anyone as often as they like without it.
        metrics: What `/metrics` shows; its own by default.
        evidence: Where the pages look up verdicts and reports; none without it.
    """
    site = Site(
        holder=holder,
        evidence=evidence or NoEvidence(),
        archive=archive,
        environment=build_environment(),
    )
    app = Application(
        title="CarbonBench API",
        version=METHODOLOGY_VERSION,
        description="Carbon, price and speed of language models by provider and place, every "
        "figure with an interval and the source of each factor.",
        docs_url=None,
        redoc_url=None,
    )
    install_problem_handlers(app, site.problem)
    app.include_router(build_routes(holder))
    app.include_router(build_reference_routes(holder))
    app.include_router(build_emissions_routes(holder))
    app.include_router(build_export_routes(holder))
    app.include_router(build_archive_routes(holder, archive))
    app.include_router(build_pages(site))
    metrics = metrics or Metrics(holder)
    _add_health(app, holder, max_age_seconds)
    _add_metrics(app, metrics)
    app.add_middleware(Faultless)
    app.front = Guard(app.behind, holder, callers, metrics)
    return app


def _add_health(app: FastAPI, holder: Holder, max_age_seconds: float) -> None:
    @app.get("/healthz", tags=["health"], summary="Whether the process answers")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["health"],
        summary="Whether the data are fresh enough to answer",
        response_model=schemas.Readiness,
        responses={503: {"model": schemas.Readiness}},
    )
    def readyz() -> Response:
        readiness = _readiness(holder, max_age_seconds)
        status = 200 if readiness.is_ready else 503
        headers = {"cache-control": "no-store"}
        return JSONResponse(readiness.model_dump(mode="json"), status, headers)


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/metrics", include_in_schema=False)
    def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)


def _readiness(holder: Holder, max_age_seconds: float) -> schemas.Readiness:
    release, refreshed = holder.release, holder.refreshed_at
    age = (holder.now() - refreshed).total_seconds() if refreshed else None
    return schemas.Readiness(
        is_ready=release is not None and age is not None and age <= max_age_seconds,
        release=release.id if release else None,
        refresh_age_seconds=round(age, 1) if age is not None else None,
        max_age_seconds=max_age_seconds,
        failure=holder.failure,
        sources=list(release.sources) if release else [],
    )
