"""The product of factors, its interval, and the laws that it obeys."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.footprint import Estimate, footprint, product, rounded, spread, total

positive = st.floats(min_value=1e-6, max_value=1e6)
factors = st.floats(min_value=1.0, max_value=10.0)
estimates = st.builds(spread, positive, factors)


def test_a_footprint_by_hand() -> None:
    found = footprint(
        energy_wh_per_mtok=Estimate(value=50.0, low=40.0, high=100.0),
        pue=Estimate(value=1.2, low=1.2, high=1.2),
        intensity_g_per_kwh=Estimate(value=200.0, low=200.0, high=400.0),
        embodied_g_per_mtok=Estimate(value=3.0, low=1.0, high=7.0),
    )

    assert found.operational_g == pytest.approx(0.050 * 1.2 * 200)
    assert found.total.value == pytest.approx(15.0)
    up = 12 * (math.exp(math.hypot(math.log(2), math.log(2))) - 1)
    assert found.total.high == pytest.approx(15 + math.hypot(up, 4))
    assert found.total.low == pytest.approx(15 - math.hypot(12 - 12 * 0.8, 2))


def test_a_missing_embodied_part_is_none_and_not_zero() -> None:
    one = Estimate(value=1.0, low=1.0, high=1.0)

    found = footprint(
        energy_wh_per_mtok=one, pue=one, intensity_g_per_kwh=one, embodied_g_per_mtok=None
    )

    assert found.embodied_g is None
    assert found.total.value == found.operational_g


@given(st.lists(estimates, min_size=1, max_size=4))
def test_a_product_does_not_depend_on_the_order(parts: list[Estimate]) -> None:
    forward, backward = product(parts), product(parts[::-1])

    assert forward.value == pytest.approx(backward.value)
    assert forward.high == pytest.approx(backward.high)


@given(st.lists(estimates, min_size=1, max_size=4))
def test_an_interval_is_never_wider_than_all_extremes_together(parts: list[Estimate]) -> None:
    found = product(parts)

    slack = 1 + 1e-9
    assert found.high <= math.prod(part.high for part in parts) * slack
    assert found.low >= math.prod(part.low for part in parts) / slack
    assert found.low <= found.value <= found.high


@given(estimates, estimates)
def test_one_more_uncertain_factor_never_narrows(one: Estimate, other: Estimate) -> None:
    alone, both = product([one]), product([one, other])

    assert both.high / both.value >= alone.high / alone.value * (1 - 1e-9)


@given(estimates, estimates)
def test_a_sum_holds_its_value(one: Estimate, other: Estimate) -> None:
    found = total(one, other)

    assert found.value == pytest.approx(one.value + other.value)
    assert 0 <= found.low <= found.value <= found.high


def test_a_zero_factor_makes_a_zero_with_an_upper_end() -> None:
    nothing = Estimate(value=0.0, low=0.0, high=2.0)

    assert product([nothing, spread(3.0, 2.0)]) == Estimate(value=0.0, low=0.0, high=12.0)


@pytest.mark.parametrize("wrong", [(2.0, 3.0, 4.0), (-1.0, -2.0, 3.0), (1.0, 0.5, math.inf)])
def test_no_interval_without_its_value(wrong: tuple[float, float, float]) -> None:
    value, low, high = wrong

    with pytest.raises(ValueError, match="not an interval"):
        Estimate(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, 0.0), (123456.0, 123500.0), (0.00123456, 0.001235), (9.9996, 10.0)]
)
def test_figures_are_shown_with_four_digits(value: float, shown: float) -> None:
    assert rounded(value) == shown
