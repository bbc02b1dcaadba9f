"""Pages for somebody's own case: recommend, compare, calculator."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.answers import recommend_answer
from api.catalogue import ModelSlug, find_model
from api.encoding import encoded
from api.energy import Regime
from api.grades import grade
from api.grid.intensity import Period
from api.offerings import Row
from api.pages.queries import AdviceForm, CalculatorForm, CompareForm, form
from api.pages.ranking import among_its_model, choices, lines_of, row_named, scale
from api.pages.shell import Context, Site, link, row_path, with_header
from api.problems import ProblemError
from api.ranking import Filters, Sort, ranked
from api.reference_schemas import Comparison, FootprintAnswer
from api.release import Release
from api.routes import RecommendQuery, current, respond, selection_filters
from api.schemas import Recommendation
from api.units_of_use import Use
from api.use_answers import compare_answer, footprint_answer

CSV = "text/csv; charset=utf-8"
EXAMPLES = 3
"""Rows that an empty comparison offers."""
REPORT_FIELDS = (
    "model", "provider", "place", "location_certainty", "period", "queries_per_day",
    "output_tokens_per_query", "kgco2e_per_month", "kgco2e_per_month_low",
    "kgco2e_per_month_high", "gco2e_per_query", "gco2e_per_mtok", "energy_status", "energy_source",
    "grid_source", "grid_date", "grid_tier", "pue", "usd_per_month", "scope", "row", "release",
    "methodology", "data_as_of",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A question that has no answer, and what can be done."""

    detail: str
    hint: str
    suggestions: tuple[str, ...] = ()


def add_uses(router: APIRouter, site: Site) -> None:
    """The three pages and the calculator's file."""

    @router.get("/recommend")
    def advice(request: Request) -> Response:
        asked = form(AdviceForm, request)
        return site.page(
            request, "recommend.html", lambda release, now: advice_context(release, now, asked)
        )

    @router.get("/compare")
    def compare(request: Request) -> Response:
        asked = form(CompareForm, request, frozenset({"row"}))
        return site.page(
            request, "compare.html", lambda release, now: compare_context(release, now, asked)
        )

    @router.get("/calculator")
    def calculator(request: Request) -> Response:
        asked = form(CalculatorForm, request)
        return site.page(
            request, "calculator.html", lambda release, _: calculator_context(release, asked)
        )

    @router.get("/calculator.csv")
    def calculator_file(request: Request) -> Response:
        asked = form(CalculatorForm, request)
        release = current(site.holder)
        row = _chosen(release, asked)
        if row is None:
            raise ProblemError(404, "unknown_row", "there is no row to calculate with")
        response = respond(request, encoded(report_csv(_use(release, row, asked)), CSV))
        name = "inference-carbon.csv"
        return with_header(response, "content-disposition", f'attachment; filename="{name}"')


def advice_context(release: Release, now: datetime, asked: AdviceForm) -> Context:
    """The recommendation for a form; the figures are the API's."""
    found = _advice(release, now, asked) if asked.model else None
    advice = found if isinstance(found, Recommendation) else None
    rows = [advice.best, *advice.alternatives] if advice else []
    parameters = asked.model_dump(mode="json", exclude_defaults=True)
    lines = lines_of(release, now, rows)
    return {
        "asked": asked,
        "advice": advice,
        "nothing": found if isinstance(found, Unanswered) else None,
        "lines": lines,
        "scale": scale(rows),
        "day": lines[0].day if lines else None,
        "models": model_names(release),
        "choices": choices(release),
        "api_link": link("/api/v1/recommend", parameters),
    }


def _advice(release: Release, now: datetime, asked: AdviceForm) -> Recommendation | Unanswered:
    slug = find_model(asked.model or "", release.names)
    if not isinstance(slug, str):
        detail = f"{asked.model!r} is not the name of one model."
        hint = "Did you mean one of these?" if slug else "See the list of models."
        return Unanswered(detail=detail, hint=hint, suggestions=slug)
    query = RecommendQuery(
        model=slug,
        regime=asked.regime,
        period=asked.period,
        provider=[asked.provider] if asked.provider else [],
        place=[asked.place] if asked.place else [],
        max_price=asked.max_price,
        min_speed=asked.min_speed,
    )
    try:
        answer = recommend_answer(
            release, ModelSlug(slug), selection_filters(query), query.period, now
        )
    except ProblemError as fault:
        return Unanswered(
            detail=fault.detail, hint=fault.hint, suggestions=tuple(fault.suggestions)
        )
    return Recommendation.model_validate_json(answer)


def compare_context(release: Release, now: datetime, asked: CompareForm) -> Context:
    """Rows side by side; the figures are the API's."""
    rows = [row_named(release, name) for name in asked.row]
    regimes = {row.regime for row in rows}
    nothing = ""
    if len(regimes) > 1:
        nothing = "Served and single figures differ up to 50-fold and are never compared."
    comparison = None
    if len(rows) > 1 and not nothing:
        comparison = Comparison.model_validate_json(compare_answer(release, rows, asked.period))
    shown = [comparison.lowest, *(other.row for other in comparison.others)] if comparison else []
    return {
        "asked": asked,
        "comparison": comparison,
        "nothing": nothing,
        "lines": lines_of(release, now, shown),
        "scale": scale(shown),
        "example": link("/compare", {"row": _examples(release)}),
        "only": rows[0] if len(rows) == 1 else None,
        "without": lambda name: link(
            "/compare",
            {"row": [other for other in asked.row if other != name], "period": asked.period.value},
        ),
        "api_link": link("/api/v1/compare", {"row": asked.row, "period": asked.period.value}),
    }


def calculator_context(release: Release, asked: CalculatorForm) -> Context:
    """A stated use; the figures are the API's."""
    row = _chosen(release, asked)
    parameters = asked.model_dump(mode="json", exclude_defaults=True)
    if row is not None:
        parameters = {**parameters, "row": row.id}
    return {
        "asked": asked,
        "row": row,
        "rows": _ways(release, row),
        "models": model_names(release),
        "use": _use(release, row, asked) if row else None,
        "grade": grade(row) if row else None,
        "row_link": f"/row/{row_path(row.id)}" if row else "",
        "csv_link": link("/calculator.csv", parameters),
        "api_link": link(
            "/api/v1/footprint", {k: v for k, v in parameters.items() if k != "model"}
        ),
    }


def report_csv(use: FootprintAnswer) -> bytes:
    """A stated use as one line for a sustainability report, with the source of each factor."""
    row, factors = use.row, use.row.factors
    out = io.StringIO()
    writer = csv.DictWriter(out, REPORT_FIELDS, lineterminator="\r\n")
    writer.writeheader()
    values = (
        row.model.id, row.provider.name, row.place.name, row.place.certainty, use.period,
        use.queries_per_day, use.output_tokens_per_query, use.kg_per_month.value,
        use.kg_per_month.low, use.kg_per_month.high, use.g_per_query.value, use.g_per_mtok.value,
        row.status, factors.energy.source, factors.grid.source, factors.grid.date,
        factors.grid.tier, factors.pue.value, use.usd_per_month, use.scope, row.id,
        use.meta.release, use.meta.methodology, use.meta.data_as_of.isoformat(),
    )  # fmt: skip
    writer.writerow(dict(zip(REPORT_FIELDS, values, strict=True)))
    return out.getvalue().encode()


def model_names(release: Release) -> list[tuple[str, str]]:
    """Slug and name of every model that has a row, by name."""
    found = {row.model.id: row.model.name for row in release.rows}
    return sorted(found.items(), key=lambda item: item[1].lower())


def _chosen(release: Release, asked: CalculatorForm) -> Row | None:
    """The named row, else the lowest of the named model, else the lowest that is sold."""
    if asked.model:
        slug = find_model(asked.model, release.names)
        if not isinstance(slug, str):
            raise ProblemError(
                404,
                "unknown_model",
                f"{asked.model!r} is not the name of one model",
                hint="Choose one from the list.",
                suggestions=slug,
            )
        if asked.row:
            row = row_named(release, asked.row)
            if row.model.id == slug:
                return row
        own = [row for row in release.rows if row.model.id == slug]
        served = [row for row in own if row.regime is Regime.SERVED]
        return _lowest(served or own, asked.period)
    if asked.row:
        return row_named(release, asked.row)
    sold = [row for row in release.rows if Filters().admits(row) and row.access == "api"]
    return _lowest(sold or list(release.rows), asked.period)


def _lowest(rows: Sequence[Row], period: Period) -> Row | None:
    sold = [row for row in rows if row.access == "api"] or list(rows)
    return min(sold, key=lambda row: (row.carbon[period].total.value, row.id), default=None)


def _ways(release: Release, chosen: Row | None) -> list[tuple[str, str]]:
    """Id and words of every way to run the chosen row's model in its regime."""
    if chosen is None:
        return []
    own = [
        row
        for row in release.rows
        if row.model.id == chosen.model.id and row.regime is chosen.regime
    ]
    order = ranked(own, sort=Sort.CARBON, period=Period.YEAR)
    return [
        (item.row.id, f"{item.row.provider.name}, {item.row.region or item.row.place_name}")
        for item in order
    ]


def _use(release: Release, row: Row, asked: CalculatorForm) -> FootprintAnswer:
    item = among_its_model(release, row, asked.period)
    use = Use(output_tokens_per_query=asked.output_tokens, queries_per_day=asked.queries_per_day)
    return FootprintAnswer.model_validate_json(footprint_answer(release, item, asked.period, use))


def _examples(release: Release) -> list[str]:
    sold = [row for row in release.rows if Filters().admits(row) and row.access == "api"]
    by_model: dict[str, list[Row]] = {}
    for row in sold:
        by_model.setdefault(row.model.id, []).append(row)
    widest = max(by_model.values(), key=lambda rows: (len(rows), rows[0].id), default=[])
    order = ranked(widest, sort=Sort.CARBON, period=Period.YEAR)
    return [item.row.id for item in order[:EXAMPLES]]
