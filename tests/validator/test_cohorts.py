"""Cell values: operators, screen, estimators, intervals."""

import math
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import MAD_FLOOR_PPM, PRIOR_SD_PPM
from protocol.ids import Coldkey, Hotkey, RoundNumber
from tests.support import factories
from validator.cohorts import (
    HALF_LIFE_BLOCKS,
    Estimate,
    Observation,
    Totals,
    blended_variance,
    cell_value,
    energy_uwh,
    estimate,
    freshness_ppm,
    log_nano,
    median,
    operator_logs,
)

NANO = 10**9
TRUE_LOG = log_nano(1_000_000)
OPERATORS = 20


def spread(seed: int, count: int, *, liars: int = 0, bias: float = 0.0) -> list[int]:
    """Operators' values around one energy, 4.5 % apart, the first ones lying."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    return [
        TRUE_LOG
        + round(NANO * (chance.gauss(0, 0.045) + (math.log1p(bias) if index < liars else 0)))
        for index in range(count)
    ]


def errors(liars: int, bias: float, *, trials: int = 200) -> list[float]:
    """Relative errors of the estimate over many cells."""
    found = [
        estimate(spread(seed, OPERATORS, liars=liars, bias=bias)).centre for seed in range(trials)
    ]
    return [math.expm1((centre - TRUE_LOG) / NANO) for centre in found]


@given(st.integers(min_value=1, max_value=10**12))
def test_logarithm_and_exponential_invert(energy: int) -> None:
    assert energy_uwh(log_nano(energy)) == pytest.approx(energy, rel=2e-9, abs=1)


def test_logarithm_is_correctly_rounded() -> None:
    assert log_nano(1_000_000) == 13_815_510_558
    assert log_nano(1) == 0


def test_no_energy_has_no_logarithm() -> None:
    with pytest.raises(ValueError, match="positive"):
        log_nano(0)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1))
def test_median_ignores_order_and_lies_within(values: list[int]) -> None:
    assert median(values) == median(list(reversed(values)))
    assert min(values) <= median(values) <= max(values)


def test_the_variance_is_the_priors_when_alone_and_the_cohorts_when_many() -> None:
    prior, floor = PRIOR_SD_PPM * 1000, MAD_FLOOR_PPM * 1000

    assert blended_variance(Decimal(0), 1) == Decimal(prior) ** 2
    many = float(blended_variance(Decimal(0), 10_000))
    assert math.sqrt(many) == pytest.approx(floor, rel=0.001)


def test_honest_cells_have_no_bias_and_one_percent_error() -> None:
    found = errors(0, 0.0)

    assert abs(sum(found) / len(found)) <= 0.005
    assert math.sqrt(sum(error**2 for error in found) / len(found)) <= 0.015


def test_a_fifth_of_liars_at_minus_30_percent_moves_nothing() -> None:
    found = errors(4, -0.3)

    assert abs(sum(found) / len(found)) <= 0.005
    assert math.sqrt(sum(error**2 for error in found) / len(found)) <= 0.015


def test_three_tenths_of_liars_move_it_by_3_percent_at_most() -> None:
    found = errors(6, -0.3)

    assert abs(sum(found) / len(found)) <= 0.03


@pytest.mark.parametrize("liars", [8, 10])
def test_many_liars_make_the_cell_contested(liars: int) -> None:
    contested = [
        estimate(spread(seed, OPERATORS, liars=liars, bias=-0.3)).contested for seed in range(200)
    ]

    assert sum(contested) >= 190


def test_honest_cells_are_not_contested() -> None:
    contested = [estimate(spread(seed, OPERATORS)).contested for seed in range(200)]

    assert sum(contested) <= 10


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    found: list[Estimate] = [estimate(spread(seed, 6)) for seed in range(300)]

    hits = [abs(value.centre - TRUE_LOG) <= value.half_width for value in found]
    assert sum(hits) >= 285


def test_the_interval_narrows_with_operators() -> None:
    widths = [estimate([TRUE_LOG] * count).half_width for count in (1, 2, 3, 5, 10, 30)]

    assert widths == sorted(widths, reverse=True)


def test_reports_fade_by_half_in_a_week() -> None:
    assert freshness_ppm(0) == 1_000_000
    assert freshness_ppm(HALF_LIFE_BLOCKS) == 500_000
    assert freshness_ppm(2 * HALF_LIFE_BLOCKS) == 250_000


def observations(*logs: int, operator: str = "a", first: int = 10) -> list[Observation]:
    return [
        Observation(
            cell_key="cell",
            miner=Hotkey(operator),
            operator=Coldkey(operator),
            round=RoundNumber(first + place),
            log_nano=log,
        )
        for place, log in enumerate(logs)
    ]


def test_an_operator_counts_once_however_often_it_reports() -> None:
    seen = observations(5, 5, 9) + observations(7, operator="b")

    logs = operator_logs(seen, now=RoundNumber(13), round_blocks=1)

    assert logs == {"a": 5, "b": 7}


def test_newer_reports_outweigh_older_ones() -> None:
    seen = observations(1, 9)

    logs = operator_logs(seen, now=RoundNumber(11), round_blocks=HALF_LIFE_BLOCKS)

    assert logs == {"a": 9}


def test_one_operator_cannot_move_a_cell_with_many_hotkeys() -> None:
    honest = {Coldkey(f"h{index}"): log for index, log in enumerate(spread(1, 10))}

    alone = estimate(list(honest.values())).centre
    attacked = estimate([*honest.values(), TRUE_LOG + round(NANO * math.log(0.8))]).centre

    assert abs(math.expm1((attacked - alone) / NANO)) <= 0.01


@pytest.mark.parametrize(
    ("operators", "label", "method"),
    [(1, "single", "single"), (2, "single", "mandel-paule"), (3, "corroborated", "mandel-paule")],
)
def test_labels_say_how_many_stand_behind_a_figure(operators: int, label: str, method: str) -> None:
    logs = {Coldkey(str(index)): TRUE_LOG for index in range(operators)}
    totals = Totals(prompts=1000, input_tokens=60_000, output_tokens=10_000)

    value = cell_value(factories.cell(), "simulated", logs, reports=operators, totals=totals)

    assert (value.label, value.method) == (label, method)
    assert value.energy_per_1k_output_tokens_uwh == 1_000_000
    assert value.energy_per_1k_queries_uwh == 10_000_000
    assert value.energy_per_1k_total_tokens_uwh == 142_857
    assert value.low_uwh < 1_000_000 < value.high_uwh
