"""The sentence above a ranking, made from its own figures."""

from collections.abc import Sequence

from api.catalogue import Access, Certainty
from api.footprint import rounded
from api.grid.intensity import Period
from api.offerings import Row
from api.ranking import Ranked
from protocol.messages import Status

_SPAN = {
    Period.YEAR: "over the newest whole year",
    Period.MONTH: "over the last 30 days",
    Period.NOW: "in this hour",
}


def headline(order: Sequence[Ranked], period: Period) -> str:
    """What the ranking says in one sentence; empty when it holds nothing."""
    if not order:
        return ""
    by_carbon = sorted(order, key=lambda item: item.row.carbon[period].total.value)
    best, worst = by_carbon[0], by_carbon[-1]
    kind = "Simulated: lowest" if best.row.status is Status.SIMULATED else "Lowest"
    text = f"{kind} {_SPAN[period]}: {_named(best.row, period)}"
    if best.rank_high > 1:
        text += f", though its interval overlaps those of {best.rank_high - 1} more"
    if worst.row.carbon[period].total.overlaps(best.row.carbon[period].total):
        return f"{text}. The intervals of the first and the last overlap."
    ratio = worst.row.carbon[period].total.value / best.row.carbon[period].total.value
    return f"{text}. The highest here emits {rounded(ratio, 2):g} times as much."


def _named(row: Row, period: Period) -> str:
    pinned = row.certainty is Certainty.PINNED
    place = f"in {row.place_name}" if pinned else f"(location {row.certainty})"
    grams = rounded(row.carbon[period].total.value, 2)
    where = "self-hosted" if row.access is Access.SELF_HOSTED else f"on {row.provider.name}"
    return f"{row.model.name} {where} {place}, {grams:g} gCO2e per million tokens"
