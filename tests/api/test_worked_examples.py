"""The worked examples of the article that started the project, computed instead of repeated.

What the data do not support is answered as not supported.
"""

import pytest

from api.catalogue import Access
from api.comparison import claims_lower, difference
from api.grid.intensity import Period
from api.grid.ladder import Ladder
from api.offerings import Row
from api.release import Release

YEAR = Period.YEAR


def own(release: Release, model: str, place: str, regime: str = "served") -> Row:
    """A model on the measured machine in a place."""
    (row,) = [
        row
        for row in release.rows
        if row.access is Access.SELF_HOSTED
        and row.model.id == model
        and row.places[0].id == place
        and row.regime == regime
    ]
    return row


@pytest.mark.parametrize("model", ["llama-3.1-8b", "mistral-7b"])
def test_the_same_model_in_four_places_follows_their_grids(release: Release, model: str) -> None:
    places = ("eu-netherlands", "eu-ireland", "us-virginia", "ap-singapore")
    rows = [own(release, model, place) for place in places]

    grids = [row.grid[YEAR].factor.estimate.value for row in rows]
    carbon = [row.carbon[YEAR].total.value for row in rows]

    assert grids == [253, 301, 418, 483]
    assert carbon == sorted(carbon)
    assert all(claims_lower(rows[0], other, YEAR) for other in rows[2:])


def test_a_year_in_the_netherlands_is_twice_what_the_article_read_once(release: Release) -> None:
    grid = own(release, "llama-3.1-8b", "eu-netherlands").grid[YEAR].factor.estimate

    assert grid.low > 129


def test_8b_in_the_netherlands_by_hand(release: Release) -> None:
    row = own(release, "llama-3.1-8b", "eu-netherlands")

    # 0.11858 J/token at batch 64 = 32.94 Wh/Mtok; x 1.25 x 253 g/kWh, and 2.02 g embodied
    found = row.carbon[YEAR]
    assert found.operational_g == pytest.approx(32.939e-3 * 1.25 * 253, rel=1e-4)
    assert found.embodied_g == pytest.approx(
        (273_000 + 5_700_000 / 8) / 5_147.0 * 1e6 / (3 * 365 * 86_400), rel=1e-3
    )


def test_a_70b_model_in_the_netherlands_is_not_lower_than_8b_in_singapore(
    release: Release,
) -> None:
    large = own(release, "llama-3.1-70b", "eu-netherlands")
    small = own(release, "llama-3.1-8b", "ap-singapore")

    assert not claims_lower(large, small, YEAR)
    assert claims_lower(small, large, YEAR)


def test_a_70b_model_takes_more_than_five_times_the_energy_of_8b(release: Release) -> None:
    large = own(release, "llama-3.1-70b", "eu-paris").energy.estimate
    small = own(release, "llama-3.1-8b", "eu-paris").energy.estimate

    assert large.low / small.high > 5
    assert large.value / small.value == pytest.approx(6.7, abs=0.1)


def test_8b_never_climbs_past_fifty_grams_in_virginia(release: Release) -> None:
    row = own(release, "llama-3.1-8b", "us-virginia")
    ladder: Ladder = release.ladder
    hours = ladder.day(row.places[0], release.computed_at.replace(minute=0))
    worst = max(hour.factor.estimate.high for hour in hours)

    grams = row.energy.estimate.value / 1e3 * row.pue.estimate.value * worst

    assert grams < 50


def test_timing_helps_in_california_and_not_in_singapore(release: Release) -> None:
    def swing(place: str) -> float:
        row = own(release, "llama-3.1-8b", place)
        day = release.ladder.day(row.places[0], release.computed_at.replace(minute=0))
        values = [hour.factor.estimate.value for hour in day]
        return (max(values) - min(values)) / (sum(values) / len(values))

    assert swing("us-california") > 0.3
    assert swing("ap-singapore") < 0.1


def test_prices_do_differ_between_regions(release: Release) -> None:
    prices = {
        row.price.input_usd_per_mtok
        for row in release.rows
        if row.model.id == "llama-3-70b" and row.provider.id == "aws-bedrock" and row.price
        if row.region
    }

    assert max(p for p in prices if p) / min(p for p in prices if p) > 1.6


def test_aws_singapore_has_no_row_for_want_of_evidence(release: Release) -> None:
    assert not [
        row
        for row in release.rows
        if row.provider.id == "aws-bedrock" and row.region == "ap-southeast-1"
    ]


def test_what_two_rows_share_cancels(release: Release) -> None:
    one = own(release, "llama-3.1-8b", "eu-frankfurt")
    other = own(release, "llama-3.1-8b", "eu-paris")

    found = difference(one, other, YEAR)

    assert found.shared == ("energy", "pue")
    assert found.is_meaningful
    assert found.lower is other


def test_a_row_does_not_differ_from_itself(release: Release) -> None:
    row = own(release, "llama-3.1-8b", "eu-paris")

    found = difference(row, row, YEAR)

    assert not found.is_meaningful
    assert found.saved_g.value == 0
