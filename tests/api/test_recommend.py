"""Recommendations: the best hour lies ahead, and a refusal names what excludes all."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from api.catalogue import Catalogue, PlaceId, ZoneId
from api.grid.intensity import Period, Reading, Tier
from api.grid.ladder import HOUR, Ladder
from api.ranking import Filters
from api.recommend import Advice, NoOption, best_hour, recommend
from api.release import Release

THIS_HOUR = datetime(2026, 11, 21, 20, tzinfo=UTC)


def reported(start: datetime, value: float) -> Reading:
    return Reading(
        zone=ZoneId("NL"),
        start=start,
        end=start + HOUR,
        intensity_g_per_kwh=value,
        basis="lifecycle",
        signal="average",
        is_estimated=False,
        source="test",
        licence="CC0",
        is_redistributable=True,
    )


@pytest.mark.parametrize(("back", "ahead"), [(14, 10), (23, 1)])
def test_the_best_hour_lies_ahead_when_yesterday_stands_for_it(
    catalogue: Catalogue, back: int, ahead: int
) -> None:
    day = [reported(THIS_HOUR - HOUR * age, 50.0 if age == back else 300.0) for age in range(4, 28)]
    place = catalogue.places[PlaceId("eu-netherlands")]
    ladder = Ladder(catalogue, {ZoneId("NL"): {each.start: each for each in day}})

    found = best_hour(place, ladder, THIS_HOUR)

    assert found is not None
    assert found.hour.tier is Tier.PERSISTENCE
    assert found.hour.start == THIS_HOUR + HOUR * ahead
    assert found.hour.end == found.hour.start + HOUR
    assert f"{found.hour.start:%H:%M}" in found.text


def asked(release: Release, filters: Filters) -> Advice | NoOption:
    rows = release.rows_of(release.names["llama-3.1-8b"])
    return recommend(
        rows=rows,
        admitted=[row for row in rows if filters.admits(row)],
        filters=filters,
        period=Period.YEAR,
        hour_at=lambda _: None,
        unsold=(),
    )


def test_a_single_binding_constraint_is_named_by_its_parameter(release: Release) -> None:
    found = asked(release, Filters(max_price_usd_per_mtok=Decimal("0.0001")))

    assert found == NoOption(binding=("max_price",))


def test_constraints_that_bind_together_are_named_together(release: Release) -> None:
    filters = Filters(
        max_price_usd_per_mtok=Decimal("0.0001"),
        min_speed_tokens_per_second=9_999.0,
        places=frozenset({"eu"}),
    )

    found = asked(release, filters)

    assert found == NoOption(binding=("max_price", "min_speed"), is_joint=True)


def test_nothing_is_named_when_nothing_would_help(release: Release) -> None:
    found = recommend(
        rows=(),
        admitted=(),
        filters=Filters(min_speed_tokens_per_second=1.0),
        period=Period.YEAR,
        hour_at=lambda _: None,
        unsold=(),
    )

    assert found == NoOption(binding=())
