"""Whole answers as bytes: rows from the release's fragments, the rest by the schema."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from api import schemas
from api.catalogue import Access, Certainty, ModelSlug
from api.comparison import Difference
from api.cursors import page_cursor, page_start
from api.energy import Regime
from api.footprint import rounded
from api.grid.intensity import Period
from api.present import REGIME_NOTES, row_body
from api.problems import ProblemError
from api.ranking import Filters, Ranked, Sort
from api.recommend import BestHour, NoOption, Reason, best_hour, recommend, unsold
from api.release import Release
from protocol.messages import Status


class RankingQuery(Protocol):
    """What a ranking is asked for beside its filters."""

    @property
    def period(self) -> Period:
        """Time that the ranking speaks about."""
        ...

    @property
    def sort(self) -> Sort:
        """Its order."""
        ...

    @property
    def limit(self) -> int:
        """Rows on a page."""
        ...

    @property
    def cursor(self) -> str | None:
        """Where the page starts; None for the first one."""
        ...


def leaderboard_answer(release: Release, query: RankingQuery, filters: Filters) -> bytes:
    """A page of the ranking.

    Raises:
        ProblemError: If the cursor is none, or another release's.
    """
    return page_answer(release, query, filters, understood(filters, query))


def page_answer(
    release: Release, query: RankingQuery, filters: Filters, understood_json: bytes
) -> bytes:
    """The same where the question as it was understood is encoded already."""
    start = page_start(query.cursor, release.id)
    page = release.index.page(
        filters, sort=query.sort, period=query.period, start=start, limit=query.limit
    )
    end = start + len(page.positions)
    return b"".join(
        (
            b'{"query":',
            understood_json,
            b',"total":%d,"rows":' % page.total,
            *release.page_json(page, query.period),
            b',"next":',
            _json(page_cursor(end, release.id)) if end < page.total else b"null",
            b',"regime_note":',
            _REGIME_NOTES_JSON[filters.regime],
            b',"meta":',
            release.meta_json(),
            b"}",
        )
    )


def recommend_answer(
    release: Release, slug: ModelSlug, filters: Filters, period: Period, now: datetime
) -> bytes:
    """A recommendation, or the problem that nothing satisfies the question."""
    model, rows = release.models[slug], release.rows_of(slug)
    start = now.replace(minute=0, second=0, microsecond=0)
    advice = recommend(
        rows=rows,
        admitted=release.index.rows_admitted(filters, slug),
        filters=filters,
        period=period,
        hour_at=lambda place: release.once(
            ("hour", place.id, start), lambda: best_hour(place, release.ladder, start)
        ),
        unsold=release.once(("unsold", slug), lambda: _unsold(release, slug)),
    )
    if isinstance(advice, NoOption):
        problem = _nothing(model.name, filters, advice)
        problem.detail += "".join(f"; {why}" for why in _obstacles(release, slug, filters))
        raise problem
    named = schemas.ModelName(id=model.id, name=model.name, family=model.family)
    # In the order of the schema, with the rows as the release holds them encoded.
    return _object(
        model=named.model_dump_json().encode(),
        best=release.row_json(advice.best, period),
        alternatives=release.rows_json(advice.alternatives, period),
        insight=_json(advice.insight),
        savings=_maybe(_savings(advice.savings) if advice.savings else None),
        best_window=_maybe(_window(advice.best_hour) if advice.best_hour else None),
        why_not=_json([{"option": one.option, "reason": one.reason} for one in advice.reasons]),
        meta=release.meta_json(),
    )


def _unsold(release: Release, slug: ModelSlug) -> tuple[Reason, ...]:
    unranked = [item for item in release.table.unranked if item.model == slug]
    return unsold(release.rows_of(slug), unranked, release.catalogue.providers.values())


def _obstacles(release: Release, slug: ModelSlug, filters: Filters) -> Sequence[str]:
    """Why providers that were asked for have the model, but no figure of it."""
    names = release.catalogue.providers
    return sorted(
        {
            f"{names[item.provider].name}: {item.reason}"
            for item in release.table.unranked
            if item.model == slug and item.provider in filters.providers
        }
    )


def _object(**parts: bytes | Iterable[bytes]) -> bytes:
    """A JSON object of members that are JSON already, whole or in pieces."""
    pieces: list[bytes] = []
    for name, part in parts.items():
        pieces.append(b'%b"%b":' % (b"," if pieces else b"{", name.encode()))
        if isinstance(part, bytes):
            pieces.append(part)
        else:
            pieces.extend(part)
    return b"".join((*pieces, b"}"))


def _json(plain: object) -> bytes:
    return _ENCODER.encode(plain).encode()


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_REGIME_NOTES_JSON = {regime: _json(note) for regime, note in REGIME_NOTES.items()}


def _maybe(answer: schemas.Answer | None) -> bytes:
    return b"null" if answer is None else answer.model_dump_json().encode()


def row_answer(item: Ranked, period: Period) -> schemas.RowAnswer:
    """A ranked row as the schema has it."""
    body = row_body(item.row, period)
    return schemas.RowAnswer(
        **{name: getattr(body, name) for name in schemas.RowBody.model_fields},
        rank=item.rank,
        rank_low=item.rank_low,
        rank_high=item.rank_high,
    )


def understood(filters: Filters, query: RankingQuery) -> bytes:
    """The question as it was understood, in JSON; questions that mean the same give the same."""
    price, speed = filters.max_price_usd_per_mtok, filters.min_speed_tokens_per_second
    return b'%b,"family":%b,"model":%b,"provider":%b,"place":%b,"certainty":%b,%b' % (
        _understood_view(
            filters.regime, filters.access, filters.statuses, query.period, query.sort
        ),
        _names(filters.families),
        _names(filters.models),
        _names(filters.providers),
        _names(filters.places),
        _names(filters.certainties),
        b'"max_price":%b,"min_speed":%b,"limit":%d}'
        % (
            b"null" if price is None else b'"%b"' % str(price).encode(),
            b"null" if speed is None else _json(speed),
            query.limit,
        ),
    )


@lru_cache(maxsize=1_024)
def _understood_view(
    regime: Regime, access: Access | None, statuses: frozenset[Status], period: Period, sort: Sort
) -> bytes:
    """The part of a question that has few values, without its closing brace."""
    view = {"regime": regime, "access": access, "status": sorted(statuses)}
    return _json({**view, "period": period, "sort": sort})[:-1]


def _names(values: frozenset[str]) -> bytes:
    return _json(sorted(values)) if values else b"[]"


def _nothing(name: str, filters: Filters, nothing: NoOption) -> ProblemError:
    if nothing.binding:
        binding = ", ".join(nothing.binding)
        detail = f"no option for {name} satisfies all constraints"
        which = "these together" if nothing.is_joint else "one of"
        return ProblemError(404, "no_option", detail, hint=f"Relax {which}: {binding}.")
    return ProblemError(
        404,
        "no_option",
        f"no {filters.regime} figure for {name} satisfies the question",
        hint=f"Try regime={_other(filters.regime)} or fewer constraints.",
    )


def _other(regime: Regime) -> Regime:
    return Regime.SINGLE if regime is Regime.SERVED else Regime.SERVED


def _savings(found: Difference) -> schemas.Savings:
    higher = found.higher
    where = higher.place_name if higher.certainty is Certainty.PINNED else higher.certainty
    return schemas.Savings(
        against=f"{higher.provider.name} ({where})"
        if higher.access is Access.API
        else f"self-hosted ({where})",
        value=rounded(found.saved_g.value),
        low=rounded(found.saved_g.low),
        high=rounded(found.saved_g.high),
        percent=rounded(found.percent),
        is_meaningful=found.is_meaningful,
    )


def _window(hour: BestHour) -> schemas.Window:
    return schemas.Window(
        start=hour.hour.start,
        end=hour.hour.end,
        relative_to_day_mean=rounded(hour.relative),
        swing_percent=rounded(100 * hour.swing),
        is_worthwhile=hour.is_worthwhile,
        tier=hour.hour.tier,
        text=hour.text,
    )
