"""Every error as problem JSON (RFC 9457): one table from our faults to HTTP statuses."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from api.schemas import FieldError, Problem

PROBLEM_TYPE = "urn:carbonbench:problem:"
MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Not known",
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
    401: "unknown_key",
    404: "not_found",
    405: "method_not_allowed",
    410: "gone",
    413: "too_large",
    414: "query_too_long",
    422: "invalid_parameters",
    429: "rate_limited",
    503: "not_ready",
}
_HINTS = {
    404: "See /docs for all addresses.",
    405: "See /docs for the method of each address.",
}
"""Where the framework refuses, which knows none."""


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
    return _answer(
        _problem(status, code, detail, hint=hint, suggestions=suggestions, errors=errors)
    )


def _problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    suggestions: Sequence[str] = (),
    errors: Sequence[FieldError] = (),
) -> Problem:
    return Problem(
        type=PROBLEM_TYPE + code,
        title=_TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        hint=hint,
        suggestions=list(suggestions),
        errors=list(errors),
    )


ProblemPage = Callable[[Request, Problem], Response]
"""A problem as a page for people."""


def install_problem_handlers(app: FastAPI, page: ProblemPage | None = None) -> None:
    """Make every error of this application a problem response.

    Args:
        app: The application.
        page: What a browser gets instead, outside `/api/`.
    """

    async def on_fault(request: Request, fault: Exception) -> Response:
        problem = problem_of(fault)
        is_page = page is not None and _wants_page(request)
        response = page(request, problem) if page and is_page else _answer(problem)
        if isinstance(fault, HTTPException):
            response.headers.update(fault.headers or {})
        return response

    for kind in (ProblemError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, on_fault)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(
        "/api/"
    )


def problem_of(fault: Exception) -> Problem:
    """What a fault is to the caller.

    Raises:
        Exception: The fault itself, when it is none of a request's.
    """
    if isinstance(fault, ProblemError):
        return _problem(
            fault.status, fault.code, fault.detail, hint=fault.hint, suggestions=fault.suggestions
        )
    if isinstance(fault, RequestValidationError):
        errors = [
            FieldError(
                pointer="/" + "/".join(str(part) for part in item["loc"]), detail=item["msg"]
            )
            for item in fault.errors()
        ]
        detail = "; ".join(f"{error.pointer}: {error.detail}" for error in errors)[:500]
        return _problem(422, _CODES[422], detail, hint="See /openapi.json.", errors=errors)
    if isinstance(fault, HTTPException):
        code = _CODES.get(fault.status_code, "error")
        hint = _HINTS.get(fault.status_code, "")
        return _problem(fault.status_code, code, str(fault.detail), hint=hint)
    raise fault


def _answer(problem: Problem) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(problem.model_dump_json(), problem.status, headers, media_type=MEDIA_TYPE)
