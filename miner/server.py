"""The miner's HTTP face: profile, commitments and reports for validators; health for anyone.

Who asks is proven by btauth/1 (`protocol.auth`); who may ask is the session's matter. Bodies go
out as the bytes that were signed. Every refusal is problem JSON (RFC 9457) with a code, and no
answer ever carries a stack trace.
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Protocol

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from miner.outcome import Outcome
from miner.session import Session
from protocol.auth import RequestVerifier, authenticate
from protocol.canonical import canonical_bytes
from protocol.errors import ConfigurationError, Error, ProtocolError, RejectionCode
from protocol.ids import Hotkey, RoundNumber

MAX_BODY_BYTES = 1_024
"""No route takes a body."""
MAX_HEADER_BYTES = 16_384
MAX_TARGET_BYTES = 2_048
_MAX_CONNECTIONS = 128
_GRACE_SECONDS = 3
_PROBLEM = "application/problem+json"

_log = structlog.get_logger("miner.http")

_STATUS = {
    RejectionCode.MALFORMED: HTTPStatus.BAD_REQUEST,
    RejectionCode.OVERSIZED: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RejectionCode.SIGNATURE_INVALID: HTTPStatus.UNAUTHORIZED,
    RejectionCode.WRONG_MINER: HTTPStatus.UNAUTHORIZED,
    RejectionCode.REPLAYED: HTTPStatus.UNAUTHORIZED,
    RejectionCode.NOT_PERMITTED: HTTPStatus.FORBIDDEN,
    RejectionCode.NO_COMMITMENT: HTTPStatus.NOT_FOUND,
    RejectionCode.NO_REPORT: HTTPStatus.NOT_FOUND,
    RejectionCode.WRONG_ROUND: HTTPStatus.CONFLICT,
}

_Round = Annotated[int, Path(alias="round", ge=0, lt=2**53)]


class KeptRounds(Protocol):
    """What is served of past rounds."""

    def commitment_bytes(self, number: RoundNumber) -> bytes | None:
        """The signed commitment of a round, or None."""
        ...

    def report_bytes(self, number: RoundNumber) -> bytes | None:
        """The signed report of a round, or None."""
        ...

    def outcomes(self) -> tuple[Outcome, ...]:
        """How the last rounds ended, newest first."""
        ...


class RequestRefusedError(ProtocolError):
    """A request that gets no answer but a problem."""


class UnauthenticatedError(ProtocolError):
    """A request whose sender is not proven."""


def create_app(
    session: Session, kept: KeptRounds, verifier: RequestVerifier, *, stake_floor_tao: float = 0.0
) -> FastAPI:
    """The application of one session.

    Args:
        session: Whose profile and state are served.
        kept: Whose commitments and reports are served.
        verifier: Proves who asks.
        stake_floor_tao: Least stake of a validator that is answered.
    """

    async def admitted(request: Request) -> Hotkey:
        try:
            caller = (await authenticate(request, verifier)).caller
        except ProtocolError as error:
            if error.code is RejectionCode.MALFORMED:
                raise UnauthenticatedError(str(error), code=error.code) from error
            raise
        refused = session.refusal_of(caller, stake_floor_tao=stake_floor_tao)
        if refused is not None:
            raise RequestRefusedError(refused.detail, code=refused.code)
        return caller

    app = FastAPI(title="CarbonBench miner", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(_SizeLimits)
    _add_problem_handlers(app)
    _add_open_routes(app, session, kept)
    _add_signed_routes(app, session, kept, admitted)
    return app


def _add_open_routes(app: FastAPI, session: Session, kept: KeptRounds) -> None:
    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/status")
    async def status() -> dict[str, object]:
        head, schedule = session.head, session.network.schedule
        return {
            "hotkey": session.identity.hotkey,
            "uid": session.uid,
            "block": head.number if head else None,
            "round": schedule.round_at(head.number) if head else None,
            "phase": schedule.phase(head.number) if head else None,
            "state": session.state,
            "last_rounds": [asdict(outcome) for outcome in kept.outcomes()],
        }


def _add_signed_routes(
    app: FastAPI,
    session: Session,
    kept: KeptRounds,
    admitted: Callable[[Request], Awaitable[Hotkey]],
) -> None:
    profile = canonical_bytes(session.profile)
    signed = [Depends(admitted)]

    @app.get("/v1/profile", dependencies=signed)
    async def read_profile() -> Response:
        return _json(profile)

    @app.get("/v1/rounds/{round}/commitment", dependencies=signed)
    async def read_commitment(number: _Round) -> Response:
        data = kept.commitment_bytes(RoundNumber(number))
        if data is None:
            detail = f"there is no commitment for round {number}"
            raise RequestRefusedError(detail, code=RejectionCode.NO_COMMITMENT)
        return _json(data)

    @app.get("/v1/rounds/{round}/report", dependencies=signed)
    async def read_report(number: _Round) -> Response:
        if not session.may_reveal(RoundNumber(number)):
            detail = f"the commitment deadline of round {number} has not passed"
            raise RequestRefusedError(detail, code=RejectionCode.WRONG_ROUND)
        committed = kept.commitment_bytes(RoundNumber(number)) is not None
        data = kept.report_bytes(RoundNumber(number)) if committed else None
        if data is None:
            detail = f"there is no committed report for round {number}"
            raise RequestRefusedError(detail, code=RejectionCode.NO_REPORT)
        return _json(data)


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json")


def _add_problem_handlers(app: FastAPI) -> None:
    @app.exception_handler(ProtocolError)
    async def refused(_request: Request, error: ProtocolError) -> Response:
        status = _STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
        if isinstance(error, UnauthenticatedError):
            status = HTTPStatus.UNAUTHORIZED
        return problem(status, str(error), code=error.code, hint=error.hint)

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
    async def failed(_request: Request, error: Error) -> Response:
        _log.error("request_failed", error=str(error), hint=error.hint)
        detail = "this miner cannot answer now"
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal")

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        detail = "this miner has a defect; its log says more"
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
    """Refuses oversized targets and headers before anything looks at them."""

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
    length = dict(headers).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
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
            f"cannot serve on {host} port {port}: {error.strerror}",
            hint="Choose another one with MINER_PORT or --port, or end the program that has it.",
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
