"""The rows of a release by what can be asked of them, so that a page looks at its own rows only.

Gives what `Filters.admits` and `ranked` give for the same question, for any number of rows.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from api.catalogue import Certainty, ModelSlug
from api.grid.intensity import Period
from api.offerings import Row
from api.ranking import Filters, Sort, place_keys, rank_spans, sort_key

Facet = tuple[str, str]
"""A column and a value in it, such as `("family", "llama")`."""
Value = TypeVar("Value", bound=Hashable)
Positions = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A stretch of a ranking."""

    start: int
    """Rows before it."""
    positions: Sequence[int]
    """Its rows in order, by their position in the index."""
    spans: Sequence[tuple[int, int]]
    """First and last rank that each may hold, from 1."""
    total: int
    """Rows of the whole ranking."""


class Column(dict[int, Value]):
    """A figure of each row by position, worked out when it is first looked at."""

    def __init__(self, rows: Sequence[Row], figure_of: Callable[[Row], Value]) -> None:
        super().__init__()
        self._rows = rows
        self._figure_of = figure_of

    def __missing__(self, position: int) -> Value:
        found = self[position] = self._figure_of(self._rows[position])
        return found


class Index:
    """Rows by position, in the order of their ids, which is the order of ties."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows: Sequence[Row] = sorted(rows, key=lambda row: row.id)
        self._position = {row.id: position for position, row in enumerate(self.rows)}
        self._kinds: list[tuple[Row, Positions]] = []
        self._of_kinds: dict[Hashable, frozenset[int]] = {}
        self._holding: dict[Facet, set[int]] = {}
        for positions in _grouped(self.rows, _machine):
            row = self._first(positions)
            self._kinds.append((row, positions))
            self._hold("family", row.model.family.lower(), positions)
            self._hold("model", row.model.id, positions)
            self._hold("provider", row.provider.id, positions)
        for positions in _grouped(self.rows, _site):
            row = self._first(positions)
            self._hold("certainty", row.certainty, positions)
            for name in place_keys(row):
                self._hold("place", name, positions)
        self._keys = {
            (sort, period): Column(self.rows, partial(sort_key, sort=sort, period=period))
            for sort in Sort
            for period in Period
        }
        # A price is the same over every period.
        self._prices = self._keys[(Sort.PRICE, Period.YEAR)]
        self._carbon = {
            period: Column(self.rows, partial(_interval, period=period)) for period in Period
        }

    def row_named(self, name: str) -> Row | None:
        """The row of that id."""
        position = self._position.get(name)
        return None if position is None else self.rows[position]

    def position_of(self, row: Row) -> int:
        """Where a row of this index stands."""
        return self._position[row.id]

    def rows_of(self, model: ModelSlug) -> Sequence[Row]:
        """All rows of one model."""
        return [self.rows[position] for position in sorted(self._holding.get(("model", model), ()))]

    def admitted(self, filters: Filters, model: ModelSlug | None = None) -> list[int]:
        """Positions of the rows that the filters admit, in order; those of one model or all."""
        kept = self._of_kind(filters)
        if model is not None:
            kept &= self._any_of("model", (model,))
        for column, values in (
            ("family", filters.families),
            ("model", filters.models),
            ("provider", filters.providers),
            ("certainty", filters.certainties),
            ("place", filters.places),
        ):
            if values:
                kept &= self._any_of(column, values)
        found = sorted(kept)
        most, least = filters.max_price_usd_per_mtok, filters.min_speed_tokens_per_second
        if most is not None:
            found = [position for position in found if self._prices[position] <= most]
        if least is not None:
            found = [position for position in found if filters.admits_offer(self.rows[position])]
        return found

    def rows_admitted(self, filters: Filters, model: ModelSlug) -> Sequence[Row]:
        """The rows of a model that the filters admit, by id."""
        return [self.rows[position] for position in self.admitted(filters, model)]

    def page(self, filters: Filters, *, sort: Sort, period: Period, start: int, limit: int) -> Page:
        """Rows of a ranking from a place on, first place 0."""
        admitted = self.admitted(filters)
        carbon = self._carbon[period]
        intervals = [carbon[position] for position in admitted]
        lows = sorted([low for low, _ in intervals])
        highs = sorted([high for _, high in intervals])
        shown = sorted(admitted, key=self._keys[(sort, period)].__getitem__)[start : start + limit]
        return Page(
            start=start,
            positions=shown,
            spans=rank_spans([carbon[position] for position in shown], lows, highs),
            total=len(admitted),
        )

    def _first(self, positions: Positions) -> Row:
        """One row speaks for all of a group: what they are grouped by is the same in each."""
        return self.rows[positions[0]]

    def _hold(self, column: str, value: str, positions: Positions) -> None:
        self._holding.setdefault((column, value), set()).update(positions)

    def _of_kind(self, filters: Filters) -> frozenset[int]:
        """Positions of the rows of a regime, status and access: there are few such questions."""
        asked = (filters.regime, filters.statuses, filters.access)
        found = self._of_kinds.get(asked)
        if found is None:
            kinds = (held for row, held in self._kinds if filters.admits_kind(row))
            found = self._of_kinds[asked] = frozenset().union(*kinds)
        return found

    def _any_of(self, column: str, values: Collection[str]) -> set[int]:
        """Positions of the rows that have one of the values."""
        held = [self._holding.get((column, value), _NONE) for value in values]
        return held[0] if len(held) == 1 else _NONE.union(*held)


_NONE: set[int] = set()


def _grouped(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> Iterable[Positions]:
    """Positions of the rows by what they have in common."""
    found: dict[Hashable, list[int]] = {}
    for position, row in enumerate(rows):
        found.setdefault(key(row), []).append(position)
    return found.values()


def _machine(row: Row) -> tuple[int, int]:
    """Rows that share it differ in their place alone; by identity, which costs least."""
    return (id(row.figure), id(row.provider))


def _site(row: Row) -> tuple[str, str, Certainty]:
    """Rows that share it have the same names of their place."""
    return (row.places[0].id, row.region, row.certainty)


def _interval(row: Row, period: Period) -> tuple[float, float]:
    total = row.carbon[period].total
    return total.low, total.high
