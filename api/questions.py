"""The two questions that programs ask most, answered before the framework looks at them.

Plain ASGI. A question that has an answer gets it from the release; anything else (parameters
that are not understood, an unknown model, nothing that satisfies the constraints) goes on to the
routes, which say what is wrong, and give the same answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from api.encoding import Encoded, ready, send_whole
from api.problems import ProblemError
from api.release import Holder, Release
from api.routes import (
    LEADERBOARD,
    RECOMMEND,
    LeaderboardQuery,
    RecommendQuery,
    ranking,
    recommendation,
)

Form = TypeVar("Form", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Question:
    """What can be asked at a path; stands for the route in the metrics."""

    path: str
    answer: Callable[[Release, Scope, datetime], Encoded]


class Questions:
    """Answers rankings and recommendations, and passes on the rest."""

    def __init__(self, app: ASGIApp, holder: Holder) -> None:
        self._app = app
        self._holder = holder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        answer = self._answer(scope)
        if answer is None:
            await self._app(scope, receive, send)
        else:
            await send_whole(await ready(answer, scope["headers"]), send)

    def _answer(self, scope: Scope) -> Encoded | None:
        question = _QUESTIONS.get(scope["path"])
        release = self._holder.release
        if question is None or release is None or scope["method"] != "GET":
            return None
        try:
            found = question.answer(release, scope, self._holder.now())
        except (ValidationError, ProblemError):
            return None
        scope["route"] = question
        return found


def _ranking(release: Release, scope: Scope, _: datetime) -> Encoded:
    answer = ranking(release, _read(LeaderboardQuery, scope))
    release.remember((scope["path"], scope["query_string"]), answer)
    return answer


def _recommendation(release: Release, scope: Scope, now: datetime) -> Encoded:
    return recommendation(release, _read(RecommendQuery, scope), now)


_QUESTIONS = {
    question.path: question
    for question in (Question(LEADERBOARD, _ranking), Question(RECOMMEND, _recommendation))
}
_LISTS: Mapping[type[BaseModel], frozenset[str]] = {
    form: frozenset(
        name for name, field in form.model_fields.items() if get_origin(field.annotation) is list
    )
    for form in (LeaderboardQuery, RecommendQuery)
}
"""Parameters that may come several times; of any other the last one counts."""


def _read(form: type[Form], scope: Scope) -> Form:
    """A query string as the framework reads it."""
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name in _LISTS[form]:
            lists.setdefault(name, []).append(value)
        else:
            values[name] = value
    return form.model_validate(values | lists)
