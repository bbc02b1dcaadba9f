"""The outermost edge of a request, where a fault of ours becomes a problem."""

import traceback

import structlog
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.encoding import DATA_HEADERS
from api.problems import problem_response

log = structlog.get_logger(__name__)


class Faultless:
    """Answers a fault of ours with a problem, unless an answer has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer."""
        has_started = False

        async def noted(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as fault:
            problem = _problem_of(fault, scope)
            if has_started:
                raise
            await problem(scope, receive, send)


def _problem_of(fault: Exception, scope: Scope) -> Response:
    """What the caller is told of a fault of ours; its traceback goes to the log only."""
    # Formatted here: a pretty renderer would print the release that the frames hold.
    text = "".join(traceback.format_exception(fault))
    log.error("request failed", path=scope.get("path"), traceback=text)
    response = problem_response(500, "internal", "something failed on our side", hint="Retry.")
    response.raw_headers.extend(DATA_HEADERS)
    return response
