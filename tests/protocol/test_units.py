"""Conversions: exact, inverse, and the only place of their factors."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import units
from protocol.units import Joules, Seconds, WattHours, Watts, WhPer1kTokens

# The wire's range: integers below 2^53.
wire_integers = st.integers(min_value=0, max_value=2**53 - 1)
# Up to 1 TJ in mJ, so that neighbouring floats are closer than half a unit.
quantities = st.integers(min_value=0, max_value=10**15)


@pytest.mark.parametrize(
    ("converted", "expected"),
    [
        (units.joules(1_500), 1.5),
        (units.millijoules(Joules(1.5)), 1_500),
        (units.watts(75_250), 75.25),
        (units.milliwatts(Watts(75.25)), 75_250),
        (units.seconds(2_500_000_000), 2.5),
        (units.seconds_from_us(2_500_000), 2.5),
        (units.nanoseconds(Seconds(0.5)), 500_000_000),
        (units.microseconds(1_999), 1),
        (units.milliseconds(Seconds(0.25)), 250.0),
        (units.watt_hours(Joules(3_600.0)), 1.0),
        (units.joules_from_wh(WattHours(1.0)), 3_600.0),
        (units.watt_hours_from_kwh(1.5), 1_500.0),
        (units.kilowatt_hours(WattHours(1_500.0)), 1.5),
        (units.wh_per_1k_from_uwh(416_667), 0.416667),
        (units.wh_per_mtok(WhPer1kTokens(0.4)), 400.0),
        (units.ratio(50_000), 0.05),
        (units.parts_per_million(0.05), 50_000),
        (units.mebibytes(1_048_576), 1.0),
    ],
)
def test_conversion_when_worked_out_by_hand(converted: float, expected: float) -> None:
    assert converted == expected


@given(quantities)
def test_integers_survive_the_way_to_si_and_back(amount: int) -> None:
    assert units.millijoules(units.joules(amount)) == amount
    assert units.milliwatts(units.watts(amount)) == amount
    assert units.nanoseconds(units.seconds(amount)) == amount
    assert units.parts_per_million(units.ratio(amount)) == amount


@given(st.floats(min_value=0, max_value=1e15, allow_subnormal=False))
def test_watt_hours_and_joules_are_inverse_when_rounded(amount: float) -> None:
    there_and_back = units.joules_from_wh(units.watt_hours(Joules(amount)))

    assert there_and_back == pytest.approx(amount, rel=1e-15)


@given(energy_mj=wire_integers, count=st.integers(min_value=1, max_value=10**9))
def test_uwh_per_1k_is_the_exact_quotient_rounded_half_up(energy_mj: int, count: int) -> None:
    # mJ / 3.6e6 = Wh; times 1e6 for micro-Wh, times 1,000 per count.
    exact = Fraction(energy_mj, 3_600_000) * 1_000_000 * 1_000 / count

    rounded = units.uwh_per_1k(energy_mj, count)

    assert rounded - Fraction(1, 2) <= exact < rounded + Fraction(1, 2)


@given(energy_mj=quantities, count=st.integers(min_value=1, max_value=10**6))
def test_wire_and_float_figures_agree(energy_mj: int, count: int) -> None:
    of_floats = units.wh_per_1k(units.joules(energy_mj), count)
    of_integers = units.wh_per_1k_from_uwh(units.uwh_per_1k(energy_mj, count))

    assert of_integers == pytest.approx(of_floats, rel=1e-12, abs=0.5e-6)


@given(st.integers(max_value=0))
def test_energy_per_token_is_refused_when_nothing_was_counted(count: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        units.wh_per_1k(Joules(1.0), count)
    with pytest.raises(ValueError, match="at least 1"):
        units.uwh_per_1k(1, count)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_number_becomes_of_what_is_none(bad: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        units.millijoules(Joules(bad))
    with pytest.raises((ValueError, OverflowError)):
        units.parts_per_million(bad)
