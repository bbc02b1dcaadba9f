"""The record that an operator sends in from real hardware."""

import json
import time
from pathlib import Path

import pynvml
import pytest

from miner.calibration import calibrate_record, command_load, record_json
from miner.measurement import Flag
from protocol.errors import ConfigurationError
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


def test_the_record_holds_exactly_what_is_asked_for() -> None:
    with meter_bench() as bench:
        record = record_json(calibrate_record(bench.meter, bench.timer))

    assert set(record) == {"schema", "driver", "devices"}
    (device,) = json.loads(json.dumps(record["devices"]))
    assert set(device) == {
        "facts", "tick", "power_period_ns", "energy_call", "power_call", "idle", "load",
    }  # fmt: skip
    assert set(device["tick"]) == {"period_ns", "jitter_ns", "drift_ns", "count"}
    assert set(device["energy_call"]) == {"median_ns", "high_ns"}
    assert {"counter_joules", "trace_joules", "trace_ratio"} <= set(device["idle"])


def test_a_command_is_a_load(tmp_path: Path) -> None:
    mark = tmp_path / "a file"

    command_load(f"touch '{mark}'")(10.0)

    assert mark.exists()


@pytest.mark.parametrize("command", ["no-such-program-here", "false"])
def test_a_load_that_does_not_run_is_named(command: str) -> None:
    with pytest.raises(ConfigurationError, match="the load does not run"):
        command_load(command)(10.0)


def test_a_load_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.calibration.LOAD_COMMAND_SECONDS", 0.1)

    started = time.monotonic()
    command_load("sleep 30")(10.0)

    assert time.monotonic() - started < 10
