"""Filtering and ordering rows, with rank ranges where intervals overlap."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from api.catalogue import Access, Certainty
from api.energy import Regime
from api.grid.intensity import Period
from api.offerings import Row
from protocol.messages import Status

RANKED_STATUSES = frozenset({Status.VERIFIED, Status.PUBLISHED, Status.MODELLED})
"""What a ranking holds unless it is asked for more: nothing simulated, nothing estimated."""


_APART = frozenset({Status.SIMULATED, Status.ESTIMATED})
"""Asked for by name and apart from the rest, so shortened workloads may show there."""


_UNPRICED = Decimal("Infinity")


class Sort(StrEnum):
    """What a ranking is ordered by, best first."""

    CARBON = "carbon"
    ENERGY = "energy"
    PRICE = "price"
    SPEED = "speed"


class Filters(NamedTuple):
    """What a ranking is restricted to; empty sets restrict nothing.

    A tuple, as each question makes one.
    """

    regime: Regime = Regime.SERVED
    access: Access | None = None
    statuses: frozenset[Status] = RANKED_STATUSES
    families: frozenset[str] = frozenset()
    """Lower case."""
    models: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    """Place ids, region names or areas, lower case."""
    certainties: frozenset[Certainty] = frozenset()
    max_price_usd_per_mtok: Decimal | None = None
    """Largest blended price; rows without a price fall out."""
    min_speed_tokens_per_second: float | None = None
    """Least output speed; rows without a speed fall out."""

    def admits(self, row: Row) -> bool:
        """Whether a row is in."""
        return (
            self.admits_kind(row)
            and _within(row.model.family.lower(), self.families)
            and _within(row.model.id, self.models)
            and _within(row.provider.id, self.providers)
            and (not self.places or bool(self.places & place_keys(row)))
            and (not self.certainties or row.certainty in self.certainties)
            and self.admits_offer(row)
        )

    def admits_kind(self, row: Row) -> bool:
        """Whether rows of this regime, status and access are in at all."""
        return (
            row.regime is self.regime
            and row.status in self.statuses
            and (row.figure.is_comparable or row.status in _APART)
            and (self.access is None or row.access is self.access)
        )

    def admits_offer(self, row: Row) -> bool:
        """Whether price and speed are as asked."""
        return self._affords(row) and self._keeps_up(row)

    def _affords(self, row: Row) -> bool:
        limit = self.max_price_usd_per_mtok
        if limit is None:
            return True
        price = row.price.blended_usd_per_mtok if row.price else None
        return price is not None and price <= limit

    def _keeps_up(self, row: Row) -> bool:
        least = self.min_speed_tokens_per_second
        if least is None:
            return True
        speed = row.figure.speed_tokens_per_second
        return speed is not None and speed >= least


class Ranked(NamedTuple):
    """A row and the places that it may hold: first and last possible rank, from 1.

    A tuple, as a page makes up to 200 of them.
    """

    row: Row
    rank: int
    rank_low: int
    rank_high: int


def ranked(rows: Sequence[Row], *, sort: Sort, period: Period) -> tuple[Ranked, ...]:
    """The rows in order, ties by id.

    A rank range says which ranks the row could hold given the carbon intervals: rows whose
    intervals overlap are not told apart. It is stated for carbon whatever the order is.
    """
    ordered = sorted(rows, key=lambda row: (sort_key(row, sort, period), row.id))
    totals = [row.carbon[period].total for row in ordered]
    intervals = [(total.low, total.high) for total in totals]
    lows, highs = (sorted(ends) for ends in zip(*intervals, strict=True)) if totals else ((), ())
    spans = rank_spans(intervals, lows, highs)
    return tuple(
        Ranked(row, rank, *span)
        for rank, (row, span) in enumerate(zip(ordered, spans, strict=True), start=1)
    )


def rank_spans(
    intervals: Iterable[tuple[float, float]], lows: Sequence[float], highs: Sequence[float]
) -> list[tuple[int, int]]:
    """First and last rank that each interval may hold among others, its own included.

    Args:
        intervals: Lower and upper end of each row's carbon.
        lows: Lower ends of all intervals, in order.
        highs: Upper ends of all intervals, in order.
    """
    # After what is surely better, and before what is surely worse.
    return [(1 + bisect_left(highs, low), bisect_right(lows, high)) for low, high in intervals]


def sort_key(row: Row, sort: Sort, period: Period) -> float | Decimal:
    """What a row is ordered by, lowest first; infinite where it is not known."""
    if sort is Sort.PRICE:
        price = row.price.blended_usd_per_mtok if row.price else None
        return _UNPRICED if price is None else price
    if sort is Sort.SPEED:
        speed = row.figure.speed_tokens_per_second
        return math.inf if speed is None else -speed
    if sort is Sort.ENERGY:
        return row.energy.estimate.value
    return row.carbon[period].total.value


def _within(value: str, allowed: frozenset[str]) -> bool:
    return not allowed or value in allowed


def place_keys(row: Row) -> frozenset[str]:
    """Under which names the row's place can be asked for, in lower case."""
    keys = {row.region.lower()} if row.region else set()
    if row.certainty is Certainty.PINNED:
        place = row.places[0]
        keys |= {place.id, place.area, place.name.lower(), place.zone.lower()}
    return frozenset(keys)
