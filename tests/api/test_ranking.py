"""Order, rank ranges and filters."""

import itertools
from decimal import Decimal

import pytest

from api.catalogue import Access, Certainty
from api.energy import Regime
from api.footprint import INTERVAL_LEVEL
from api.grid.intensity import Period
from api.offerings import Row
from api.ranking import RANKED_STATUSES, Filters, Sort, ranked
from api.release import Release
from protocol.messages import Status


@pytest.fixture(scope="module")
def sold(release: Release) -> list[Row]:
    filters = Filters(access=Access.API)
    return [row for row in release.rows if filters.admits(row)]


def test_the_lowest_carbon_comes_first(sold: list[Row]) -> None:
    values = [
        r.row.carbon[Period.YEAR].total.value
        for r in ranked(sold, sort=Sort.CARBON, period=Period.YEAR)
    ]

    assert values == sorted(values)


def test_a_rank_lies_within_its_range(sold: list[Row]) -> None:
    for item in ranked(sold, sort=Sort.CARBON, period=Period.YEAR):
        assert 1 <= item.rank_low <= item.rank <= item.rank_high <= len(sold)


def test_rows_with_overlapping_intervals_share_a_rank(sold: list[Row]) -> None:
    order = ranked(sold, sort=Sort.CARBON, period=Period.YEAR)
    for one, other in itertools.pairwise(order):
        a, b = one.row.carbon[Period.YEAR].total, other.row.carbon[Period.YEAR].total
        if a.overlaps(b):
            assert one.rank_high >= other.rank_low


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("period", list(Period))
def test_the_order_does_not_depend_on_the_order_of_the_rows(
    sold: list[Row], sort: Sort, period: Period
) -> None:
    assert ranked(sold, sort=sort, period=period) == ranked(sold[::-1], sort=sort, period=period)


def test_rows_without_a_price_or_speed_come_last(sold: list[Row]) -> None:
    by_price = ranked(sold, sort=Sort.PRICE, period=Period.YEAR)
    by_speed = ranked(sold, sort=Sort.SPEED, period=Period.YEAR)

    assert by_price[0].row.price is not None
    assert by_price[-1].row.price is None
    assert by_speed[-1].row.figure.speed_tokens_per_second is None


def test_regimes_never_share_a_ranking(release: Release) -> None:
    for regime in Regime:
        filters = Filters(regime=regime)
        assert {row.regime for row in release.rows if filters.admits(row)} == {regime}


def test_simulated_and_estimated_figures_are_not_ranked_by_default() -> None:
    assert RANKED_STATUSES.isdisjoint({Status.SIMULATED, Status.ESTIMATED, Status.ASSUMED})


def test_filters_narrow(sold: list[Row]) -> None:
    def count(filters: Filters) -> int:
        return sum(filters.admits(row) for row in sold)

    everything = count(Filters())
    assert 0 < count(Filters(families=frozenset({"llama"}))) < everything
    assert 0 < count(Filters(providers=frozenset({"aws-bedrock"}))) < everything
    assert 0 < count(Filters(certainties=frozenset({Certainty.PINNED}))) < everything
    assert 0 < count(Filters(max_price_usd_per_mtok=Decimal("0.3"))) < everything
    assert 0 < count(Filters(min_speed_tokens_per_second=50.0)) < everything
    assert count(Filters(families=frozenset({"nobody"}))) == 0


def test_a_place_filter_never_admits_a_row_that_may_be_elsewhere(release: Release) -> None:
    filters = Filters(places=frozenset({"eu-paris"}))

    admitted = [row for row in release.rows if filters.admits(row)]

    assert admitted
    assert {row.certainty for row in admitted} == {Certainty.PINNED}
    assert {row.places[0].id for row in admitted} == {"eu-paris"}


def test_an_unpinned_row_never_stands_on_its_cleanest_place(release: Release) -> None:
    for row in release.rows:
        if row.certainty is not Certainty.PINNED:
            grid = row.grid[Period.YEAR].factor.estimate
            assert grid.value > grid.low * 1.05 or len(row.places) == 1


def test_every_provider_row_has_evidence(release: Release) -> None:
    known = {(e.provider, e.model) for e in release.catalogue.evidence}
    for row in release.rows:
        if row.access is Access.API:
            assert (row.provider.id, row.model.id) in known


def test_no_gpu_figure_stands_for_groq(release: Release) -> None:
    assert "groq" not in {row.provider.id for row in release.rows}
    assert "groq" in {item.provider for item in release.table.unranked}


def test_deprecated_offers_are_hidden(release: Release) -> None:
    expired = {
        (e.provider, e.model, e.region, e.certainty)
        for e in release.catalogue.evidence
        if e.deprecation_date and e.deprecation_date < release.computed_at.date()
    }
    shown = {(r.provider.id, r.model.id, r.region, r.certainty) for r in release.rows}

    assert expired
    assert expired.isdisjoint(shown)


def test_every_row_has_an_interval_and_sources(release: Release) -> None:
    assert INTERVAL_LEVEL == 0.95
    for row in release.rows:
        for period in Period:
            total = row.carbon[period].total
            assert 0 < total.low < total.value < total.high
        assert row.energy.source
        assert row.grid[Period.YEAR].factor.licence
        assert row.pue.note
