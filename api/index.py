"""The rows of a release by what can be asked of them, so that a page looks at its own rows only.

Gives what `Filters.admits` and `ranked` give for the same question, for any number of rows.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import TypeVar

from api.catalogue import Access, Certainty, ModelSlug
from api.energy import Regime
from api.footprint import Estimate
from api.grid.intensity import Period
from api.offerings import Row
from api.ranking import Filters, Ranked, Sort, place_keys, rank_span, sort_key
from protocol.messages import Status

Facet = tuple[str, str]
"""A column and a value in it, such as `("family", "llama")`."""
Value = TypeVar("Value", bound=Hashable)
_Kind = tuple[Regime, Status, bool, Access]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A stretch of a ranking."""

    items: tuple[Ranked, ...]
    total: int
    """Rows of the whole ranking."""


class Index:
    """Rows by position, in the order of their ids, which is the order of ties."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows: Sequence[Row] = sorted(rows, key=lambda row: row.id)
        self._position = {row.id: position for position, row in enumerate(self.rows)}
        self._holding: dict[Facet, set[int]] = {}
        self._kinds = [
            (self._first(positions), positions) for positions in _grouped(self.rows, _kind).values()
        ]
        for positions in _grouped(self.rows, _site).values():
            for name in place_keys(self._first(positions)):
                self._holding.setdefault(("place", name), set()).update(positions)
        for column, value_of in _COLUMNS.items():
            for value, positions in _grouped(self.rows, value_of).items():
                self._holding[(column, value)] = positions
        self._keys: dict[tuple[Sort, Period], Sequence[float | Decimal]] = {}
        self._carbon: dict[Period, Sequence[Estimate]] = {}

    def row_named(self, name: str) -> Row | None:
        """The row of that id."""
        position = self._position.get(name)
        return None if position is None else self.rows[position]

    def rows_of(self, model: ModelSlug) -> Sequence[Row]:
        """All rows of one model."""
        return [self.rows[position] for position in sorted(self._holding.get(("model", model), ()))]

    def admitted(self, filters: Filters, model: ModelSlug | None = None) -> list[int]:
        """Positions of the rows that the filters admit, in order; those of one model or all."""
        # One row of a kind speaks for all: what makes the kind is the same in each.
        kinds = [held for row, held in self._kinds if filters.admits_kind(row)]
        wanted = [self._any_of(column, values) for column, values in _wanted(filters) if values]
        if model is not None:
            wanted.append(self._any_of("model", (model,)))
        if wanted:
            chosen = set.intersection(*sorted(wanted, key=len))
            kinds = [held & chosen for held in kinds]
        found = sorted(chain.from_iterable(kinds))
        if filters.max_price_usd_per_mtok is None and filters.min_speed_tokens_per_second is None:
            return found
        return [position for position in found if filters.admits_offer(self.rows[position])]

    def rows_admitted(self, filters: Filters, model: ModelSlug) -> Sequence[Row]:
        """The rows of a model that the filters admit, by id."""
        return [self.rows[position] for position in self.admitted(filters, model)]

    def page(self, filters: Filters, *, sort: Sort, period: Period, start: int, limit: int) -> Page:
        """Rows of a ranking from a place on, first place 0."""
        admitted = self.admitted(filters)
        carbon = self._carbon_of(period)
        order = sorted(admitted, key=self._keys_of(sort, period).__getitem__)
        lows = sorted([carbon[position].low for position in admitted])
        highs = sorted([carbon[position].high for position in admitted])
        shown = enumerate(order[start : start + limit], start + 1)
        return Page(
            items=tuple(
                Ranked(row=self.rows[position], rank=rank, rank_low=span[0], rank_high=span[1])
                for rank, position in shown
                for span in [rank_span(carbon[position], lows, highs)]
            ),
            total=len(order),
        )

    def _first(self, positions: set[int]) -> Row:
        return self.rows[next(iter(positions))]

    def _any_of(self, column: str, values: Collection[str]) -> set[int]:
        """Positions of the rows that have one of the values."""
        held = [self._holding.get((column, value), _NONE) for value in values]
        return held[0] if len(held) == 1 else _NONE.union(*held)

    def _keys_of(self, sort: Sort, period: Period) -> Sequence[float | Decimal]:
        found = self._keys.get((sort, period))
        if found is None:
            found = self._keys[(sort, period)] = [sort_key(row, sort, period) for row in self.rows]
        return found

    def _carbon_of(self, period: Period) -> Sequence[Estimate]:
        found = self._carbon.get(period)
        if found is None:
            found = self._carbon[period] = [row.carbon[period].total for row in self.rows]
        return found


_NONE: set[int] = set()


def _grouped(rows: Sequence[Row], key: Callable[[Row], Value]) -> Mapping[Value, set[int]]:
    """Positions of the rows by what they have in common."""
    found: dict[Value, set[int]] = {}
    for position, row in enumerate(rows):
        found.setdefault(key(row), set()).add(position)
    return found


def _kind(row: Row) -> _Kind:
    return (row.regime, row.status, row.figure.is_comparable, row.access)


def _site(row: Row) -> tuple[str, str, Certainty]:
    """Rows that share it have the same names of their place."""
    return (row.places[0].id, row.region, row.certainty)


_COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "family": lambda row: row.model.family.lower(),
    "model": lambda row: row.model.id,
    "provider": lambda row: row.provider.id,
    "certainty": lambda row: row.certainty,
}


def _wanted(filters: Filters) -> Iterator[tuple[str, frozenset[str]]]:
    yield "family", filters.families
    yield "model", filters.models
    yield "provider", filters.providers
    yield "certainty", frozenset[str](filters.certainties)
    yield "place", filters.places
