"""The energy under the power trace, and how far it may be off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.power_trace import TraceRow, peak_power, trace_tolerance, trapezoid
from protocol.units import Joules

SECOND_NS = 1_000_000_000


def row(at_seconds: float, power_watts: float) -> TraceRow:
    return TraceRow(
        at_ns=round(at_seconds * SECOND_NS),
        power_mw=round(power_watts * 1000),
        average_power_mw=0,
        temperature_c=None,
        sm_clock_mhz=None,
    )


STEP = [row(0, 100), row(1, 100), row(2, 300), row(3, 300)]


def test_constant_power_counts_though_it_does_not_change() -> None:
    assert trapezoid([row(n, 300) for n in range(4)], 0, 3 * SECOND_NS) == Joules(900)


def test_a_step_is_interpolated_to_both_edges() -> None:
    assert trapezoid(STEP, SECOND_NS // 2, 5 * SECOND_NS // 2) == pytest.approx(50 + 200 + 150)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (1, 4)])
def test_rows_that_do_not_reach_the_edges_give_nothing(start: int, end: int) -> None:
    assert trapezoid(STEP, start * SECOND_NS, end * SECOND_NS) is None


def test_no_rows_give_nothing() -> None:
    assert trapezoid([], 0, 1) is None
    assert peak_power([], 0, 1) is None


@given(st.permutations(STEP), st.floats(min_value=0.1, max_value=2.9))
def test_parts_add_up_in_any_order(rows: list[TraceRow], cut_seconds: float) -> None:
    cut_ns = round(cut_seconds * SECOND_NS)

    first, second = trapezoid(rows, 0, cut_ns), trapezoid(rows, cut_ns, 3 * SECOND_NS)

    assert first is not None
    assert second is not None
    assert first + second == pytest.approx(600)


def test_peak_is_the_largest_row_of_the_window() -> None:
    assert peak_power(STEP, 0, SECOND_NS) == 100.0
    assert peak_power(STEP, 0, 3 * SECOND_NS) == 300.0


def test_tolerance_is_three_percent_for_long_windows_and_wider_for_short_ones() -> None:
    steady = [row(n / 10, 300) for n in range(400)]

    assert trace_tolerance(steady, 0, 30 * SECOND_NS, 100_000_000) == pytest.approx(0.03)
    assert trace_tolerance(steady, 0, SECOND_NS, 100_000_000) == pytest.approx(0.2)
    assert trace_tolerance(steady, 0, SECOND_NS, 10_000_000) == pytest.approx(0.2)


def test_tolerance_widens_where_rows_see_a_restless_load_by_chance() -> None:
    restless = [row(n / 10, 100 if n % 2 else 500) for n in range(101)]

    assert trace_tolerance(restless, 0, 10 * SECOND_NS, 100_000_000) == pytest.approx(0.2, abs=0.01)
