"""The validator's public face: its log, its reports, its state. Open, read-only, CORS for all.

What is served was signed and is kept as its canonical bytes; nobody has to trust this server
to read it. Every refusal is problem JSON (RFC 9457) with a code.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from protocol.errors import ConfigurationError, Error, RejectionCode
from protocol.ids import Digest
from validator.log import PAGE_MAX_ENTRIES, TransparencyLog
from validator.status import Status
from validator.store import Store

MAX_TARGET_BYTES = 2_048
MAX_HEADER_BYTES = 16_384
_MAX_CONNECTIONS = 256
_GRACE_SECONDS = 3
_PROBLEM = "application/problem+json"
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


def create_app(log: TransparencyLog, store: Store, status: Callable[[], Status]) -> FastAPI:
    """The application over one validator's log.

    Args:
        log: The log.
        store: Holds the revealed reports.
        status: Where the validator stands.
    """
    app = FastAPI(title="CarbonBench validator", docs_url=None, redoc_url=None)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET"])
    app.add_middleware(_SizeLimits)
    _add_problem_handlers(app)
    _add_state_routes(app, store, status)
    _add_log_routes(app, log)
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
    @app.exception_handler(ProblemError)
    async def refused(_request: Request, error: ProblemError) -> Response:
        return problem(error.status, str(error), code=error.code, hint=error.hint)

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        detail = f"{first['loc'][-1]}: {first['msg']}"
        return problem(HTTPStatus.BAD_REQUEST, detail, code=RejectionCode.MALFORMED)

    @app.exception_handler(HTTPException)
    async def unroutable(_request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        return problem(status, status.description, code=status.name.lower())

    @app.exception_handler(Error)
    async def failed(_request: Request, _error: Error) -> Response:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "try again later", code="unavailable")

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        detail = "this validator has a defect; its log says more"
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal")


def problem(status: HTTPStatus, detail: str, *, code: str, hint: str = "") -> JSONResponse:
    """A problem document (RFC 9457) with our two members `code` and `hint`."""
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "hint": hint,
    }
    return JSONResponse(content, status_code=status, media_type=_PROBLEM)


class _SizeLimits:
    """Refuses oversized targets and headers, and bodies: no route takes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = _oversized(scope) if scope["type"] == "http" else None
        if status is None:
            await self._app(scope, receive, send)
            return
        answer = problem(status, status.description, code=RejectionCode.OVERSIZED)
        await answer(scope, receive, send)


def _oversized(scope: Scope) -> HTTPStatus | None:
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    names = dict(headers)
    if names.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in names:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return None


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises:
        ConfigurationError: If the port is in use, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off: 40 ms per request.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot serve on {host} port {port}: {error.strerror or error}",
            hint="Choose another with VALIDATOR_PORT or --port, or end the program that has it.",
        ) from error
    return listener


class HttpServer(uvicorn.Server):
    """A server inside a loop that others share; signals are the command line's matter."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until `stop`."""
        await self.serve(sockets=[listener])

    def stop(self) -> None:
        """Finish the requests under way, then end."""
        self.should_exit = True
