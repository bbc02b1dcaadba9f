"""The HTTP server of a node: a listening socket, bounded requests, problem JSON, quiet signals.

Miner and validator put their own routes on it. Every refusal is problem JSON (RFC 9457) with
our two members `code` and `hint`, and no answer ever carries a stack trace.
"""

import contextlib
import socket
from collections.abc import Iterator
from http import HTTPStatus

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from protocol.errors import ConfigurationError, RejectionCode

MAX_HEADER_BYTES = 16_384
MAX_TARGET_BYTES = 2_048
_GRACE_SECONDS = 3
_PROBLEM = "application/problem+json"


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    code: str,
    hint: str = "",
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A problem document (RFC 9457) with our two members `code` and `hint`."""
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "hint": hint,
    }
    return JSONResponse(content, status_code=status, media_type=_PROBLEM, headers=headers)


def add_common_problems(app: FastAPI, *, role: str) -> None:
    """Answer bad parameters, unknown paths and our own defects as problems.

    Args:
        app: The application.
        role: Who answers, as in "this validator has a defect".
    """

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        detail = f"{first['loc'][-1]}: {first['msg']}"
        return problem(HTTPStatus.BAD_REQUEST, detail, code=RejectionCode.MALFORMED)

    @app.exception_handler(HTTPException)
    async def unroutable(_request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        return problem(status, status.description, code=status.name.lower())

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        detail = f"this {role} has a defect; its log says more"
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal")


class SizeLimits:
    """Middleware that refuses oversized targets, headers and bodies before anyone looks at them.

    Args:
        app: The application behind it.
        max_body_bytes: Largest declared body; with 0 a body of unknown length is refused too.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer that it is too large."""
        status = self._oversized(scope) if scope["type"] == "http" else None
        if status is None:
            await self._app(scope, receive, send)
            return
        answer = problem(status, status.description, code=RejectionCode.OVERSIZED)
        await answer(scope, receive, send)

    def _oversized(self, scope: Scope) -> HTTPStatus | None:
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        names = dict(headers)
        length = names.get(b"content-length", b"0")
        has_no_end = not self._max_body_bytes and b"transfer-encoding" in names
        if not length.isdigit() or int(length) > self._max_body_bytes or has_no_end:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return None


def bind(host: str, port: int, *, variable: str) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Args:
        host: Address to listen on.
        port: TCP port.
        variable: Setting that names the port, for the hint.

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
            hint=f"Choose another with {variable} or --port, or end the program that has it.",
        ) from error
    return listener


class HttpServer(uvicorn.Server):
    """A server inside a loop that others share; signals are the command line's matter.

    Args:
        app: What it serves.
        max_connections: Requests and idle connections at once; more are answered 503.
    """

    def __init__(self, app: FastAPI, *, max_connections: int = 256) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                limit_concurrency=max_connections,
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
