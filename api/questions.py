"""The two questions that programs ask most, answered before the framework looks at them.

A question that has an answer gets it from the release; anything else (parameters
that are not understood, an unknown model, nothing that satisfies the constraints) goes on to the
routes, which say what is wrong, and give the same answers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.types import Scope

from api.encoding import Encoded
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
    answer: Callable[[Release, Scope, Holder], Encoded]


class Questions:
    """Answers rankings and recommendations, and leaves the rest to the routes."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    def answer(self, scope: Scope) -> Encoded | None:
        """The answer to a request; None where the routes are to answer."""
        question = _QUESTIONS.get(scope["path"])
        release = self._holder.release
        if question is None or release is None or scope["method"] != "GET":
            return None
        scope["route"] = question
        try:
            return question.answer(release, scope, self._holder)
        except (ValidationError, ProblemError):
            return None


def _ranking(release: Release, scope: Scope, _: Holder) -> Encoded:
    answer = ranking(release, _read(LeaderboardQuery, scope))
    release.remember((scope["path"], scope["query_string"]), answer)
    return answer


def _recommendation(release: Release, scope: Scope, holder: Holder) -> Encoded:
    return recommendation(release, _read(RecommendQuery, scope), holder.now())


_QUESTIONS = {
    question.path: question
    for question in (Question(LEADERBOARD, _ranking), Question(RECOMMEND, _recommendation))
}
QUESTION_PATHS = frozenset(_QUESTIONS)
_LISTS: Mapping[type[BaseModel], frozenset[str]] = {
    form: frozenset(
        name for name, field in form.model_fields.items() if get_origin(field.annotation) is tuple
    )
    for form in (LeaderboardQuery, RecommendQuery)
}
"""Parameters that may come several times; of any other the last one counts."""


def _read(form: type[Form], scope: Scope) -> Form:
    """A query string as the framework reads it."""
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for name, value in _pairs(scope["query_string"].decode("latin-1")):
        if name in _LISTS[form]:
            lists.setdefault(name, []).append(value)
        else:
            values[name] = value
    return form.model_validate(values | lists)


def _pairs(query: str) -> Iterable[tuple[str, ...]]:
    """Names and values of a query string."""
    if "%" in query or "+" in query:
        return parse_qsl(query, keep_blank_values=True)
    # Nothing is encoded, as in most queries: a tenth of the time.
    return [part.partition("=")[::2] for part in query.split("&") if part]
