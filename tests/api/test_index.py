"""Pages from the index: what filtering and ranking all rows gives."""

import asyncio
import weakref
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from api.catalogue import Access, Catalogue, Certainty
from api.energy import Regime
from api.grid.intensity import Period
from api.prices import NoPrices
from api.ranking import RANKED_STATUSES, Filters, Sort, ranked
from api.refresh import Sources, refresh
from api.release import Holder, Release
from protocol.messages import Status
from tests.api.conftest import NOW
from tests.support.refreshing import NoReadings, ReleaseList, StaticLogs


def few(*values: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(values), max_size=2)


FILTERS = st.builds(
    Filters,
    regime=st.sampled_from(Regime),
    access=st.none() | st.sampled_from(Access),
    statuses=st.just(RANKED_STATUSES) | st.frozensets(st.sampled_from(Status), min_size=1),
    families=few("llama", "gpt", "qwen", "no-such"),
    models=few("llama-3.1-8b", "gpt-5", "mistral-7b", "no-such"),
    providers=few("aws-bedrock", "azure-openai", "self-hosted"),
    places=few("us", "eu", "us-virginia", "eu-west-1", "ie", "no-such"),
    certainties=st.frozensets(st.sampled_from(Certainty), max_size=2),
    max_price_usd_per_mtok=st.none() | st.sampled_from([Decimal("0.5"), Decimal(10)]),
    min_speed_tokens_per_second=st.none() | st.sampled_from([1.0, 60.0]),
)


@settings(max_examples=200, deadline=None)
@given(
    filters=FILTERS,
    sort=st.sampled_from(Sort),
    period=st.sampled_from(Period),
    start=st.integers(0, 60),
    limit=st.integers(1, 40),
)
def test_a_page_is_a_stretch_of_the_whole_ranking(
    release: Release, filters: Filters, sort: Sort, period: Period, start: int, limit: int
) -> None:
    whole = ranked([r for r in release.rows if filters.admits(r)], sort=sort, period=period)

    page = release.index.page(filters, sort=sort, period=period, start=start, limit=limit)

    rows = [release.index.rows[position] for position in page.positions]
    shown = whole[start : start + limit]
    assert rows == [item.row for item in shown]
    assert list(page.spans) == [(item.rank_low, item.rank_high) for item in shown]
    assert page.start == start
    assert page.total == len(whole)


def test_rows_are_found_by_id_and_by_model(release: Release) -> None:
    row = release.rows[17]

    assert release.index.row_named(row.id) is row
    assert release.index.row_named("no-such") is None
    assert row in release.index.rows_of(row.model.id)
    assert {other.model.id for other in release.index.rows_of(row.model.id)} == {row.model.id}


def test_a_release_that_answers_no_more_is_freed_at_once(small_catalogue: Catalogue) -> None:
    sources = Sources(
        catalogue=small_catalogue,
        logs=StaticLogs(),
        grid=NoReadings(),
        prices=NoPrices(),
        keeper=ReleaseList(),
    )
    holder = Holder()
    asyncio.run(refresh(sources, holder, NOW))
    assert holder.release is not None
    gone = weakref.ref(holder.release.index)

    asyncio.run(refresh(sources, holder, NOW + timedelta(hours=1)))

    assert gone() is None
