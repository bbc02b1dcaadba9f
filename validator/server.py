"""The validator's public face: its log, its reports, its state. Open, read-only, CORS for all.

What is served was signed and is kept as its canonical bytes; nobody has to trust this server
to read it. Every refusal is problem JSON (RFC 9457) with a code.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from protocol.errors import Error
from protocol.http_server import SizeLimits, add_common_problems, problem
from protocol.ids import Digest
from validator.log import PAGE_MAX_ENTRIES, TransparencyLog
from validator.metrics import CONTENT_TYPE as METRICS_TYPE
from validator.status import Status
from validator.store import Store

_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}

_Position = Annotated[int, Query(ge=0, lt=2**53)]
_DigestPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class ProblemError(Exception):
    """A request that gets no answer but a problem.

    Args:
        status: HTTP status.
        detail: What was wrong, in one sentence.
        code: Stable word for it.
        hint: What the caller can do.
    """

    def __init__(self, status: HTTPStatus, detail: str, *, code: str, hint: str = "") -> None:
        super().__init__(detail)
        self.status, self.code, self.hint = status, code, hint


def create_app(
    log: TransparencyLog,
    store: Store,
    status: Callable[[], Status],
    *,
    metrics: Callable[[], bytes] | None = None,
) -> FastAPI:
    """The application over one validator's log.

    Args:
        log: The log.
        store: Holds the revealed reports.
        status: Where the validator stands.
        metrics: Its figures in Prometheus' text format.
    """
    app = FastAPI(title="CarbonBench validator", docs_url=None, redoc_url=None)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET"])
    app.add_middleware(SizeLimits, max_body_bytes=0)
    _add_problem_handlers(app)
    _add_state_routes(app, store, status)
    _add_log_routes(app, log)
    if metrics is not None:
        _add_metrics_route(app, metrics)
    return app


def _add_state_routes(app: FastAPI, store: Store, status: Callable[[], Status]) -> None:
    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/status")
    def read_status() -> Response:
        return JSONResponse(status().as_json())

    @app.get("/v1/reports/{digest}")
    def read_report(digest: _DigestPath) -> Response:
        data = store.report_data(Digest(digest))
        if data is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no such report", code="no_report")
        return Response(data, media_type="application/json", headers=_IMMUTABLE)


def _add_metrics_route(app: FastAPI, metrics: Callable[[], bytes]) -> None:
    @app.get("/metrics")
    def read_metrics() -> Response:
        return Response(metrics(), media_type=METRICS_TYPE)


def _add_log_routes(app: FastAPI, log: TransparencyLog) -> None:
    @app.get("/v1/log/head")
    def read_head() -> Response:
        data = log.head()
        if data is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                "the log is empty",
                code="empty_log",
                hint="Ask again after the first round.",
            )
        return Response(data, media_type="application/json")

    @app.get("/v1/log/entries")
    def read_entries(
        start: _Position = 0, limit: Annotated[int, Query(ge=1, le=PAGE_MAX_ENTRIES)] = 100
    ) -> Response:
        size = log.size
        entries = b",".join(log.entries(start, min(limit, max(0, size - start))))
        data = b'{"start":%d,"size":%d,"entries":[%b]}' % (start, size, entries)
        return Response(data, media_type="application/json")

    @app.get("/v1/log/inclusion")
    def read_inclusion(index: _Position, size: _Position) -> Response:
        try:
            found = log.inclusion(index, size)
        except ValueError as error:
            raise ProblemError(HTTPStatus.NOT_FOUND, str(error), code="no_such_entry") from error
        return JSONResponse(
            {
                "index": index,
                "size": size,
                "leaf": found.leaf,
                "root": found.root,
                "proof": list(found.proof),
            }
        )

    @app.get("/v1/log/consistency")
    def read_consistency(old: _Position, new: _Position) -> Response:
        try:
            proof = log.consistency(old, new)
        except ValueError as error:
            raise ProblemError(HTTPStatus.NOT_FOUND, str(error), code="no_such_size") from error
        return JSONResponse({"old": old, "new": new, "proof": list(proof)})


def _add_problem_handlers(app: FastAPI) -> None:
    add_common_problems(app, role="validator")

    @app.exception_handler(ProblemError)
    async def refused(_request: Request, error: ProblemError) -> Response:
        return problem(error.status, str(error), code=error.code, hint=error.hint)

    @app.exception_handler(Error)
    async def failed(_request: Request, _error: Error) -> Response:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "try again later", code="unavailable")
