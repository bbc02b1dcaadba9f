"""The miner's HTTP face: profile, commitments and reports for validators; health for anyone.

Who asks is proven by btauth/1 (`protocol.auth`); who may ask is the session's matter. Bodies go
out as the bytes that were signed. Every refusal is problem JSON (RFC 9457) with a code, and no
answer ever carries a stack trace.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Protocol

import structlog
from fastapi import Depends, FastAPI, Path, Request, Response

from miner.outcome import Outcome
from miner.session import Session
from protocol.auth import RequestVerifier, authenticate
from protocol.canonical import canonical_bytes
from protocol.errors import Error, ProtocolError, RejectionCode
from protocol.http_server import SizeLimits, add_common_problems, problem
from protocol.ids import Hotkey, RoundNumber

MAX_BODY_BYTES = 1_024
"""No route takes a body."""
MAX_CONNECTIONS = 128

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
    app.add_middleware(SizeLimits, max_body_bytes=MAX_BODY_BYTES)
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
    add_common_problems(app, role="miner")

    @app.exception_handler(ProtocolError)
    async def refused(_request: Request, error: ProtocolError) -> Response:
        status = _STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
        if isinstance(error, UnauthenticatedError):
            status = HTTPStatus.UNAUTHORIZED
        return problem(status, str(error), code=error.code, hint=error.hint)

    @app.exception_handler(Error)
    async def failed(_request: Request, error: Error) -> Response:
        _log.error("request_failed", error=str(error), hint=error.hint)
        detail = "this miner cannot answer now"
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal")
