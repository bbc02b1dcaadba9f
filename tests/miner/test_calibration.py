"""The record that an operator sends in from real hardware."""

import json

import pynvml
import pytest

from miner.calibration import calibrate_record, record_json
from miner.measurement import Flag
from scripts.devnet.gpu.config import DeviceConfig, Fault
from tests.support.metering import meter_bench


def test_the_record_holds_tick_call_cost_and_counter_against_trace() -> None:
    config = DeviceConfig(counter_tick_seconds=0.05, power_tick_seconds=0.1, noise_watts=0.5)
    with meter_bench(config) as bench:
        record = calibrate_record(
            bench.meter, bench.timer, load=lambda duration: bench.load(400, duration)
        )

    device = record.devices[0]
    assert device.tick is not None
    assert device.tick.period_ns == pytest.approx(50_000_000, rel=0.01)
    assert device.power_period_ns == pytest.approx(100_000_000, rel=0.1)
    assert device.energy_call is not None
    assert 0 < device.energy_call.median_ns <= device.energy_call.high_ns
    assert device.idle.mean_power_watts == pytest.approx(70, rel=0.01)
    assert device.load is not None
    assert device.load.counter_joules == pytest.approx(4_000, rel=1e-3)
    assert device.load.trace_ratio == pytest.approx(0, abs=0.03)


def test_a_device_without_a_counter_says_so_in_the_record() -> None:
    faults = (
        Fault(function="nvmlDeviceGetTotalEnergyConsumption", code=pynvml.NVML_ERROR_NOT_SUPPORTED),
    )
    with meter_bench(DeviceConfig(faults=faults)) as bench:
        device = calibrate_record(bench.meter, bench.timer).devices[0]

    assert device.tick is None
    assert device.energy_call is None
    assert device.load is None
    assert Flag.COUNTER_UNSUPPORTED in device.idle.flags


def test_the_record_is_json() -> None:
    with meter_bench() as bench:
        record = calibrate_record(bench.meter, bench.timer)

    assert json.loads(json.dumps(record_json(record)))["schema"] == "carbonbench-calibration/1"
