"""The meter through the real pynvml, on simulated GPUs in virtual time."""

from collections.abc import Callable

import pynvml
import pytest

from miner.counter import Edges
from miner.measurement import Flag, Measurement, Method
from miner.meter import Sharing, open_meter
from miner.refusals import (
    DeviceListsDifferError,
    NoDevicesError,
    SamplerDiedError,
)
from protocol.units import Watts
from scripts.bench.loads import bursts, language_model
from scripts.devnet.gpu.config import DeviceConfig, Fault
from scripts.devnet.gpu.install import simulated_gpus
from tests.support.metering import (
    IDLE_WATTS,
    MeterBench,
    chance_of,
    flat,
    meter_bench,
    virtual_timer,
)

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
CONSTANT = DeviceConfig(idle_watts=300.0)
"""300 W all the time: 450 J in 1.5 s, whatever the reading."""


def metered(bench: MeterBench, duration_seconds: float = 1.5) -> Measurement:
    with bench.meter.window() as window:
        bench.timer.sleep(duration_seconds)
    return window.measurement


def error_pct(edges: Edges, tick_seconds: float, window_seconds: float, seed: int) -> float:
    chance = chance_of(seed)
    config = DeviceConfig(
        idle_watts=IDLE_WATTS,
        counter_tick_seconds=tick_seconds,
        counter_phase=chance.random(),
        power_phase=chance.random(),
        curve=bursts(60, chance) if edges is Edges.BUSY else (),
        curve_repeats=edges is Edges.BUSY,
    )
    with meter_bench(config, timer=virtual_timer(seed)) as bench:
        bench.timer.sleep(chance.random())
        with bench.meter.window(edges=edges) as window:
            if edges is Edges.IDLE:
                bench.device.play(language_model(window_seconds))
            bench.timer.sleep(window_seconds)
        measured = window.measurement
        truth = bench.device.true_energy(window.start_ns, window.end_ns)
    return 100 * abs(measured.energy / truth - 1)


@pytest.mark.parametrize("tick_seconds", [0.01, 0.02, 0.1])
@pytest.mark.parametrize(
    ("window_seconds", "limit_pct", "windows"), [(0.2, 2.0, 8), (1.0, 0.5, 4), (5.0, 0.1, 2)]
)
def test_error_stays_below_the_limit_with_idle_edges(
    tick_seconds: float, window_seconds: float, limit_pct: float, windows: int
) -> None:
    errors = [error_pct(Edges.IDLE, tick_seconds, window_seconds, n) for n in range(windows)]

    assert max(errors) <= limit_pct


def test_half_minute_is_measured_to_a_thousandth() -> None:
    assert error_pct(Edges.IDLE, 0.1, 30.0, seed=1) <= 0.1


@pytest.mark.parametrize("tick_seconds", [0.01, 0.1])
def test_error_stays_below_a_percent_in_a_second_with_busy_edges(tick_seconds: float) -> None:
    errors = [error_pct(Edges.BUSY, tick_seconds, 1.0, seed) for seed in range(8)]

    assert sum(errors) / len(errors) <= 1.0


def test_constant_power_is_measured_exactly() -> None:
    with meter_bench(CONSTANT) as bench:
        measured = metered(bench)

    assert measured.energy == pytest.approx(450, rel=1e-3)
    assert measured.method is Method.COUNTER
    assert measured.devices[0].edges is Edges.IDLE
    assert measured.flags == (Flag.SIMULATED,)
    assert measured.mean_power == pytest.approx(300, rel=1e-3)
    assert measured.devices[0].peak_power == Watts(300)


def test_devices_are_summed_and_each_recorded() -> None:
    ticks = (0.1, 0.02)
    configs = [DeviceConfig(idle_watts=100, counter_tick_seconds=tick) for tick in ticks]
    with meter_bench(*configs) as bench:
        with bench.meter.window() as window:
            bench.load(400, 1.0)
        measured = window.measurement

    assert measured.energy == pytest.approx(800, rel=1e-3)
    assert [part.energy for part in measured.devices] == pytest.approx([400, 400], rel=1e-3)
    assert measured.net_energy == pytest.approx(600, rel=2e-3)


def test_stamps_count_up_to_the_energy_of_the_window() -> None:
    with meter_bench() as bench:

        def work(stamp: Callable[[], tuple[int, int]]) -> list[tuple[int, int]]:
            stamps = [stamp()]
            for _ in range(10):
                bench.load(400, 0.5)
                stamps.append(stamp())
            return stamps

        stamps, measured = bench.meter.measure(work, lambda: None)

    times, energies = zip(*stamps, strict=True)
    assert times[0] < 1_000
    assert energies[0] == 0
    assert list(times) == sorted(times)
    assert list(energies) == sorted(energies)
    assert energies[-1] == pytest.approx(measured.energy_mj, abs=400 * 100)


def test_the_device_is_synchronised_before_both_edges() -> None:
    order: list[str] = []
    with meter_bench() as bench:
        bench.meter.calibrate()
        with bench.meter.window(synchronise=lambda: order.append("synchronise")):
            order.append("work")
            bench.timer.sleep(0.5)

    assert order == ["synchronise", "work", "synchronise"]


def test_a_failing_workload_leaves_no_measurement_and_no_sampler() -> None:
    with meter_bench() as bench:
        with pytest.raises(ZeroDivisionError), bench.meter.window() as window:
            raise ZeroDivisionError

        assert not any(background.is_alive for background in bench.timer.backgrounds)
        with pytest.raises(SamplerDiedError):
            _ = window.measurement


def test_the_evidence_trace_has_ten_rows_a_second_over_both_edges() -> None:
    with meter_bench() as bench:
        measured = metered(bench, 10.0)

    rows = measured.devices[0].rows
    inside = [row for row in rows if measured.start_ns <= row.at_ns <= measured.end_ns]
    assert 95 <= len(inside) <= 105
    assert rows[0].at_ns < measured.start_ns < measured.end_ns < rows[-1].at_ns


def test_every_tick_of_the_counter_is_seen_in_the_trace() -> None:
    with meter_bench(DeviceConfig(counter_tick_seconds=0.1, counter_jitter_seconds=0.002)) as bench:
        measured = metered(bench, 10.0)

    ticks = [t for t in measured.devices[0].ticks if measured.start_ns < t.at_ns < measured.end_ns]
    assert 98 <= len(ticks) <= 101


def test_calibration_finds_the_tick() -> None:
    with meter_bench(DeviceConfig(counter_tick_seconds=0.04)) as bench:
        bench.meter.calibrate()

        calibration = bench.meter.samplers[0].calibration

    assert calibration is not None
    assert calibration.period_ns == pytest.approx(40_000_000, rel=0.01)


def test_idle_power_over_a_longer_span_is_kept_with_the_window() -> None:
    with meter_bench() as bench:
        bench.meter.watch_idle(10.0)
        measured = metered(bench)

    assert measured.devices[0].idle_before == pytest.approx(IDLE_WATTS, rel=1e-3)


def test_idle_drift_is_flagged() -> None:
    with meter_bench() as bench, bench.meter.window() as window:
        bench.device.play((*flat(400, 1.0), *flat(100, 5.0)))
        bench.timer.sleep(1.0)

    assert Flag.IDLE_DRIFT in window.measurement.flags


def test_unsteady_power_before_the_window_is_flagged_and_interpolated() -> None:
    config = DeviceConfig(curve=bursts(60, chance_of(1)), curve_repeats=True)
    with meter_bench(config) as bench:
        with bench.meter.window(edges=Edges.IDLE) as window:
            bench.timer.sleep(5.0)

        measured = window.measurement
        truth = bench.device.true_energy(window.start_ns, window.end_ns)

    assert Flag.EDGES_NOT_IDLE in measured.flags
    assert measured.devices[0].edges is Edges.BUSY
    assert abs(measured.energy - truth) <= measured.half_width


def test_repeats_keep_every_run_and_give_a_student_interval() -> None:
    with meter_bench() as bench:
        repeats, runs = bench.meter.repeat(lambda: bench.load(400, 1.0), lambda: None, chance_of(0))

    assert repeats.count == len(runs) >= 5
    assert repeats.mean == pytest.approx(400, rel=1e-3)
    assert repeats.half_width <= 0.01 * repeats.mean


@pytest.mark.parametrize("devices", [[1], [-1], []])
def test_a_device_that_is_not_there_is_refused(devices: list[int]) -> None:
    with simulated_gpus(), pytest.raises(NoDevicesError), open_meter(devices):
        pass


def test_only_devices_that_cuda_shows_are_metered() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "1"}
    with meter_bench(DeviceConfig(), DeviceConfig(), environment=environment) as bench:
        assert [device.index for device in bench.meter.devices] == [1]


def test_cuda_on_a_device_that_is_not_metered_is_refused() -> None:
    with meter_bench() as bench:
        bench.meter.refuse_unless_same_devices([bench.device.uuid.removeprefix("GPU-")])
        with pytest.raises(DeviceListsDifferError):
            bench.meter.refuse_unless_same_devices(["12345678-0000-0000-0000-000000000000"])


def test_foreign_processes_are_flagged_where_the_caller_puts_up_with_them() -> None:
    device = CONSTANT.model_copy(update={"compute_pids": (1, 2, 3)})
    with meter_bench(device, sharing=Sharing.FLAG) as bench:
        assert Flag.PROCESSES_FOREIGN in metered(bench).flags


def test_an_empty_process_list_means_unknown() -> None:
    with meter_bench(CONSTANT.model_copy(update={"compute_pids": ()})) as bench:
        assert Flag.PROCESSES_UNKNOWN in metered(bench).flags


def test_a_sampler_that_ends_early_voids_the_window() -> None:
    with meter_bench(CONSTANT) as bench, pytest.raises(SamplerDiedError), bench.meter.window():
        bench.timer.sleep(0.5)
        for background in bench.timer.backgrounds:
            background.is_alive = False


def test_gain_scales_counter_and_trace_alike() -> None:
    with meter_bench(CONSTANT.model_copy(update={"gain": 0.7})) as bench:
        measured = metered(bench)

    assert measured.energy == pytest.approx(315, rel=1e-3)
    assert Flag.TRACE_APART not in measured.flags


def test_an_old_driver_without_process_lists_means_unknown() -> None:
    missing = Fault(
        function="nvmlDeviceGetComputeRunningProcesses_v3",
        code=pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    )
    with meter_bench(CONSTANT.model_copy(update={"faults": (missing,)})) as bench:
        assert Flag.PROCESSES_UNKNOWN in metered(bench).flags


def test_time_at_the_power_cap_is_told_beside_the_flag() -> None:
    with meter_bench(CONSTANT.model_copy(update={"throttled_share": 0.25})) as bench:
        measured = metered(bench, 2.0)

    throttled = measured.devices[0].throttled
    assert throttled is not None
    assert throttled.power_cap_ns == pytest.approx(0.25 * 2e9, rel=0.5)
    assert throttled.hardware_heat_ns is None
    assert Flag.THROTTLED in measured.flags


def test_older_drivers_tell_the_power_cap_by_its_violation_time() -> None:
    fault = Fault(function="field:74", code=pynvml.NVML_ERROR_NOT_SUPPORTED)
    config = CONSTANT.model_copy(update={"throttled_share": 0.25, "faults": (fault,)})
    with meter_bench(config) as bench:
        measured = metered(bench, 2.0)

    throttled = measured.devices[0].throttled
    assert throttled is not None
    assert throttled.power_cap_ns == pytest.approx(0.25 * 2e9, rel=0.5)


def test_clocks_that_were_never_slowed_are_no_flag() -> None:
    with meter_bench(CONSTANT.model_copy(update={"throttled_share": 0.0})) as bench:
        measured = metered(bench)

    throttled = measured.devices[0].throttled
    assert throttled is not None
    assert throttled.power_cap_ns == 0
    assert Flag.THROTTLED not in measured.flags


def test_a_gpu_that_computes_before_the_work_is_flagged() -> None:
    with meter_bench() as bench:
        bench.device.play(flat(400, 30.0))
        busy = metered(bench)
        bench.timer.sleep(60.0)
        bench.meter.watch_idle(10.0)
        idle = metered(bench)

    occupancy = busy.devices[0].occupancy
    assert occupancy is not None
    assert (occupancy.utilization_pct or 0) > 2
    assert Flag.OCCUPIED_BEFORE in busy.flags
    assert Flag.OCCUPIED_BEFORE not in idle.flags


@pytest.mark.parametrize(
    ("pids", "held_bytes", "flagged"),
    [((), 3 * 2**30, True), ((), 2**30, False), (None, 60 * 2**30, False)],
)
def test_memory_that_nobody_owns_up_to_is_flagged(
    pids: tuple[int, ...] | None, held_bytes: int, flagged: bool
) -> None:
    config = CONSTANT.model_copy(update={"compute_pids": pids, "memory_used_bytes": held_bytes})
    with meter_bench(config) as bench:
        measured = metered(bench)

    occupancy = measured.devices[0].occupancy
    assert occupancy is not None
    assert occupancy.memory_used_bytes == held_bytes
    assert (Flag.MEMORY_HELD in measured.flags) is flagged
