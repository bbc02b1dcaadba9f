"""The miner's HTTP face: profile, commitments and reports for validators; its state for anyone.

Who asks is proven by btauth/1 (`protocol.auth`); who may ask is the session's matter. Bodies go
out as the bytes that were signed. Every refusal is problem JSON (RFC 9457) with a code, and no
answer ever carries a stack trace.
"""

import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Protocol

import structlog
from fastapi import Depends, FastAPI, Path, Request, Response

from miner.metrics import CONTENT_TYPE as METRICS_TYPE
from miner.standing import Standing
from miner.status_page import PAGE_HEADERS, status_page
from protocol.auth import RequestVerifier, authenticate
from protocol.canonical import canonical_bytes
from protocol.errors import Error, ProtocolError, RejectionCode
from protocol.http_server import SizeLimits, add_common_problems, problem
from protocol.ids import Hotkey, RoundNumber
from protocol.rate_limit import RateLimit

MAX_BODY_BYTES = 1_024
"""No route takes a body."""
MAX_CONNECTIONS = 128
CALLER_PER_SECOND, CALLER_BURST = 20.0, 60
"""What one validator may ask: it needs two or three requests a block."""

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


class RequestRefusedError(ProtocolError):
    """A request that gets no answer but a problem."""


class TooManyRequestsError(Error):
    """A caller that asks too often.

    Args:
        wait_seconds: Time until it may ask again (s).
    """

    def __init__(self, wait_seconds: float) -> None:
        super().__init__("this caller asks too often")
        self.wait_seconds = wait_seconds


class UnauthenticatedError(ProtocolError):
    """A request whose sender is not proven."""


def create_app(
    standing: Standing, kept: KeptRounds, verifier: RequestVerifier, *, stake_floor_tao: float = 0.0
) -> FastAPI:
    """The application of one miner.

    Args:
        standing: Whose profile and state are served, and who remembers the callers.
        kept: Whose commitments and reports are served.
        verifier: Proves who asks.
        stake_floor_tao: Least stake of a validator that is answered.
    """
    session = standing.session
    limit = RateLimit(per_second=CALLER_PER_SECOND, burst=CALLER_BURST)

    async def admitted(request: Request) -> Hotkey:
        try:
            caller = (await authenticate(request, verifier)).caller
        except ProtocolError as error:
            if error.code is RejectionCode.MALFORMED:
                raise UnauthenticatedError(str(error), code=error.code) from error
            raise
        wait_seconds = limit.wait_seconds(caller)
        if wait_seconds:
            raise TooManyRequestsError(wait_seconds)
        refused = session.refusal_of(caller, stake_floor_tao=stake_floor_tao)
        if refused is not None:
            raise RequestRefusedError(refused.detail, code=refused.code)
        return caller

    app = FastAPI(title="CarbonBench miner", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(SizeLimits, max_body_bytes=MAX_BODY_BYTES)
    _add_problem_handlers(app)
    _add_open_routes(app, standing)
    _add_signed_routes(app, standing, kept, admitted)
    return app


def _add_open_routes(app: FastAPI, standing: Standing) -> None:
    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/status")
    async def read_status() -> dict[str, object]:
        return standing.as_json()

    @app.get("/status")
    async def read_page() -> Response:
        page = status_page(standing.as_json())
        return Response(page, media_type="text/html", headers=PAGE_HEADERS)

    @app.get("/metrics")
    async def read_metrics() -> Response:
        content = standing.metrics.scrape(standing.session)
        return Response(content, media_type=METRICS_TYPE)


def _add_signed_routes(
    app: FastAPI,
    standing: Standing,
    kept: KeptRounds,
    admitted: Callable[[Request], Awaitable[Hotkey]],
) -> None:
    session = standing.session
    profile = canonical_bytes(session.profile)

    @app.get("/v1/profile")
    async def read_profile(by: Annotated[Hotkey, Depends(admitted)]) -> Response:
        standing.visits.note(by, "profile", session.block)
        return _json(profile)

    @app.get("/v1/rounds/{round}/commitment")
    async def read_commitment(number: _Round, by: Annotated[Hotkey, Depends(admitted)]) -> Response:
        data = kept.commitment_bytes(RoundNumber(number))
        if data is None:
            detail = f"there is no commitment for round {number}"
            raise RequestRefusedError(detail, code=RejectionCode.NO_COMMITMENT)
        standing.visits.note(by, "commitment", session.block)
        return _json(data)

    @app.get("/v1/rounds/{round}/report")
    async def read_report(number: _Round, by: Annotated[Hotkey, Depends(admitted)]) -> Response:
        if not session.may_reveal(RoundNumber(number)):
            detail = f"the commitment deadline of round {number} has not passed"
            raise RequestRefusedError(detail, code=RejectionCode.WRONG_ROUND)
        committed = kept.commitment_bytes(RoundNumber(number)) is not None
        data = kept.report_bytes(RoundNumber(number)) if committed else None
        if data is None:
            detail = f"there is no committed report for round {number}"
            raise RequestRefusedError(detail, code=RejectionCode.NO_REPORT)
        standing.visits.note(by, "report", session.block)
        return _json(data)


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json")


def _add_problem_handlers(app: FastAPI) -> None:
    add_common_problems(app, role="miner")

    @app.exception_handler(ProtocolError)
    async def refused(_request: Request, error: ProtocolError) -> Response:
        status = _STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
        if isinstance(error, UnauthenticatedError):
            status = HTTPStatus.UNAUTHORIZED
        return problem(status, str(error), code=error.code, hint=error.hint)

    @app.exception_handler(TooManyRequestsError)
    async def too_often(_request: Request, error: TooManyRequestsError) -> Response:
        headers = {"Retry-After": str(math.ceil(error.wait_seconds))}
        status = HTTPStatus.TOO_MANY_REQUESTS
        return problem(status, str(error), code="rate_limited", headers=headers)

    @app.exception_handler(Error)
    async def failed(_request: Request, error: Error) -> Response:
        _log.error("request_failed", error=str(error), hint=error.hint)
        detail = "this miner cannot answer now"
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal")
