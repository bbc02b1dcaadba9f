"""The simulation on the real scoring code: the figures that the design asks for."""

import math

import numpy as np
import pytest
from rich.console import Console

from scripts.simulate import __main__ as command
from scripts.simulate import estimators, scores
from scripts.simulate.network import CONDUCTS, Outcome, play
from scripts.simulate.tables import Figure, Table, show

TRIALS = 300


@pytest.mark.parametrize(("liars", "bias_pct", "error_pct"), [(4, 0.5, 1.5), (6, 3.0, 4.0)])
def test_the_cell_value_withstands_liars(liars: int, bias_pct: float, error_pct: float) -> None:
    bias, error = estimators.error_pct(
        estimators.network_centre, TRIALS, count=20, liars=liars, bias=-0.3
    )

    assert abs(bias) <= bias_pct
    assert error <= error_pct


@pytest.mark.parametrize("liars", [8, 9, 10])
def test_a_cell_of_many_liars_is_contested(liars: int) -> None:
    assert estimators.contested_pct(TRIALS, liars=liars) >= 95


def test_twenty_hotkeys_of_one_operator_move_a_cell_by_one_percent_at_most() -> None:
    assert abs(estimators.sybil_bias_pct(20, 100, collapsed=True)) <= 1.0
    assert abs(estimators.sybil_bias_pct(20, 100, collapsed=False)) >= 10.0


def test_honesty_keeps_its_consistency_and_shading_does_not() -> None:
    honest = scores.mean_consistency(0.0, TRIALS)

    assert honest >= 0.99
    assert scores.mean_consistency(None, TRIALS) / honest - 1 <= 0.01
    assert scores.mean_consistency(-0.2, TRIALS) <= 0.25
    assert scores.mean_consistency(-0.3, TRIALS) <= 0.02


def test_lazy_subsets_are_drawn_as_often_as_the_law_says() -> None:
    assert scores.lazy_exact_pct(5, 64) >= 96
    assert scores.lazy_exact_pct(10, 64) >= 99.5
    drawn = scores.lazy_pct(5, 64, 1_000)
    assert drawn == pytest.approx(scores.lazy_exact_pct(5, 64), abs=300 * math.sqrt(0.04 / 1_000))


@pytest.mark.parametrize("caught", [0.05, 0.1, 0.2, 0.5, 0.97])
def test_cheating_earns_less_than_honesty_where_it_is_caught_one_time_in_twenty(
    caught: float,
) -> None:
    assert scores.value_per_round(caught, 100) < scores.HONEST_VALUE
    played = scores.strikes_value(caught, np.random.default_rng(1), 50_000)
    assert played < scores.HONEST_VALUE


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return play(miners=48, validators=2, rounds=30)


def test_in_a_whole_network_no_cheat_earns_more_than_honesty(outcome: Outcome) -> None:
    assert set(outcome.pay) == {conduct.name for conduct in CONDUCTS}
    assert outcome.pay["honest"] == 1.0
    assert max(outcome.pay.values()) <= 1.02
    assert outcome.pay["replaying"] == 0.0
    assert outcome.pay["quantised, int8"] <= 0.05
    assert outcome.excluded_pct["lazy, 5 % skipped"] >= 80
    assert outcome.excluded_pct["honest"] == 0


def test_the_same_seed_plays_the_same_network() -> None:
    first, second = (play(miners=16, validators=2, rounds=4, seed=3) for _ in range(2))

    assert first == second


def test_a_figure_that_differs_is_shown_beside_the_reported_one() -> None:
    told = Figure(row="a", column="b", value=1.5, reported=2.0, tolerance=0.1)
    near = Figure(row="a", column="c", value=1.95, reported=2.0, tolerance=0.1)
    console = Console(record=True, width=100)

    show(Table(name="t", unit="%", figures=(told, near)), console)

    printed = console.export_text()
    assert "1.5 [2]" in printed
    assert "1 of 2 figures differ" in printed


def test_the_command_prints_the_tables_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["simulate", "5.3", "5.7", "--trials", "20"])

    assert command.main() == 0

    printed = capsys.readouterr().out
    assert "power of a one-sided" in printed
    assert "value of cheating" in printed
