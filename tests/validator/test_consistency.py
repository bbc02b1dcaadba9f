"""How a report fits what else is known: traces, cohort, other cells, shared GPUs, digits."""

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import DeviceEnergy, Finding, PowerTrace, Report
from tests.support import factories
from validator.cohorts import Observation, log_nano
from validator.consistency import (
    Prior,
    Sharing,
    Standing,
    check_consistency,
    prior_of,
    thermal_residual_mk,
)
from validator.operators import trace_shape

NANO = 10**9
CELL = "this cell"
OWN = Coldkey("own")
ROWS = 200
LOG = log_nano(416_667)
"""Of the example report: 416,667 micro-Wh per 1,000 output tokens."""


def trace(seed: int = 0, **columns: tuple[int, ...]) -> PowerTrace:
    """20 s at 300 W with sensor noise, after 2 s of idle, and a heat sink that follows."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    times = tuple(100 * row - 2_000 for row in range(ROWS + 20))
    powers = tuple(70_000 if at < 0 else 300_000 + round(chance.gauss(0, 4_000)) for at in times)
    heat = [40 + 25 * (1 - math.exp(-max(at, 0) / 8_000)) for at in times]
    found: dict[str, tuple[int, ...]] = {
        "elapsed_ms": times,
        "power_mw": powers,
        "average_power_mw": powers,
        "temperature_c": tuple(round(value) for value in heat),
        "sm_clock_mhz": (1_980,) * len(times),
    }
    return PowerTrace(**(found | columns))


def report(of: PowerTrace | None = None, **changes: object) -> Report:
    energy = factories.device_energy().model_copy(update={"trace": of or trace()})
    update = {"device_energy": (energy,), "duration_us": ROWS * 100_000, **changes}
    return factories.report().model_copy(update=update)


def standing(
    cohorts: Mapping[str, Mapping[str, float]] | None = None, **changes: object
) -> Standing:
    """Operators' values by cell, as shares above the report's own energy."""
    cells = {
        key: {Coldkey(name): LOG + round(NANO * math.log1p(above)) for name, above in cell.items()}
        for key, cell in (cohorts or {}).items()
    }
    fields: dict[str, object] = {
        "miner": Hotkey("miner"),
        "coldkey": OWN,
        "prior": Prior(cohorts=cells, operators={}),
    }
    return Standing(**(fields | changes))  # type: ignore[arg-type]


def finding(code: str, of: Report, beside: Standing | None = None) -> Finding | None:
    found = check_consistency(of, CELL, beside or standing())
    return next((one for one in found if one.code == code), None)


def passed(code: str, of: Report, beside: Standing | None = None) -> bool:
    found = finding(code, of, beside)
    assert found is not None
    return found.passed


def test_an_honest_report_passes_everything_and_nothing_is_hard() -> None:
    cohort = {"a": 0.02, "b": -0.03, "c": 0.01}
    beside = standing(
        {CELL: cohort, "other": {**cohort, OWN: 0.01}},
        earlier_shapes=(trace_shape(trace(1)),),
        sharing=Sharing(durations_us=(20_000_000, 20_000_000), observed_us=45_000_000),
    )

    found = check_consistency(report(), CELL, beside)

    assert [one.code for one in found if not one.passed] == []
    assert not any(one.hard for one in found)
    assert {one.code for one in found} == {
        *("trace_rate_ppm", "trace_ramp_ppm", "thermal_residual_mk", "trace_likeness_ppm"),
        *("cohort_z_milli", "cross_cell_gap_ppm", "simultaneous_time_us", "power_repeat_ppm"),
        "device_fact_count",
    }


def test_a_trace_with_too_few_rows_is_found() -> None:
    thin = trace()
    every = {name: column[::5] for name, column in thin.model_dump().items()}

    assert not passed("trace_rate_ppm", report(PowerTrace(**every)))


def test_a_trace_that_idles_above_its_plateau_is_found() -> None:
    powers = tuple(400_000 if at < 0 else 300_000 for at in trace().elapsed_ms)

    assert not passed("trace_ramp_ppm", report(trace(power_mw=powers)))


def test_a_temperature_that_does_not_follow_the_power_is_found() -> None:
    heat = tuple(85 if row % 40 < 20 else 35 for row in range(ROWS + 20))

    assert thermal_residual_mk(trace()) is not None
    assert passed("thermal_residual_mk", report())
    assert not passed("thermal_residual_mk", report(trace(temperature_c=heat)))


def test_an_earlier_trace_that_was_scaled_is_recognised() -> None:
    scaled = tuple(round(power * 0.9) for power in trace().power_mw)
    beside = standing(earlier_shapes=(trace_shape(trace(7)), trace_shape(trace())))

    assert not passed("trace_likeness_ppm", report(trace(power_mw=scaled)), beside)
    assert passed("trace_likeness_ppm", report(trace(3)), beside)


@pytest.mark.parametrize(("above", "within"), [(0.05, True), (0.4, False), (-0.3, False)])
def test_the_distance_from_the_cohort_of_the_rounds_before_is_shown(
    above: float, *, within: bool
) -> None:
    cohort = {str(place): above + 0.01 * place for place in range(-4, 5)}

    assert passed("cohort_z_milli", report(), standing({CELL: cohort})) is within


def test_ones_own_operator_is_no_witness() -> None:
    assert finding("cohort_z_milli", report(), standing({CELL: {OWN: 0.5}})) is None


@pytest.mark.parametrize(("elsewhere", "within"), [(0.02, True), (0.25, False)])
def test_an_offset_that_differs_from_the_miners_other_cells_is_found(
    elsewhere: float, *, within: bool
) -> None:
    others = {"a": 0.0, "b": 0.01, "c": -0.01}
    cells = {CELL: others, "one": {**others, OWN: elsewhere}, "two": {**others, OWN: elsewhere}}

    assert passed("cross_cell_gap_ppm", report(), standing(cells)) is within


def test_runs_that_do_not_fit_one_gpu_one_after_the_other_are_found() -> None:
    both = Sharing(durations_us=(60_000_000, 60_000_000), observed_us=90_000_000)

    assert not passed("simultaneous_time_us", report(), standing(sharing=both))
    assert finding("simultaneous_time_us", report()) is None


def test_a_sensor_that_never_moves_is_found() -> None:
    flat = tuple(70_000 if at < 0 else 300_000 for at in trace().elapsed_ms)

    real = factories.DEVICE.model_copy(update={"name": "NVIDIA X", "uuid": "GPU-1"})

    assert not passed("power_repeat_ppm", report(trace(power_mw=flat), devices=(real,)))
    assert passed("power_repeat_ppm", report(trace(), devices=(real,)))
    assert passed("power_repeat_ppm", report(trace(power_mw=flat)))


def test_facts_that_are_not_those_of_the_named_gpu_are_found() -> None:
    claimed = factories.DEVICE.model_copy(
        update={"name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-1", "memory_mib": 24_564}
    )

    assert not passed("device_fact_count", report(devices=(claimed,)))


def test_the_prior_has_each_operators_value_in_each_cell() -> None:
    history = [
        Observation(
            cell_key=key,
            miner=Hotkey(miner),
            operator=Coldkey(operator),
            round=RoundNumber(number),
            log_nano=log,
        )
        for number, key, miner, operator, log in (
            (1, "one", "a", "old", 100),
            (2, "one", "a", "new", 200),
            (2, "two", "b", "b", 300),
        )
    ]

    prior = prior_of(history, now=RoundNumber(3), round_blocks=360)

    assert prior.operators == {"a": "new", "b": "b"}
    assert prior.cohorts == {"one": {"old": 100, "new": 200}, "two": {"b": 300}}


columns = st.lists(st.integers(-(10**6), 10**6), max_size=40).map(tuple)


@given(times=columns, powers=columns, heat=columns, duration_us=st.integers(0, 10**9))
def test_no_trace_breaks_the_checks(
    times: tuple[int, ...], powers: tuple[int, ...], heat: tuple[int, ...], duration_us: int
) -> None:
    shape = PowerTrace.model_construct(
        elapsed_ms=times,
        power_mw=tuple(abs(power) for power in powers),
        average_power_mw=(),
        temperature_c=heat,
        sm_clock_mhz=(),
    )
    part = DeviceEnergy.model_construct(
        **(factories.device_energy().model_dump() | {"trace": shape})
    )
    odd = report().model_copy(update={"device_energy": (part,), "duration_us": duration_us})

    assert check_consistency(odd, CELL, standing(earlier_shapes=((), (0, 0))))
