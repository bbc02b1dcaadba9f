"""What goes wrong with NVML: a typed refusal or a flagged lower tier, never a wrong number.

Everything goes through the real pynvml on simulated GPUs in virtual time.
"""

import sys
from dataclasses import dataclass
from types import ModuleType

import pynvml
import pytest

from miner.measurement import Flag, Measurement, Method, refuse_unless_consistent
from miner.meter import open_meter
from miner.refusals import (
    CounterBackwardsError,
    CounterJumpedError,
    CounterResetError,
    CounterStuckError,
    CounterUnsupportedError,
    ForeignProcessesError,
    GpuLostError,
    MeterError,
    MigEnabledError,
    NoDevicesError,
    NvmlFailedError,
    NvmlMissingError,
    PermissionRefusedError,
    PynvmlShadowedError,
    TraceApartError,
    VgpuError,
    WindowTooShortError,
    WrongScopeError,
)
from scripts.devnet.gpu.config import DeviceConfig, Fault, GpuConfig
from scripts.devnet.gpu.install import simulated_gpus
from tests.support.metering import MeterBench, meter_bench

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
CONSTANT = DeviceConfig(idle_watts=300.0)
"""300 W all the time: 450 J in 1.5 s, whatever the reading."""
TRUTH_JOULES = 450.0


def metered(bench: MeterBench, duration_seconds: float = 1.5) -> Measurement:
    with bench.meter.window() as window:
        bench.timer.sleep(duration_seconds)
    return window.measurement


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault of the research report's table, and what must come of it."""

    fault: str
    update: dict[str, object]
    """What is wrong with the device."""
    refusal: type[MeterError] | None = None
    tier: Flag | None = None
    """Flag of the lower tier where there is a number."""
    lost_at_close: bool = False
    """Whether the GPU falls off the bus after the work, before the closing read."""
    machine_faults: tuple[Fault, ...] = ()


def _counter_fails(code: int) -> dict[str, object]:
    return {"faults": (Fault(function=ENERGY, code=code),)}


TABLE = (
    Row(fault="none", update={}),
    Row(
        fault="counter NOT_SUPPORTED",
        update=_counter_fails(pynvml.NVML_ERROR_NOT_SUPPORTED),
        tier=Flag.COUNTER_UNSUPPORTED,
    ),
    Row(
        fault="counter NO_PERMISSION",
        update=_counter_fails(pynvml.NVML_ERROR_NO_PERMISSION),
        tier=Flag.COUNTER_NO_PERMISSION,
    ),
    Row(fault="pre-Volta", update={"architecture": 4}, refusal=CounterUnsupportedError),
    Row(
        fault="counter reset inside",
        update={"counter_reset_at_seconds": 2.3},
        refusal=CounterResetError,
    ),
    Row(
        fault="GPU_IS_LOST at the closing read",
        update={},
        refusal=GpuLostError,
        lost_at_close=True,
    ),
    Row(fault="MIG on", update={"mig_enabled": True}, refusal=MigEnabledError),
    Row(
        fault="nvmlInit fails",
        update={},
        refusal=NvmlMissingError,
        machine_faults=(
            Fault(function="nvmlInitWithFlags", code=pynvml.NVML_ERROR_DRIVER_NOT_LOADED),
        ),
    ),
)
"""Every row of section 3.4 of the research report: 300 W constant, 1.5 s, true 450 J."""


def outcome(row: Row) -> Measurement:
    """The row's window, whatever comes of it."""
    config = GpuConfig(devices=(CONSTANT.model_copy(update=row.update),), faults=row.machine_faults)
    with meter_bench(config=config) as bench:
        with bench.meter.window() as window:
            bench.timer.sleep(1.5)
            if row.lost_at_close:
                bench.device.fail(ENERGY, code=pynvml.NVML_ERROR_GPU_IS_LOST)
        return window.measurement


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.fault)
def test_every_fault_of_the_table_ends_as_it_must(row: Row) -> None:
    if row.refusal:
        with pytest.raises(row.refusal) as refused:
            outcome(row)
        assert type(refused.value) is row.refusal
        assert refused.value.hint
        return
    measured = outcome(row)

    assert measured.energy == pytest.approx(TRUTH_JOULES, rel=1e-3)
    assert measured.method is (Method.TRACE if row.tier else Method.COUNTER)
    assert set(measured.flags) == {Flag.SIMULATED} | ({row.tier} if row.tier else set())
    assert abs(measured.energy - TRUTH_JOULES) <= measured.half_width + 0.5


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, Flag.COUNTER_UNSUPPORTED),
        (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, Flag.COUNTER_UNSUPPORTED),
        (pynvml.NVML_ERROR_NO_PERMISSION, Flag.COUNTER_NO_PERMISSION),
    ],
)
def test_without_a_counter_the_trace_stands_in_and_says_so(code: int, flag: Flag) -> None:
    config = CONSTANT.model_copy(update={"faults": (Fault(function=ENERGY, code=code),)})
    with meter_bench(config) as bench:
        with bench.meter.window() as window:
            bench.timer.sleep(1.5)
            elapsed_us, energy_mj = window.stamp()
        measured = window.measurement

    assert measured.method is Method.TRACE
    assert flag in measured.flags
    assert measured.energy == pytest.approx(450, rel=1e-3)
    assert measured.half_width == pytest.approx(30)
    assert energy_mj == pytest.approx(300 * elapsed_us // 1000, abs=300 * 25)


def test_a_trace_alone_does_not_measure_short_windows() -> None:
    faults = (Fault(function=ENERGY, code=pynvml.NVML_ERROR_NOT_SUPPORTED),)
    with (
        meter_bench(CONSTANT.model_copy(update={"faults": faults})) as bench,
        pytest.raises(WindowTooShortError),
    ):
        metered(bench, 0.9)


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, CounterUnsupportedError),
        (pynvml.NVML_ERROR_NO_PERMISSION, PermissionRefusedError),
    ],
)
def test_without_counter_and_power_there_is_no_measurement(
    code: int, refusal: type[MeterError]
) -> None:
    faults = (Fault(function=ENERGY, code=code), Fault(function="field:186", code=3))
    with pytest.raises(refusal), meter_bench(CONSTANT.model_copy(update={"faults": faults})):
        pass


def test_without_instant_power_the_missing_cross_check_is_flagged() -> None:
    faults = (Fault(function="field:186", code=pynvml.NVML_ERROR_NOT_SUPPORTED),)
    with meter_bench(CONSTANT.model_copy(update={"faults": faults})) as bench:
        measured = metered(bench)

    assert measured.energy == pytest.approx(450, rel=1e-3)
    assert Flag.TRACE_MISSING in measured.flags


def test_without_the_average_field_power_usage_fills_the_column() -> None:
    faults = (Fault(function="field:185", code=pynvml.NVML_ERROR_NOT_SUPPORTED),)
    with meter_bench(CONSTANT.model_copy(update={"faults": faults})) as bench:
        measured = metered(bench)

    assert {row.average_power_mw for row in measured.devices[0].rows} == {300_000}


@pytest.mark.parametrize(
    ("update", "refusal"),
    [
        ({"architecture": 4}, CounterUnsupportedError),
        ({"mig_enabled": True}, MigEnabledError),
        ({"virtualization_mode": 2}, VgpuError),
        ({"module_scope": True}, WrongScopeError),
        ({"counter_freeze_at_seconds": 0.0}, CounterStuckError),
        ({"counter_freeze_at_seconds": 2.3}, CounterStuckError),
        ({"counter_reset_at_seconds": 2.3}, CounterResetError),
        ({"counter_back_at_seconds": 2.3, "counter_back_mj": 100_000}, CounterBackwardsError),
        ({"counter_back_at_seconds": 2.3, "counter_back_mj": -900_000}, CounterJumpedError),
        ({"compute_pids": (1, 2, 3)}, ForeignProcessesError),
        ({"trace_gain": 0.7}, TraceApartError),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    update: dict[str, object], refusal: type[MeterError]
) -> None:
    device = CONSTANT.model_copy(update=update)
    with pytest.raises(refusal) as refused, meter_bench(device) as bench:
        refuse_unless_consistent(metered(bench, 3.0))

    assert refused.value.hint
    assert type(refused.value) is refusal


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED])
@pytest.mark.parametrize("function", [ENERGY, "nvmlDeviceGetFieldValues", "field:186"])
def test_a_gpu_lost_inside_the_window_voids_it(code: int, function: str) -> None:
    with meter_bench(CONSTANT) as bench, pytest.raises(GpuLostError), bench.meter.window():
        bench.timer.sleep(1.0)
        bench.device.fail(function, code=code)
        bench.timer.sleep(0.5)


def test_a_gpu_lost_at_the_closing_reading_voids_the_window() -> None:
    with meter_bench(CONSTANT) as bench, pytest.raises(GpuLostError), bench.meter.window():
        bench.timer.sleep(1.5)
        bench.device.fail(ENERGY, code=pynvml.NVML_ERROR_GPU_IS_LOST)


def test_an_unknown_failure_of_nvml_is_a_refusal_too() -> None:
    with meter_bench(CONSTANT) as bench, pytest.raises(NvmlFailedError), bench.meter.window():
        bench.device.fail(ENERGY, code=pynvml.NVML_ERROR_UNKNOWN)
        bench.timer.sleep(1.0)


def test_a_reset_between_two_prompts_is_refused_by_the_stamp() -> None:
    device = CONSTANT.model_copy(update={"counter_reset_at_seconds": 3.0})
    with (
        meter_bench(device) as bench,
        pytest.raises(CounterResetError),
        bench.meter.window() as window,
    ):
        bench.timer.at_ns += 3_000_000_000
        window.stamp()


def test_a_window_shorter_than_a_tick_is_refused() -> None:
    with meter_bench() as bench, pytest.raises(WindowTooShortError):
        metered(bench, 0.05)


@pytest.mark.parametrize(
    "code",
    [
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_NO_PERMISSION,
    ],
)
def test_nvml_that_does_not_start_is_missing(code: int) -> None:
    config = GpuConfig(faults=(Fault(function="nvmlInitWithFlags", code=code),))
    with simulated_gpus(config), pytest.raises(NvmlMissingError), open_meter():
        pass


def test_a_machine_without_the_library_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_library(name: str) -> object:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    with pytest.raises(NvmlMissingError) as refused, open_meter():
        pass

    assert "driver" in refused.value.hint


def test_a_shadowing_pynvml_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    impostor = ModuleType("pynvml")
    impostor.__file__ = "/somewhere/pynvml/__init__.py"
    monkeypatch.setitem(sys.modules, "pynvml", impostor)

    with pytest.raises(PynvmlShadowedError, match="/somewhere"), open_meter():
        pass


def test_missing_nvidia_ml_py_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    with pytest.raises(NvmlMissingError, match="nvidia-ml-py"), open_meter():
        pass


def test_a_machine_without_gpus_has_nothing_to_meter() -> None:
    with simulated_gpus(GpuConfig(devices=())), pytest.raises(NoDevicesError), open_meter():
        pass


def test_a_gpu_lost_before_the_start_is_named() -> None:
    device = DeviceConfig(
        faults=(
            Fault(function="nvmlDeviceGetHandleByIndex_v2", code=pynvml.NVML_ERROR_GPU_IS_LOST),
        )
    )
    with pytest.raises(GpuLostError), meter_bench(device):
        pass
