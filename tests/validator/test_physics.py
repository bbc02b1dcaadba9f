"""Energy and time checks: honest runs pass, impossible ones are named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import RoundNumber
from protocol.messages import DeviceEnergy, Finding, PowerTrace, Report
from protocol.units import Seconds, Watts
from tests.support import factories
from tests.support.chain import FakeLedger
from tests.support.simulator import SimulatedMiner
from validator.physics import Background, Baseline, check_physics, trace_energy_mj

BACKGROUND = Background(
    parameters=134_515_008,
    weights_bytes=4 * 134_515_008,
    observed=Seconds(60.0),
    baseline=Baseline(median_power=Watts(150.0), median_duration=Seconds(2.4)),
    earlier_energies_mj=(),
    uuid_claims=0,
)


@pytest.fixture
def report() -> Report:
    """An honest run of the simulator."""
    return SimulatedMiner("ann").report(FakeLedger(number=100), RoundNumber(2))


def failures(report: Report, background: Background = BACKGROUND) -> list[str]:
    return [finding.code for finding in check_physics(report, background) if not finding.passed]


def changed_device(report: Report, **update: object) -> Report:
    (device,) = report.device_energy
    return report.model_copy(update={"device_energy": (device.model_copy(update=update),)})


def with_energy(report: Report, factor: float) -> Report:
    """The run with every joule scaled, as a shading device would show it."""
    (device,) = report.device_energy

    def scaled(value: int) -> int:
        return round(value * factor)

    trace = device.trace.model_copy(update={"power_mw": tuple(map(scaled, device.trace.power_mw))})
    start = device.counter_start_mj
    device = device.model_copy(
        update={
            "energy_mj": scaled(device.energy_mj),
            "counter_end_mj": start + scaled(device.counter_end_mj - start),
            "trace": trace,
            "counter": device.counter.model_copy(
                update={
                    "energy_mj": tuple(
                        start + scaled(value - start) for value in device.counter.energy_mj
                    )
                }
            ),
        }
    )
    leaves = tuple(
        leaf.model_copy(update={"start_mj": scaled(leaf.start_mj), "end_mj": scaled(leaf.end_mj)})
        for leaf in report.leaves
    )
    return report.model_copy(
        update={
            "energy_mj": device.energy_mj,
            "device_energy": (device,),
            "leaves": leaves,
        }
    )


def test_an_honest_run_passes_everything(report: Report) -> None:
    assert failures(report) == []


def test_a_consistently_shaded_run_passes_physics(report: Report) -> None:
    assert failures(with_energy(report, 0.7)) == []


def test_less_than_the_idle_power_is_impossible(report: Report) -> None:
    assert "idle_floor_mj" in failures(with_energy(report, 0.002))


def test_more_than_the_power_limit_is_impossible(report: Report) -> None:
    assert "power_ceiling_mj" in failures(with_energy(report, 6.0))


def test_half_the_counters_energy_is_found(report: Report) -> None:
    edited = changed_device(report, energy_mj=report.energy_mj // 3)
    edited = edited.model_copy(update={"energy_mj": report.energy_mj // 3})

    assert {"leaf_sum_gap_mj", "counter_gap_mj", "trace_gap_ppm"} <= set(failures(edited))


def test_devices_that_do_not_add_up_are_found(report: Report) -> None:
    assert "device_sum_gap_mj" in failures(changed_device(report, energy_mj=1))


def test_a_counter_that_runs_backwards_is_found(report: Report) -> None:
    first, second, *rest = report.leaves
    leaves = (first.model_copy(update={"end_mj": second.start_mj + 1}), second, *rest)

    assert "counter_backwards_count" in failures(report.model_copy(update={"leaves": leaves}))


def test_prompts_that_overlap_in_time_are_found(report: Report) -> None:
    first, *rest = report.leaves
    leaves = (first.model_copy(update={"end_us": rest[0].start_us + 1}), *rest)

    assert "leaf_time_order_count" in failures(report.model_copy(update={"leaves": leaves}))


def test_a_run_longer_than_the_validator_waited_is_impossible(report: Report) -> None:
    background = replace(BACKGROUND, observed=Seconds(-9.5))

    assert "observed_time_us" in failures(report, background)


def test_a_run_faster_than_the_memory_is_impossible(report: Report) -> None:
    background = replace(BACKGROUND, parameters=10**12, weights_bytes=2 * 10**12)

    assert {"time_floor_us", "bandwidth_share_ppm"} <= set(failures(report, background))


def test_a_trace_that_is_missing_counts_as_disagreeing(report: Report) -> None:
    empty = PowerTrace(
        elapsed_ms=(), power_mw=(), average_power_mw=(), temperature_c=(), sm_clock_mhz=()
    )

    assert "trace_gap_ppm" in failures(changed_device(report, trace=empty))


def test_ragged_columns_and_foreign_devices_are_found(report: Report) -> None:
    (device,) = report.device_energy
    ragged = device.trace.model_copy(update={"temperature_c": (40,)})

    assert "device_mismatch_count" in failures(changed_device(report, trace=ragged))
    assert "device_mismatch_count" in failures(changed_device(report, uuid="GPU-other"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"baseline": Baseline(median_power=Watts(300.0), median_duration=Seconds(2.4))},
         "mean_power_ppm"),
        ({"baseline": Baseline(median_power=Watts(150.0), median_duration=Seconds(1.0))},
         "duration_ppm"),
        ({"uuid_claims": 1}, "gpu_uuid_claim_count"),
    ],
)  # fmt: skip
def test_what_only_statistics_say_is_soft(
    report: Report, changes: dict[str, object], code: str
) -> None:
    background = replace(BACKGROUND, **changes)  # type: ignore[arg-type]
    found = [finding for finding in check_physics(report, background) if not finding.passed]

    assert [finding.code for finding in found] == [code]
    assert not found[0].hard


def test_two_runs_of_the_same_energy_are_suspicious(report: Report) -> None:
    background = replace(BACKGROUND, earlier_energies_mj=(report.energy_mj + 1,))

    assert failures(report, background) == ["repeat_gap_ppm"]


def test_a_leaf_beside_its_own_counter_trace_is_suspicious(report: Report) -> None:
    leaves = [leaf.model_copy(update={"end_mj": leaf.start_mj}) for leaf in report.leaves[:-1]]
    leaves = [leaf.model_copy(update={"start_mj": 0, "end_mj": 0}) for leaf in leaves]
    edited = report.model_copy(update={"leaves": (*leaves, report.leaves[-1])})

    assert "leaf_counter_ppm" in failures(edited)


def trace(*rows: tuple[int, int]) -> PowerTrace:
    times, powers = zip(*rows, strict=True)
    return PowerTrace(
        elapsed_ms=times,
        power_mw=powers,
        average_power_mw=powers,
        temperature_c=(40,) * len(rows),
        sm_clock_mhz=(1,) * len(rows),
    )


def test_the_trapezoid_is_cut_at_the_windows_edges() -> None:
    ramp = trace((-1_000, 0), (1_000, 200_000), (3_000, 200_000))

    assert trace_energy_mj(ramp, 2_000_000) == 150_000 + 200_000


def test_a_trace_that_ends_early_goes_on_as_it_was() -> None:
    assert trace_energy_mj(trace((0, 100_000), (1_000, 100_000)), 2_000_000) == 200_000


@given(
    energy_mj=st.integers(0, 2**53 - 1),
    duration_us=st.integers(0, 2**53 - 1),
    tick_us=st.integers(0, 2**53 - 1),
    power_mw=st.integers(0, 2**53 - 1),
)
def test_no_number_breaks_the_checks(
    energy_mj: int, duration_us: int, tick_us: int, power_mw: int
) -> None:
    device: DeviceEnergy = factories.device_energy().model_copy(
        update={
            "energy_mj": energy_mj,
            "tick_us": tick_us,
            "counter_end_mj": 2**53 - 1,
            "trace": trace((-(2**53) + 1, power_mw), (0, power_mw), (2**53 - 1, 0)),
        }
    )
    absurd = factories.report().model_copy(
        update={
            "energy_mj": energy_mj,
            "duration_us": duration_us,
            "device_energy": (device,),
        }
    )

    found: tuple[Finding, ...] = check_physics(absurd, BACKGROUND)

    assert all(abs(finding.value) < 2**53 for finding in found)
