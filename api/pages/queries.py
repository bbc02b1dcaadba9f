"""Parameters of pages: forms send empty fields, which are as good as absent ones."""

from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Annotated, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.energy import Regime
from api.grid.intensity import Period
from api.reference_routes import MAX_COMPARED
from api.routes import LeaderboardQuery, Limit, Name

Q = TypeVar("Q", bound=BaseModel)
RowId = Annotated[str, Field(min_length=1, max_length=300)]
Open = Annotated[str, Field(max_length=300)]
_LISTS = frozenset({"status", "provider", "place", "certainty", "family", "model"})


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AdviceForm(_Form):
    """The recommendation's form."""

    model: Name | None = None
    regime: Regime = Regime.SERVED
    provider: Name | None = None
    place: Name | None = None
    period: Period = Period.YEAR
    max_price: Annotated[Decimal, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    min_speed: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None


class CompareForm(_Form):
    """Rows to put side by side."""

    row: Annotated[list[RowId], Field(max_length=MAX_COMPARED)] = Field(default_factory=list)
    period: Period = Period.YEAR


class CalculatorForm(_Form):
    """A stated use of one row."""

    model: Name | None = None
    row: RowId | None = None
    period: Period = Period.YEAR
    output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 300
    queries_per_day: Annotated[int, Field(ge=1, le=10_000_000_000)] = 1_000


class ModelsForm(_Form):
    """The list of models, narrowed."""

    q: Annotated[str, Field(max_length=100)] = ""
    family: Name | None = None


class RowForm(_Form):
    """One row, over a period."""

    period: Period = Period.YEAR


class RankingForm(LeaderboardQuery):
    """The ranking: a page shows more lines than an answer, as a line shows less of a row."""

    limit: Limit = 50


def leaderboard_query(request: Request) -> tuple[LeaderboardQuery, str | None]:
    """The ranking's query, and the row that stands open."""
    given = _given(request, _LISTS)
    opened = given.pop("open", None)
    return _validated(RankingForm, given), opened if isinstance(opened, str) else None


def form(model: type[Q], request: Request, lists: AbstractSet[str] = frozenset()) -> Q:
    """A form's fields.

    Raises:
        RequestValidationError: If a field holds nonsense.
    """
    return _validated(model, _given(request, lists))


def _given(request: Request, lists: AbstractSet[str]) -> dict[str, str | list[str]]:
    given: dict[str, str | list[str]] = {}
    for name in dict.fromkeys(request.query_params.keys()):
        values = [value for value in request.query_params.getlist(name) if value.strip()]
        if values:
            given[name] = list(dict.fromkeys(values)) if name in lists else values[-1]
    return given


def _validated(model: type[Q], given: dict[str, str | list[str]]) -> Q:
    try:
        return model.model_validate(given)
    except ValidationError as fault:
        errors = [{**error, "loc": ("query", *error["loc"])} for error in fault.errors()]
        raise RequestValidationError(errors) from fault
