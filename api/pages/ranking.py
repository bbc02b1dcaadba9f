"""The first page: headline, carbon by price, ranking, filters; and the page of one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.answers import leaderboard_answer
from api.badge import badge_svg
from api.catalogue import Access, Certainty
from api.charts.scale import written
from api.charts.scatter import Mark, frontier, scatter
from api.cursors import page_cursor, page_start
from api.encoding import encoded
from api.energy import Regime
from api.grades import Grade, grade
from api.grid.intensity import Period
from api.headline import headline
from api.offerings import Row
from api.pages.hours import Day, day_at
from api.pages.queries import RowForm, form, leaderboard_query
from api.pages.shell import Context, Site, link, mark_of, row_path
from api.present import REGIME_NOTES
from api.problems import ProblemError
from api.ranking import Ranked, Sort, ranked
from api.reference_schemas import FootprintAnswer
from api.release import Release
from api.routes import LeaderboardQuery, current, leaderboard_filters, respond
from api.schemas import Leaderboard, RowAnswer
from api.units_of_use import Use
from api.use_answers import footprint_answer
from protocol.messages import Status

SVG = "image/svg+xml"
EXAMPLE_USE = Use(output_tokens_per_query=300, queries_per_day=1_000)
LEAST_PRICED = 3
"""With fewer priced rows the picture shows energy instead of price."""
REGIME_NAMES = {"served": "Served by an API", "single": "One prompt at a time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table: the API's row, and what a page adds to it."""

    row: RowAnswer
    grade: Grade | None
    day: Day | None
    """None where the place is not known."""
    is_open: bool
    open_link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The scatter and its reading."""

    svg: str
    title: str
    best: tuple[Mark, ...]


def add_ranking(router: APIRouter, site: Site) -> None:
    """The ranking, rows and badges."""

    @router.get("/")
    def leaderboard(request: Request) -> Response:
        query, opened = leaderboard_query(request)
        return site.page(
            request,
            "leaderboard.html",
            lambda release, now: ranking_context(release, now, query, opened),
        )

    @router.get("/row/{row:path}")
    def row_page(request: Request, row: str) -> Response:
        query = form(RowForm, request)
        return site.page(
            request,
            "row.html",
            lambda release, now: row_context(release, now, row_named(release, row), query.period),
        )

    @router.get("/badge/{row:path}.svg")
    def badge(request: Request, row: str) -> Response:
        svg = badge_svg(row_named(current(site.holder), row))
        return respond(request, encoded(svg, SVG))


def row_named(release: Release, name: str) -> Row:
    """The row of that id, or a problem."""
    row = release.row_named(name)
    if row is None:
        hint = "Choose one from the ranking."
        raise ProblemError(404, "unknown_row", f"no row is named {name!r}", hint=hint)
    return row


def ranking_context(
    release: Release, now: datetime, query: LeaderboardQuery, opened: str | None
) -> Context:
    """What the first page shows: the figures are the API's answer to the same query."""
    filters = leaderboard_filters(release, query)
    answer = Leaderboard.model_validate_json(leaderboard_answer(release, query, filters))
    order = ranked(
        [row for row in release.rows if filters.admits(row)], sort=query.sort, period=query.period
    )
    parameters = query.model_dump(mode="json", exclude_defaults=True)
    start = page_start(query.cursor, release.id)
    before = max(0, start - query.limit)
    back = page_cursor(before, release.id) if before else None
    return {
        "answer": answer,
        "query": query,
        "parameters": parameters,
        "lines": _lines(release, now, answer, parameters, opened),
        "first": start + 1,
        "last": start + len(answer.rows),
        "headline": headline(order, query.period),
        "facts": facts(order, query.period),
        "picture": picture(order, query.period),
        "scale": scale(answer.rows),
        "simulated": _simulated(release, filters.regime),
        "shows_simulated": Status.SIMULATED in filters.statuses,
        "choices": choices(release),
        "regime_names": REGIME_NAMES,
        "filter_count": _filter_count(parameters),
        "link": lambda **changes: link("/", {**parameters, "cursor": None}, **changes),
        "next_link": link("/", parameters, cursor=answer.next) if answer.next else None,
        "back_link": link("/", parameters, cursor=back) if start else None,
        "api_link": link("/api/v1/leaderboard", {"limit": query.limit, **parameters}),
        "csv_link": link(
            "/api/v1/export.csv", {k: v for k, v in parameters.items() if k != "cursor"}
        ),
    }


def row_context(release: Release, now: datetime, row: Row, period: Period) -> Context:
    """Everything about one row."""
    item = among_its_model(release, row, period)
    use = FootprintAnswer.model_validate_json(footprint_answer(release, item, period, EXAMPLE_USE))
    return {
        "row": use.row,
        "use": use,
        "period": period,
        "line": _line(release, now, use.row, {}, opened=row.id),
        "certainty_words": CERTAINTY_WORDS[row.certainty],
        "row_link": f"/row/{row_path(row.id)}",
        "note": REGIME_NOTES[row.regime],
    }


CERTAINTY_WORDS = {
    Certainty.PINNED: "one stated place",
    Certainty.DATA_ZONE: "one of several places; the provider chooses",
    Certainty.GLOBAL: "any of the provider's places",
    Certainty.UNDISCLOSED: "place not stated",
}


def among_its_model(release: Release, row: Row, period: Period) -> Ranked:
    """The row with its rank among all ways to run its model in its regime."""
    rivals = [
        other
        for other in release.rows
        if other.model.id == row.model.id and other.regime is row.regime
    ]
    order = ranked(rivals, sort=Sort.CARBON, period=period)
    return next(item for item in order if item.row is row)


def lines_of(release: Release, now: datetime, rows: Sequence[RowAnswer]) -> list[Line]:
    """Rows for a table outside the ranking."""
    return [_line(release, now, row, {}, opened=None) for row in rows]


def scale(rows: Sequence[RowAnswer]) -> float:
    """Length of the interval bars: the highest end on the page."""
    return max((row.carbon.high for row in rows), default=1.0) or 1.0


def choices(release: Release) -> dict[str, list[str]]:
    """What the filters offer."""
    rows = release.rows
    return {
        "regime": [regime.value for regime in Regime],
        "period": [period.value for period in Period],
        "sort": [sort.value for sort in Sort],
        "status": [status.value for status in Status],
        "access": [access.value for access in Access],
        "certainty": [certainty.value for certainty in Certainty],
        "family": sorted({row.model.family for row in rows}),
        "provider": sorted({row.provider.id for row in rows}),
        "place": sorted({place.id for row in rows for place in row.places if place.tabulated}),
    }


def facts(order: Sequence[Ranked], period: Period) -> tuple[tuple[str, str, str], ...]:
    """Label, figure and unit of what the ranking holds at a glance."""
    if not order:
        return ()
    by_carbon = sorted((item.row for item in order), key=lambda row: _grams(row, period))
    lowest, highest = by_carbon[0], by_carbon[-1]
    middle = median(_grams(row, period) for row in by_carbon)
    worst = max((row.status for row in by_carbon), key=_DOUBT.index)
    measured = sum(row.status in {Status.VERIFIED, Status.PUBLISHED} for row in by_carbon)
    unit = "gCO2e / Mtok"
    return (
        ("Lowest", mark_of(lowest.status) + written(_grams(lowest, period), 2), unit),
        ("Median", mark_of(worst) + written(middle, 2), unit),
        ("Highest", mark_of(highest.status) + written(_grams(highest, period), 2), unit),
        ("Measured energy", f"{measured / len(order):.0%}", f"of {len(order):,} rows"),
    )


_DOUBT = (
    Status.VERIFIED,
    Status.PUBLISHED,
    Status.MODELLED,
    Status.ASSUMED,
    Status.ESTIMATED,
    Status.SIMULATED,
)


def _grams(row: Row, period: Period) -> float:
    return row.carbon[period].total.value


def picture(order: Sequence[Ranked], period: Period) -> Picture | None:
    """Carbon by price, or by energy where there are no prices."""
    priced = [item.row for item in order if _blended(item.row)]
    is_priced = len(priced) >= LEAST_PRICED
    rows = priced if is_priced else [item.row for item in order]
    marks = [
        Mark(
            name=f"{row.model.name}, {_where(row)}",
            href=f"/row/{row_path(row.id)}",
            x=_blended(row) if is_priced else row.energy.estimate.value,
            carbon=row.carbon[period].total,
            status=row.status,
        )
        for row in rows
        if row.carbon[period].total.low > 0
    ]
    if len({mark.x for mark in marks}) < LEAST_PRICED:
        return None
    best = frontier(marks)
    what = "price" if is_priced else "energy"
    unit = (
        "USD per million tokens, three parts input to one part output"
        if is_priced
        else "Wh per million output tokens"
    )
    summary = f"{len(marks)} rows, carbon by {what}. Nothing is lower in both than: " + "; ".join(
        f"{mark.name} ({written(mark.carbon.value, 2)} g)" for mark in best[:6]
    )
    return Picture(
        svg=scatter(marks, x_title=unit, summary=summary),
        title=f"Carbon by {what}",
        best=best,
    )


def _lines(
    release: Release,
    now: datetime,
    answer: Leaderboard,
    parameters: Mapping[str, object],
    opened: str | None,
) -> list[Line]:
    return [_line(release, now, row, parameters, opened=opened) for row in answer.rows]


def _line(
    release: Release,
    now: datetime,
    shown: RowAnswer,
    parameters: Mapping[str, object],
    *,
    opened: str | None,
) -> Line:
    row = row_named(release, shown.id)
    is_open = shown.id == opened
    target = link("/", parameters, open=None if is_open else shown.id)
    return Line(
        row=shown,
        grade=grade(row),
        day=_day(release, row, now),
        is_open=is_open,
        open_link=target,
    )


def _day(release: Release, row: Row, now: datetime) -> Day | None:
    if row.certainty is not Certainty.PINNED:
        return None
    return day_at(release, row.places[0], now)


def _blended(row: Row) -> float:
    price = row.price.blended_usd_per_mtok if row.price else None
    return float(price) if price else 0.0


def _where(row: Row) -> str:
    if row.access is Access.SELF_HOSTED:
        return f"own machine in {row.place_name}"
    place = row.place_name if row.certainty is Certainty.PINNED else row.certainty
    return f"{row.provider.name} ({place})"


def _simulated(release: Release, regime: Regime) -> int:
    """Simulated cells that a ranking leaves out unless asked."""
    return len(
        {
            row.figure.id
            for row in release.rows
            if row.status is Status.SIMULATED and row.regime is regime
        }
    )


def _filter_count(parameters: Mapping[str, object]) -> int:
    return len(set(parameters) - {"regime", "sort", "cursor", "limit", "period"})
