"""Evidence of a signed report: integers only, complete, and small enough."""

import json
from dataclasses import replace

import pytest

from miner.devices import DriverFacts
from miner.evidence import (
    EVIDENCE_MAX_BYTES,
    build_device,
    build_device_energy,
    build_nvml_environment,
)
from miner.measurement import Measurement
from miner.refusals import NvmlFailedError
from protocol.messages import DeviceEnergy, MeterKind
from scripts.devnet.gpu.config import DeviceConfig, Fault
from tests.support.metering import meter_bench

DRIVER = DriverFacts(driver_version="580.65.06", nvml_version="13.580.65.06", cuda_version=13_020)


def measured(duration_seconds: float, *devices: DeviceConfig) -> Measurement:
    with meter_bench(*devices) as bench:
        with bench.meter.window() as window:
            bench.load(400, duration_seconds)
        return window.measurement


def size_bytes(parts: tuple[DeviceEnergy, ...]) -> int:
    return sum(
        len(part.trace.model_dump_json()) + len(part.counter.model_dump_json()) for part in parts
    )


def test_a_device_is_described_in_full() -> None:
    with meter_bench() as bench:
        device = build_device(bench.meter.devices[0])

    assert device.uuid == "GPU-SIMULATED-0000"
    assert device.architecture == "Hopper"
    assert device.memory_mib == 81_559
    assert device.power_limit_mw == 700_000
    assert device.persistence_enabled is True


def test_a_board_that_hides_its_limit_cannot_be_reported() -> None:
    fault = Fault(function="nvmlDeviceGetEnforcedPowerLimit", code=3)
    with (
        meter_bench(DeviceConfig(faults=(fault,))) as bench,
        pytest.raises(NvmlFailedError, match="power limit"),
    ):
        build_device(bench.meter.devices[0])


@pytest.mark.parametrize(
    ("is_simulated", "meter"), [(True, MeterKind.SIMULATED_NVML), (False, MeterKind.NVML)]
)
def test_the_environment_says_whether_devices_are_simulated(
    is_simulated: bool,
    meter: MeterKind,
) -> None:
    environment = build_nvml_environment(DRIVER, is_simulated=is_simulated, library_digest=None)

    assert environment.meter is meter
    assert environment.cuda_version == "13.2"


def test_an_unknown_cuda_version_is_said_to_be_unknown() -> None:
    driver = replace(DRIVER, cuda_version=None)

    environment = build_nvml_environment(driver, is_simulated=False, library_digest=None)

    assert environment.cuda_version == "unknown"


def test_energy_comes_with_its_traces_in_integers() -> None:
    measurement = measured(5.0)

    (part,) = build_device_energy(measurement)

    assert part.energy_mj == measurement.energy_mj
    assert part.edges == "idle"
    assert part.tick_us == pytest.approx(100_000, rel=0.01)
    assert part.idle_before_mw == pytest.approx(80_000, rel=0.01)
    assert part.trace_energy_mj == pytest.approx(2_000_000, rel=0.03)
    assert part.flags == ("simulated",)
    assert part.trace.elapsed_ms[0] < 0
    assert part.trace.elapsed_ms[-1] > 5_000
    assert list(part.counter.energy_mj) == sorted(part.counter.energy_mj)
    assert part.counter.elapsed_us[0] < 0
    assert part.counter.elapsed_us[-1] > 5_000_000
    lengths = {
        len(column)
        for column in (
            part.trace.elapsed_ms,
            part.trace.power_mw,
            part.trace.average_power_mw,
            part.trace.temperature_c,
            part.trace.sm_clock_mhz,
        )
    }
    assert len(lengths) == 1
    assert DeviceEnergy.model_validate_json(part.model_dump_json()) == part


def test_two_minutes_keep_every_row() -> None:
    (part,) = build_device_energy(measured(120.0))

    assert len(part.trace.elapsed_ms) >= 1_190


def test_long_runs_on_many_devices_stay_within_their_share_of_the_report() -> None:
    measurement = measured(200.0, *([DeviceConfig(idle_watts=80.0)] * 4))

    parts = build_device_energy(measurement)

    assert size_bytes(parts) <= EVIDENCE_MAX_BYTES
    assert min(len(part.trace.elapsed_ms) for part in parts) >= 300
    for part in parts:
        assert part.trace.elapsed_ms[0] < 0
        assert part.trace.elapsed_ms[-1] > 200_000


def test_an_hour_on_eight_devices_stays_within_its_share_of_the_report() -> None:
    """36,000 rows and as many changes of the counter per device, the largest that occur."""
    brief = measured(2.0)
    row, tick = brief.devices[0].rows[-1], brief.devices[0].ticks[-1]
    step_ns = 100_000_000
    rows = [
        replace(row, at_ns=brief.start_ns + n * step_ns, power_mw=699_999, average_power_mw=699_999)
        for n in range(-10, 36_010)
    ]
    ticks = [
        replace(
            tick,
            earliest_ns=brief.start_ns + n * step_ns,
            latest_ns=brief.start_ns + n * step_ns + 50_000,
            energy_mj=123_456_789_012 + 69_999 * n,
        )
        for n in range(-10, 36_010)
    ]
    device = replace(brief.devices[0], rows=tuple(rows), ticks=tuple(ticks))
    hour = replace(brief, end_ns=brief.start_ns + 36_000 * step_ns, devices=(device,) * 8)

    parts = build_device_energy(hour)

    assert len(parts) == 8
    assert size_bytes(parts) <= EVIDENCE_MAX_BYTES
    assert min(len(part.trace.elapsed_ms) for part in parts) >= 100
    assert all(is_whole(json.loads(part.model_dump_json())) for part in parts)


def is_whole(value: object) -> bool:
    """Whether a JSON value holds no fraction anywhere."""
    if isinstance(value, dict):
        return all(is_whole(inner) for inner in value.values())
    if isinstance(value, list):
        return all(is_whole(inner) for inner in value)
    return not isinstance(value, float)


def test_a_board_without_instant_power_has_no_trace_energy() -> None:
    fault = Fault(function="field:186", code=3)

    (part,) = build_device_energy(measured(2.0, DeviceConfig(faults=(fault,))))

    assert part.trace_energy_mj is None
    assert "trace_missing" in part.flags


def test_a_board_without_a_counter_says_that_its_edges_are_raw() -> None:
    fault = Fault(function="nvmlDeviceGetTotalEnergyConsumption", code=3)

    (part,) = build_device_energy(measured(2.0, DeviceConfig(faults=(fault,))))

    assert part.edges == "raw"
    assert "counter_unsupported" in part.flags
    assert part.counter.elapsed_us == ()


def test_a_board_that_hides_its_temperature_cannot_be_reported() -> None:
    faults = tuple(
        Fault(function=function, code=3)
        for function in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
    )
    measurement = measured(2.0, DeviceConfig(faults=faults))

    with pytest.raises(NvmlFailedError, match="temperature"):
        build_device_energy(measurement)
