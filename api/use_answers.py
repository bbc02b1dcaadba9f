"""Answers about a stated use: footprint per query and month, rows compared."""

from decimal import Decimal

from api import reference_schemas as shown
from api.answers import row_answer
from api.comparison import difference
from api.footprint import INTERVAL_LEVEL, INTERVAL_METHOD, Estimate, rounded
from api.grid.intensity import Period
from api.offerings import Row
from api.present import SCOPE
from api.ranking import Ranked, Sort, ranked
from api.release import Release
from api.schemas import Answer
from api.units_of_use import (
    DAYS_PER_MONTH,
    TERM,
    TOKENS_PER_MTOK,
    Use,
    per_month_kg,
    per_query,
    per_request,
    sci,
)


def footprint_answer(release: Release, item: Ranked, period: Period, use: Use) -> bytes:
    """What a stated use of a row emits."""
    row, carbon = item.row, item.row.carbon[period].total
    parts = sci(row, period)
    return _json(
        shown.FootprintAnswer(
            row=row_answer(item, period),
            period=period,
            input_tokens_per_query=use.input_tokens_per_query,
            output_tokens_per_query=use.output_tokens_per_query,
            queries_per_day=use.queries_per_day,
            days_per_month=DAYS_PER_MONTH,
            interval_level=INTERVAL_LEVEL,
            interval_method=INTERVAL_METHOD,
            g_per_mtok=_range(carbon),
            g_per_1k_token_request=_range(per_request(carbon)),
            g_per_query=_range(per_query(carbon, use)),
            kg_per_month=_range(per_month_kg(carbon, use)),
            usd_per_month=_usd_per_month(row, use),
            sci=shown.SciAnswer(
                score_g=rounded(parts.score_g),
                energy_kwh=rounded(parts.energy_kwh),
                intensity_g_per_kwh=rounded(parts.intensity_g_per_kwh),
                embodied_g=None if parts.embodied_g is None else rounded(parts.embodied_g),
                functional_unit=f"{parts.tokens} output tokens",
            ),
            defined_term=TERM,
            scope=SCOPE,
            meta=release.meta(),
        )
    )


def compare_answer(release: Release, rows: list[Row], period: Period) -> bytes:
    """Rows side by side, each against the lowest."""
    order = ranked(rows, sort=Sort.CARBON, period=period)
    lowest = order[0]
    others = []
    for item in order[1:]:
        found = difference(lowest.row, item.row, period)
        base = lowest.row.carbon[period].total.value
        others.append(
            shown.ComparedRow(
                row=row_answer(item, period),
                above_lowest_g=_range(found.saved_g),
                percent_above_lowest=rounded(100 * found.saved_g.value / base),
                shared=list(found.shared),
                is_meaningful=found.is_meaningful,
            )
        )
    return _json(
        shown.Comparison(
            period=period,
            lowest=row_answer(lowest, period),
            others=others,
            meta=release.meta(),
        )
    )


def _usd_per_month(row: Row, use: Use) -> Decimal | None:
    price = row.price
    if price is None or price.output_usd_per_mtok is None:
        return None
    usd = price.output_usd_per_mtok * use.output_tokens_per_query
    if use.input_tokens_per_query:
        if price.input_usd_per_mtok is None:
            return None
        usd += price.input_usd_per_mtok * use.input_tokens_per_query
    queries = use.queries_per_day * Decimal(str(DAYS_PER_MONTH))
    return (usd * queries / TOKENS_PER_MTOK).quantize(Decimal("0.01"))


def _range(estimate: Estimate) -> shown.Range:
    return shown.Range(
        value=rounded(estimate.value), low=rounded(estimate.low), high=rounded(estimate.high)
    )


def _json(answer: Answer) -> bytes:
    return answer.model_dump_json().encode()
