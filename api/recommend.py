"""The lowest-carbon way to run a model, with alternatives, reasons and the best hour.

Every sentence is made by template from the figures beside it, and says so when intervals
overlap and a difference means nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from api.catalogue import Access, Certainty, Place, Provider
from api.comparison import Difference, difference
from api.footprint import rounded
from api.grid.intensity import Intensity, Period, Tier
from api.grid.ladder import Ladder
from api.offerings import Row, Unranked
from api.ranking import Filters, Ranked, Sort, ranked

ALTERNATIVES = 4
HOUR = timedelta(hours=1)
WORTHWHILE_SWING = 0.15
"""Day swing (highest - lowest over mean) from which shifting work in time is advised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestHour:
    """The cleanest of the next 24 hours at a place."""

    hour: Intensity
    relative: float
    """Its intensity over the mean of the 24 hours."""
    swing: float
    """(Highest - lowest) / mean."""
    is_worthwhile: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """An option that was not chosen, and why."""

    option: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The answer."""

    best: Ranked
    alternatives: tuple[Ranked, ...]
    savings: Difference | None
    """Against the option with the most carbon."""
    best_hour: BestHour | None
    insight: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOption:
    """No row satisfies the question; `binding` names what excludes all, as parameters."""

    binding: tuple[str, ...]
    is_joint: bool = False
    """False: leaving out any one of them would give an answer. True: only all of them together."""


def recommend(
    *,
    rows: Sequence[Row],
    admitted: Sequence[Row],
    filters: Filters,
    period: Period,
    hour_at: Callable[[Place], BestHour | None],
    unsold: Sequence[Reason],
) -> Advice | NoOption:
    """The lowest-carbon rows of one model under constraints.

    What a provider sells comes first; machines of one's own fill up the alternatives, and are
    advised when nobody sells the model, which the answer then says.

    Args:
        rows: All rows of the model.
        admitted: Those that the filters admit.
        filters: The constraints.
        period: Time that the answer speaks about.
        hour_at: The best hour of a place (`best_hour`).
        unsold: Why some providers have no row (`unsold`).
    """
    if not admitted:
        return _no_option(rows, filters)
    order = _preferring_providers(ranked(admitted, sort=Sort.CARBON, period=period))
    best = order[0]
    comparable = [item for item in order if item.row.access is best.row.access]
    dirtiest = comparable[-1].row
    savings = difference(best.row, dirtiest, period) if dirtiest is not best.row else None
    hour = hour_at(best.row.places[0]) if best.row.certainty is Certainty.PINNED else None
    return Advice(
        best=best,
        alternatives=tuple(order[1 : 1 + ALTERNATIVES]),
        savings=savings,
        best_hour=hour,
        insight=_insight(best.row, savings, hour, period),
        reasons=(*unsold, *_reasons(admitted), *_own_machine(best, order, period)),
    )


def _preferring_providers(order: Sequence[Ranked]) -> list[Ranked]:
    """What can be bought first, then machines of one's own; each in its order."""
    return sorted(order, key=lambda item: item.row.access is not Access.API)


def _own_machine(best: Ranked, order: Sequence[Ranked], period: Period) -> Iterator[Reason]:
    """Says so when a machine of one's own would be lower than what can be bought."""
    own = [item.row for item in order if item.row.access is Access.SELF_HOSTED]
    if best.row.access is Access.API and own:
        lowest = own[0].carbon[period].total.value
        if lowest < best.row.carbon[period].total.value:
            yield Reason(
                option=f"self-hosted ({own[0].place_name})",
                reason=f"{rounded(lowest, 2):g} gCO2e at the measured batch, lower than anything "
                "that is sold, but a machine that you would have to run there",
            )


_PARAMETERS = {
    "access": "access",
    "statuses": "status",
    "providers": "provider",
    "places": "place",
    "certainties": "certainty",
    "max_price_usd_per_mtok": "max_price",
    "min_speed_tokens_per_second": "min_speed",
}
"""Constraints by the name of the parameter that sets them."""


def _no_option(own: Sequence[Row], filters: Filters) -> NoOption:
    single = tuple(name for name, relaxed in _relaxed_once(filters) if _admits_any(relaxed, own))
    if single:
        return NoOption(binding=single)
    stated = [name for name in _PARAMETERS if getattr(filters, name) != getattr(_BLANK, name)]
    dropped = list(stated)
    if not _admits_any(_without(filters, dropped), own):
        return NoOption(binding=())
    for name in stated:
        fewer = [other for other in dropped if other != name]
        if _admits_any(_without(filters, fewer), own):
            dropped = fewer
    return NoOption(binding=tuple(_PARAMETERS[name] for name in dropped), is_joint=True)


_BLANK = Filters()


def _relaxed_once(filters: Filters) -> Iterator[tuple[str, Filters]]:
    for regime in type(filters.regime):
        if regime is not filters.regime:
            yield "regime", filters._replace(regime=regime)
    for name, parameter in _PARAMETERS.items():
        if getattr(filters, name) != getattr(_BLANK, name):
            yield parameter, _without(filters, [name])


def _without(filters: Filters, names: Sequence[str]) -> Filters:
    return filters._replace(**{name: getattr(_BLANK, name) for name in names})


def _admits_any(filters: Filters, rows: Sequence[Row]) -> bool:
    return any(filters.admits(row) for row in rows)


def best_hour(place: Place, ladder: Ladder, start: datetime) -> BestHour | None:
    """The cleanest of the 24 hours from one on; None where the hours are not told apart."""
    hours = ladder.day(place, start)
    if any(hour.tier in {Tier.ANNUAL, Tier.COUNTRY} for hour in hours):
        return None
    values = [hour.factor.estimate.value for hour in hours]
    mean = sum(values) / len(values)
    lowest = min(range(len(values)), key=values.__getitem__)
    swing = (max(values) - min(values)) / mean
    worthwhile = swing >= WORTHWHILE_SWING
    # A value that an older report stands for names that report's hour as its span.
    begin = start + HOUR * lowest
    hour = replace(hours[lowest], start=begin, end=begin + HOUR)
    relative = values[lowest] / mean
    advice = (
        f"Running then instead of at the day's mean saves {1 - relative:.0%}."
        if worthwhile
        else f"The day swings by only {swing:.0%}: timing does not help here."
    )
    return BestHour(
        hour=hour,
        relative=relative,
        swing=swing,
        is_worthwhile=worthwhile,
        text=f"Cleanest of the next 24 hours in {place.name}: "
        f"{hour.start:%H:%M} to {hour.end:%H:%M} UTC. {advice}",
    )


def _insight(best: Row, savings: Difference | None, hour: BestHour | None, period: Period) -> str:
    carbon = best.carbon[period].total
    place = best.place_name if best.certainty is Certainty.PINNED else f"location {best.certainty}"
    text = (
        f"{best.model.name} on {best.provider.name} ({place}): {rounded(carbon.value, 2):g} gCO2e "
        f"per million output tokens ({rounded(carbon.low, 2):g} to {rounded(carbon.high, 2):g}, "
        f"95 %), energy {best.status}."
    )
    if savings is None:
        text += " No other option satisfies the question."
    elif savings.is_meaningful:
        text += (
            f" That is {savings.percent:.0f} % less than {_where(savings.higher)}, and saves "
            f"{rounded(savings.saved_g.value, 2):g} g per million tokens."
        )
    else:
        text += (
            f" The difference to {_where(savings.higher)} is not meaningful: the intervals overlap."
        )
    return f"{text} {hour.text}" if hour else text


def _where(row: Row) -> str:
    return f"{row.provider.name} ({row.place_name})"


def unsold(
    rows: Sequence[Row], unranked: Sequence[Unranked], providers: Iterable[Provider]
) -> tuple[Reason, ...]:
    """Why providers have no row of a model.

    Args:
        rows: The model's rows.
        unranked: Its offers that could not become a row.
        providers: All providers.
    """
    blocked = {item.provider: item.reason for item in unranked}
    offering = {row.provider.id for row in rows}
    return tuple(
        Reason(option=provider.name, reason=blocked.get(provider.id, _NO_EVIDENCE))
        for provider in providers
        if provider.access is not Access.SELF_HOSTED and provider.id not in offering
    )


_NO_EVIDENCE = "no evidence that this provider sells the model"


def _reasons(admitted: Sequence[Row]) -> Iterator[Reason]:
    unpinned = {row.provider.name for row in admitted if row.certainty is not Certainty.PINNED}
    for name in sorted(unpinned):
        reason = (
            "some of its offers do not say where they run: they are ranked by the mean of the "
            "places that they may run in, never by the cleanest"
        )
        yield Reason(option=name, reason=reason)
    if not any(row.access is Access.API for row in admitted):
        yield Reason(
            option="any provider",
            reason="no provider with evidence satisfies the question: this is the measured "
            "machine on a grid of your choice",
        )
