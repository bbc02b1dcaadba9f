"""The simulated GPU through the real pynvml: exact energy, true sensors, faults, children."""

import os
import subprocess
import sys
import time

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ConfigurationError
from protocol.units import Seconds, Watts
from scripts.devnet.gpu.config import DeviceConfig, Fault, GpuConfig, Segment, Source
from scripts.devnet.gpu.curve import PowerCurve
from scripts.devnet.gpu.install import (
    ENVIRONMENT_VARIABLE,
    SimulatedGpus,
    child_environment,
    config_from_text,
    simulated_gpus,
)
from scripts.devnet.gpu.work import WorkSource
from tests.support.metering import flat
from tests.support.virtual_time import VirtualTimer

segments = st.lists(
    st.builds(
        Segment,
        duration_seconds=st.floats(min_value=0.001, max_value=5),
        start_watts=st.floats(min_value=0, max_value=700),
        end_watts=st.floats(min_value=0, max_value=700),
    ),
    max_size=8,
)


def handle(gpus: SimulatedGpus, index: int = 0) -> object:
    pynvml.nvmlInit()
    assert len(gpus.devices) > index
    return pynvml.nvmlDeviceGetHandleByIndex(index)


@given(parts=segments, at=st.floats(min_value=0, max_value=10))
def test_energy_is_the_integral_of_power(parts: list[Segment], at: float) -> None:
    curve = PowerCurve(Watts(50))
    curve.play(parts, at=Seconds(at))

    expected = 50 * at + sum(
        part.duration_seconds * (part.start_watts + part.end_watts) / 2 for part in parts
    )

    assert curve.energy(curve.end) == pytest.approx(expected)
    assert curve.energy(Seconds(curve.end + 2)) == pytest.approx(expected + 100)
    assert curve.power(Seconds(curve.end + 1)) == Watts(50)


@given(parts=segments, cut=st.floats(min_value=0, max_value=20))
def test_energy_never_falls_and_adds_up(parts: list[Segment], cut: float) -> None:
    curve = PowerCurve(Watts(50))
    curve.play(parts, at=Seconds(1))

    assert curve.energy(Seconds(cut)) <= curve.energy(Seconds(cut + 0.1))


def test_what_is_played_later_replaces_what_was_planned() -> None:
    curve = PowerCurve(Watts(50))
    curve.play(flat(100, 10), at=Seconds(0))
    curve.play(flat(200, 1), at=Seconds(4))

    assert curve.energy(Seconds(10)) == pytest.approx(400 + 200 + 250)
    with pytest.raises(ValueError, match="starts at 0"):
        curve.play((), at=Seconds(-1))


def test_the_counter_shows_the_energy_of_the_last_tick() -> None:
    timer = VirtualTimer()
    config = DeviceConfig(idle_watts=100, counter_start_mj=0, counter_phase=0.25)
    with simulated_gpus(GpuConfig(devices=(config,)), now_ns=timer.peek_ns) as gpus:
        device = handle(gpus)
        shown = []
        for _ in range(6):
            timer.sleep(0.05)
            shown.append(pynvml.nvmlDeviceGetTotalEnergyConsumption(device))

    assert shown == [2_500, 2_500, 12_500, 12_500, 22_500, 22_500]


def test_a_counter_without_tick_follows_the_energy() -> None:
    timer = VirtualTimer()
    config = DeviceConfig(idle_watts=100, counter_start_mj=7, counter_tick_seconds=0, gain=0.5)
    with simulated_gpus(GpuConfig(devices=(config,)), now_ns=timer.peek_ns) as gpus:
        device = handle(gpus)
        timer.sleep(0.123)

        assert pynvml.nvmlDeviceGetTotalEnergyConsumption(device) == 7 + 6_150


def test_sensors_average_over_their_windows() -> None:
    timer = VirtualTimer()
    config = DeviceConfig(idle_watts=100, curve=(*flat(100, 0.9), *flat(500, 10)))
    with simulated_gpus(GpuConfig(devices=(config,)), now_ns=timer.peek_ns) as gpus:
        device = handle(gpus)
        timer.sleep(1.0)
        instant, average = pynvml.nvmlDeviceGetFieldValues(device, [186, 185])

        assert instant.value.uiVal == 500_000
        assert average.value.uiVal == pytest.approx(140_000, abs=1)
        assert pynvml.nvmlDeviceGetPowerUsage(device) == average.value.uiVal


def test_power_is_instant_before_ampere() -> None:
    timer = VirtualTimer()
    config = DeviceConfig(architecture=6, curve=(*flat(100, 0.9), *flat(500, 10)))
    with simulated_gpus(GpuConfig(devices=(config,)), now_ns=timer.peek_ns) as gpus:
        device = handle(gpus)
        timer.sleep(1.0)

        assert pynvml.nvmlDeviceGetPowerUsage(device) == 500_000


def test_noise_and_jitter_are_the_same_for_the_same_seed() -> None:
    def shown(seed: int) -> list[tuple[int, int]]:
        timer = VirtualTimer()
        config = DeviceConfig(noise_watts=5, counter_jitter_seconds=0.02, seed=seed)
        found: list[tuple[int, int]] = []
        with simulated_gpus(GpuConfig(devices=(config,)), now_ns=timer.peek_ns) as gpus:
            for _ in range(40):
                timer.sleep(0.03)
                found.append((gpus.devices[0].counter_mj(), gpus.devices[0].instant_mw()))
        return found

    assert shown(1) == shown(1) != shown(2)
    counts = [count for count, _ in shown(1)]
    assert counts == sorted(counts)


def test_a_device_says_that_it_is_simulated() -> None:
    with simulated_gpus(GpuConfig(devices=(DeviceConfig(), DeviceConfig(uuid="GPU-X")))) as gpus:
        device = handle(gpus)

        assert pynvml.nvmlDeviceGetCount() == 2
        assert "SIMULATED" in pynvml.nvmlDeviceGetName(device)
        assert pynvml.nvmlDeviceGetUUID(device).startswith("GPU-SIMULATED-")
        assert pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByUUID(b"GPU-X")) == "GPU-X"
        assert "simulated" in pynvml.nvmlSystemGetDriverVersion()


def test_facts_come_through_the_real_structures() -> None:
    config = DeviceConfig(memory_used_bytes=1_000_000, compute_pids=(11, 12), mig_enabled=True)
    with simulated_gpus(GpuConfig(devices=(config,))) as gpus:
        device = handle(gpus)

        assert pynvml.nvmlDeviceGetPciInfo(device).busId == "00000000:01:00.0"
        assert pynvml.nvmlDeviceGetMemoryInfo(device).used == 1_000_000
        version_2 = pynvml.nvmlDeviceGetMemoryInfo(device, pynvml.nvmlMemory_v2)
        assert version_2.total == config.memory_total_bytes
        pids = [one.pid for one in pynvml.nvmlDeviceGetComputeRunningProcesses(device)]
        assert pids == [11, 12]
        assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(device) == []
        assert pynvml.nvmlDeviceGetMigMode(device) == [1, 1]
        assert pynvml.nvmlDeviceGetTemperatureV(device, 0) > 30
        assert pynvml.nvmlDeviceGetPowerManagementLimitConstraints(device) == [210_000, 700_000]
        assert pynvml.nvmlDeviceGetPdi(device) == 1
        assert pynvml.nvmlDeviceGetUtilizationRates(device).gpu == 0


def test_a_function_fails_after_so_many_calls() -> None:
    fault = Fault(function="nvmlDeviceGetName", code=pynvml.NVML_ERROR_GPU_IS_LOST, after_calls=2)
    with simulated_gpus(GpuConfig(devices=(DeviceConfig(faults=(fault,)),))) as gpus:
        device = handle(gpus)
        pynvml.nvmlDeviceGetName(device)
        pynvml.nvmlDeviceGetName(device)

        with pytest.raises(pynvml.NVMLError_GpuIsLost):
            pynvml.nvmlDeviceGetName(device)


def test_a_function_that_is_not_simulated_looks_like_an_old_driver() -> None:
    with simulated_gpus() as gpus, pytest.raises(pynvml.NVMLError_FunctionNotFound):
        pynvml.nvmlDeviceGetNumGpuCores(handle(gpus))


def test_what_was_under_pynvml_comes_back() -> None:
    before = pynvml.nvmlLib
    with simulated_gpus():
        assert pynvml.nvmlLib is not before

    assert pynvml.nvmlLib is before


def test_work_draws_power_and_waiting_does_not() -> None:
    used = [0.0]
    source = WorkSource(idle=Watts(70), per_cpu=Watts(200), cpu_seconds=lambda: used[0])
    source.observe(Seconds(10))
    used[0] = 2.0
    source.observe(Seconds(12))

    assert source.energy(Seconds(10)) == pytest.approx(700)
    assert source.energy(Seconds(11)) == pytest.approx(770 + 200)
    assert source.energy(Seconds(12)) == pytest.approx(840 + 400)


def test_long_work_forgets_old_samples_but_not_energy() -> None:
    source = WorkSource(idle=Watts(0), per_cpu=Watts(100), cpu_seconds=iter(range(10_000)).__next__)
    for at in range(1, 2_000):
        source.observe(Seconds(float(at)))

    assert source.energy(Seconds(1_999.0)) == pytest.approx(199_900)
    assert source.energy(Seconds(1_970.5)) == pytest.approx(197_050)


def test_a_process_that_works_draws_more_than_one_that_sleeps() -> None:
    config = DeviceConfig(
        source=Source.WORK, idle_watts=50, watts_per_cpu_second=100, counter_tick_seconds=0
    )
    with simulated_gpus(GpuConfig(devices=(config,))) as gpus:
        device = gpus.devices[0]
        start_ns = time.monotonic_ns()
        cpu_seconds = time.process_time()
        while time.process_time() - cpu_seconds < 0.2:
            pass
        end_ns = time.monotonic_ns()
        worked = device.true_energy(start_ns, end_ns) - 50 * (end_ns - start_ns) / 1e9

    assert worked == pytest.approx(20, rel=0.05)


def test_child_processes_see_the_simulated_gpu() -> None:
    config = GpuConfig(devices=(DeviceConfig(name="SIMULATED child"), DeviceConfig(gain=0.7)))
    script = (
        "import pynvml, sys; pynvml.nvmlInit();"
        "print(pynvml.nvmlDeviceGetCount(),"
        " pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)))"
    )

    finished = subprocess.run(
        [sys.executable, "-c", script],
        cwd="/",
        env=os.environ | child_environment(config),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert finished.stdout == "2 SIMULATED child\n"


def test_a_child_that_never_loads_pynvml_loads_nothing_of_the_simulation() -> None:
    script = (
        "import sys; print([m for m in sys.modules if m.split('.')[0] in"
        " ('pydantic', 'scripts', 'pynvml', 'typing')])"
    )

    finished = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | child_environment(GpuConfig()),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert finished.stdout == "[]\n"


@pytest.mark.parametrize(
    "text", ['{"devices": 3}', '{"devices": [{"nmae": "x"}]}', "/no/such/file"]
)
def test_a_bad_description_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=ENVIRONMENT_VARIABLE):
        config_from_text(text)


def test_a_configuration_survives_the_environment() -> None:
    config = GpuConfig(devices=(DeviceConfig(source=Source.WORK, gain=0.7, uuid="GPU-A"),))

    assert config_from_text(child_environment(config)[ENVIRONMENT_VARIABLE]) == config
