"""Repeated windows and their Student interval."""

from math import exp, lgamma, pi, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.repeats import is_enough, student_factor, summarise_repeats
from protocol.units import Joules
from tests.support.metering import chance_of


def student_share(limit: float, freedom: int) -> float:
    """Probability within plus or minus a limit: Simpson's rule over the density."""
    norm = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(freedom * pi)
    steps = 2_000
    total = 0.0
    for step in range(steps + 1):
        weight = 1 if step in (0, steps) else 4 if step % 2 else 2
        at = limit * step / steps
        total += weight * norm * (1 + at * at / freedom) ** (-(freedom + 1) / 2)
    return 2 * total * limit / steps / 3


@given(st.integers(min_value=1, max_value=2_000))
def test_student_factor_holds_95_of_100(freedom: int) -> None:
    assert student_share(student_factor(freedom), freedom) == pytest.approx(0.95, abs=2e-5)


def test_student_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="at least one"):
        student_factor(0)


def test_repeats_need_two_runs() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        summarise_repeats([Joules(1.0)])


def test_every_run_counts() -> None:
    summary = summarise_repeats([Joules(value) for value in (10.0, 11.0, 12.0)])

    assert summary.mean == 11.0
    assert summary.deviation == 1.0
    assert summary.half_width == pytest.approx(4.3027 / 3**0.5)
    assert summary.count == 3


def test_the_interval_covers_the_mean_in_95_of_100_series() -> None:
    chance, covered, series = chance_of(3), 0, 2_000
    for _ in range(series):
        summary = summarise_repeats([Joules(chance.gauss(100, 3)) for _ in range(5)])
        covered += abs(summary.mean - 100) <= summary.half_width

    assert 0.93 <= covered / series <= 0.97


@pytest.mark.parametrize(
    ("energies", "enough"),
    [([100.0] * 4, False), ([100.0] * 5, True), ([90.0, 110.0] * 7, False), ([90, 110] * 8, True)],
)
def test_repeating_ends_by_the_declared_rule(energies: list[float], enough: bool) -> None:
    assert is_enough([Joules(energy) for energy in energies]) is enough
