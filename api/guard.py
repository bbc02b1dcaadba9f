"""What holds for every request: limits, security headers, and the hot answers.

Plain ASGI before the framework: a request that this release has answered before is answered
from its bytes, without parsing anything, and the questions that are asked most are answered here.
"""

import time

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.callers import Callers
from api.encoding import DOCUMENT_HEADERS, send_answer
from api.faultless import Faultless
from api.metrics import Metrics
from api.problems import ProblemError, problem_response
from api.questions import QUESTION_PATHS, Questions
from api.release import Holder

MAX_QUERY_BYTES = 2_048
MAX_PATH_BYTES = 1_024
MAX_BODY_BYTES = 16_384
_UNAUTHORIZED = 401


class Guard:
    """Refuses what is too large or too often, answers what it can, adds missing headers."""

    def __init__(
        self, app: ASGIApp, holder: Holder, callers: Callers | None, metrics: Metrics
    ) -> None:
        self._app = app
        self._holder = holder
        self._questions = Questions(holder)
        self._ask = Faultless(self._answer_or_pass_on)
        self._callers = callers
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        refusal = self._callers.refusal(scope) if self._callers else None
        release = self._holder.release
        if refusal is None and release is not None and scope["method"] == "GET":
            known = release.hot((scope["path"], scope["query_string"]))
            if known is not None:
                self._metrics.answered_from_memory()
                await send_answer(known, scope["headers"], send)
                return
        problem, wait_seconds = refusal or (_excess(scope), 0)
        if problem is not None:
            self._metrics.refused(problem.code)
            await _refusal(problem, wait_seconds)(scope, receive, _with_headers(send))
        elif scope["path"] in QUESTION_PATHS:
            await self._ask(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _answer_or_pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500
        try:
            answer = self._questions.answer(scope)
            status = await send_answer(answer, scope["headers"], send) if answer else 0
        finally:
            # 0 is no answer: what it is passed on to is counted there.
            if status:
                self._count(scope, status, started)
        if answer is None:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, _with_headers(noted))
        finally:
            self._count(scope, status, started)

    def _count(self, scope: Scope, status: int, started: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.answered(route, status, time.perf_counter() - started)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message["headers"]}
            added = [header for header in DOCUMENT_HEADERS if header[0] not in own]
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return sending


def _refusal(problem: ProblemError, wait_seconds: int) -> Response:
    response = problem_response(problem.status, problem.code, problem.detail, hint=problem.hint)
    if wait_seconds:
        response.headers["retry-after"] = str(wait_seconds)
    if problem.status == _UNAUTHORIZED:
        response.headers["www-authenticate"] = "Bearer"
    return response


def _excess(scope: Scope) -> ProblemError | None:
    """What of a request is too large."""
    if len(scope["query_string"]) > MAX_QUERY_BYTES:
        detail = f"the query has more than {MAX_QUERY_BYTES} bytes"
        return ProblemError(414, "query_too_long", detail)
    if len(scope.get("raw_path") or b"") > MAX_PATH_BYTES:
        detail = f"the path has more than {MAX_PATH_BYTES} bytes"
        return ProblemError(414, "path_too_long", detail)
    if _declared_length(scope) > MAX_BODY_BYTES:
        detail = f"the body has more than {MAX_BODY_BYTES} bytes"
        return ProblemError(413, "too_large", detail)
    return None


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else MAX_BODY_BYTES + 1
    return 0
