"""Every error as problem JSON (RFC 9457): one table from our faults to HTTP statuses."""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from api.schemas import FieldError, Problem

PROBLEM_TYPE = "urn:carbonbench:problem:"
MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    410: "Gone",
    413: "Too large",
    414: "Query too long",
    422: "Parameters not understood",
    429: "Too many requests",
    503: "Not ready",
}
_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    410: "gone",
    413: "too_large",
    414: "query_too_long",
    422: "invalid_parameters",
    429: "rate_limited",
    503: "not_ready",
}


class ProblemError(Exception):
    """A request that cannot be answered; becomes a problem response."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        suggestions: Sequence[str] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.suggestions = list(suggestions)


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    suggestions: Sequence[str] = (),
    errors: Sequence[FieldError] = (),
) -> Response:
    """A problem as a response."""
    problem = Problem(
        type=PROBLEM_TYPE + code,
        title=_TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        hint=hint,
        suggestions=list(suggestions),
        errors=list(errors),
    )
    headers = {"cache-control": "no-store"}
    return Response(problem.model_dump_json(), status, headers, media_type=MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of this application a problem response."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_problem(_: Request, fault: Exception) -> Response:
    if not isinstance(fault, ProblemError):
        raise fault
    return problem_response(
        fault.status, fault.code, fault.detail, hint=fault.hint, suggestions=fault.suggestions
    )


async def _on_invalid(_: Request, fault: Exception) -> Response:
    if not isinstance(fault, RequestValidationError):
        raise fault
    errors = [
        FieldError(pointer="/" + "/".join(str(part) for part in item["loc"]), detail=item["msg"])
        for item in fault.errors()
    ]
    detail = "; ".join(f"{error.pointer}: {error.detail}" for error in errors)[:500]
    return problem_response(422, _CODES[422], detail, hint="See /openapi.json.", errors=errors)


async def _on_http(_: Request, fault: Exception) -> Response:
    if not isinstance(fault, HTTPException):
        raise fault
    code = _CODES.get(fault.status_code, "error")
    response = problem_response(fault.status_code, code, str(fault.detail))
    response.headers.update(fault.headers or {})
    return response
