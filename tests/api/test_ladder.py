"""The ladder of grid intensities: each rung, its interval, and what it refuses."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.catalogue import Catalogue, PlaceId, ZoneId
from api.footprint import Estimate
from api.grid.intensity import Intensity, Period, Reading, Tier
from api.grid.ladder import HOUR, Ladder, pooled
from api.grid.shape import day_curve
from protocol.errors import SourceError
from protocol.messages import Status

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)
THIS_HOUR = NOW.replace(minute=0)


def reading(start: datetime, value: float = 300.0, zone: str = "NL") -> Reading:
    return Reading(
        zone=ZoneId(zone),
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


def now_in(catalogue: Catalogue, *readings: Reading) -> Intensity:
    history: Mapping[ZoneId, dict[datetime, Reading]] = {
        ZoneId("NL"): {each.start: each for each in readings}
    }
    place = catalogue.places[PlaceId("eu-netherlands")]
    return Ladder(catalogue, history).at(place, Period.NOW, NOW)


def test_a_year_is_the_newest_yearly_mean_and_its_change(catalogue: Catalogue) -> None:
    place = catalogue.places[PlaceId("eu-ireland")]

    found = Ladder(catalogue, {}).at(place, Period.YEAR, NOW)

    assert found.tier is Tier.ANNUAL
    assert found.factor.estimate.value == 301
    assert found.factor.estimate.high == pytest.approx(352)
    assert found.factor.date == "2025"
    assert found.start == datetime(2025, 1, 1, tzinfo=UTC)


def test_the_other_candidate_zone_enters_the_interval(catalogue: Catalogue) -> None:
    place = catalogue.places[PlaceId("us-oregon")]

    found = Ladder(catalogue, {}).at(place, Period.YEAR, NOW)

    assert found.factor.estimate.value == 129
    assert found.factor.estimate.high == 204
    assert "US-NW-PACW" in found.factor.note


def test_a_zone_without_a_level_falls_to_its_country(catalogue: Catalogue) -> None:
    place = replace(catalogue.places[PlaceId("eu-paris")], zone=ZoneId("FR-X"))

    found = Ladder(catalogue, {}).at(place, Period.NOW, NOW)

    assert found.tier is Tier.COUNTRY
    assert found.accounting == "production"
    assert found.factor.estimate.value == 41.2


def test_nothing_known_is_an_error_and_not_a_number(catalogue: Catalogue) -> None:
    place = replace(catalogue.places[PlaceId("eu-paris")], zone=ZoneId("X"), country="XXX")

    with pytest.raises(SourceError, match="no yearly intensity"):
        Ladder(catalogue, {}).at(place, Period.YEAR, NOW)


def test_without_readings_the_hour_is_the_typical_one(catalogue: Catalogue) -> None:
    found = now_in(catalogue)

    assert found.tier is Tier.PROFILE
    assert found.factor.status is Status.MODELLED
    assert (found.start, found.end) == (THIS_HOUR, THIS_HOUR + HOUR)


@pytest.mark.parametrize(
    ("ages_hours", "tier", "value"),
    [
        ((0,), Tier.LIVE, 300.0),
        ((2,), Tier.LIVE_STALE, 302.0),
        ((10,), Tier.LIVE_STALE, 310.0),
        ((10, 24), Tier.PERSISTENCE, 324.0),
        ((2, 24), Tier.LIVE_STALE, 302.0),
        ((23,), Tier.LIVE_STALE, 323.0),
        ((25,), Tier.PROFILE, None),
    ],
)
def test_the_best_rung_that_is_there_is_taken(
    catalogue: Catalogue, ages_hours: tuple[int, ...], tier: Tier, value: float | None
) -> None:
    found = now_in(catalogue, *(reading(THIS_HOUR - HOUR * age, 300.0 + age) for age in ages_hours))

    assert found.tier is tier
    if value is not None:
        assert found.factor.estimate.value == value


def test_a_lower_rung_has_a_wider_interval(catalogue: Catalogue) -> None:
    live = now_in(catalogue, reading(THIS_HOUR)).factor.estimate
    stale = now_in(catalogue, reading(THIS_HOUR - 5 * HOUR)).factor.estimate
    typical = now_in(catalogue).factor.estimate

    widths = [math.log(e.high / e.low) for e in (live, stale, typical)]
    assert widths == sorted(widths)


def test_a_month_of_readings_is_averaged_and_a_patchy_one_is_not(catalogue: Catalogue) -> None:
    place = catalogue.places[PlaceId("eu-netherlands")]
    hours = [THIS_HOUR - HOUR * back for back in range(1, 721)]
    full = {ZoneId("NL"): {hour: reading(hour, 200.0) for hour in hours}}
    patchy = {ZoneId("NL"): {hour: reading(hour, 200.0) for hour in hours[:500]}}

    measured = Ladder(catalogue, full).at(place, Period.MONTH, NOW)
    modelled = Ladder(catalogue, patchy).at(place, Period.MONTH, NOW)

    assert measured.tier is Tier.LIVE
    assert measured.factor.estimate.value == pytest.approx(200.0)
    assert modelled.tier is Tier.PROFILE


def test_typical_curves_average_to_one_over_a_year(catalogue: Catalogue) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for shape in catalogue.shapes.values():
        days = [day_curve(shape, start + timedelta(days=day)) for day in range(0, 365, 5)]
        mean = sum(map(sum, days)) / (len(days) * 24)
        assert mean == pytest.approx(1.0, abs=0.01)


def test_the_cleanest_hour_agrees_with_the_measured_one_in_solar_zones(
    catalogue: Catalogue,
) -> None:
    # zone_variability_2022: California 19 UTC, the Netherlands and Germany about noon
    start = datetime(2026, 6, 21, tzinfo=UTC)
    for zone, expected in (("US-CAL-CISO", 19), ("NL", 12), ("DE", 11)):
        curve = day_curve(catalogue.shapes[ZoneId(zone)], start)
        assert abs(curve.index(min(curve)) - expected) <= 2


def test_several_places_are_averaged_from_the_cleanest_to_the_dirtiest(
    catalogue: Catalogue,
) -> None:
    ladder = Ladder(catalogue, {})
    names = ("eu-paris", "eu-frankfurt")
    here = [ladder.at(catalogue.places[PlaceId(name)], Period.YEAR, NOW) for name in names]

    found = pooled(here).factor.estimate

    assert found == Estimate(
        value=(31 + 342) / 2,
        low=here[0].factor.estimate.low,
        high=here[1].factor.estimate.high,
    )
