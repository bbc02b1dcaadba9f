"""One scenario of the meter benchmark, in a process of its own: one meter, one kind of load.

`python -m scripts.bench.meter_scenario JSON` gets ready, prints `ready`, waits for a line on
standard input, and prints its result as JSON. Ours and the anchors run on the same simulated
GPU and curves; zeus and codecarbon are unmodified.
"""

import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from protocol.units import joules_from_wh, seconds, watt_hours_from_kwh
from scripts.bench.loads import IDLE_WATTS, bursts, language_model
from scripts.devnet.gpu.config import DeviceConfig, GpuConfig
from scripts.devnet.gpu.device import SimulatedDevice
from scripts.devnet.gpu.install import install

_BURST_SECONDS = 600.0


class Scenario(BaseModel):
    """What to measure, how often, and with which meter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    meter: str
    edges: str
    tick_seconds: float
    window_seconds: float
    repeats: int
    seed: int


class Outcome(BaseModel):
    """How far the meter was off, and what it cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    errors_pct: list[float]
    """Absolute error of each window."""
    covered: int | None
    """Windows whose stated 95 % interval held the truth; None where none is stated."""
    cpu_pct: float
    """CPU time within the windows, in percent of one core; the simulated GPU's included."""


class Meter(Protocol):
    """A meter as a user calls it."""

    def begin(self) -> None:
        """Open a window."""
        ...

    def end(self) -> tuple[float, float | None]:
        """Close it: joules, and half of the stated interval if there is one."""
        ...


class Ours:
    """`miner.meter`."""

    def __init__(self, edges: str) -> None:
        from miner.counter import Edges  # noqa: PLC0415 - one meter per process
        from miner.meter import open_meter  # noqa: PLC0415 - one meter per process

        self._edges = Edges(edges)
        self._meter = ExitStack().enter_context(open_meter())
        self._meter.calibrate()
        self._stack = ExitStack()
        self._window: Any = None

    def begin(self) -> None:
        """Open a window."""
        self._stack = ExitStack()
        self._window = self._stack.enter_context(self._meter.window(edges=self._edges))

    def end(self) -> tuple[float, float | None]:
        """Close it."""
        self._stack.close()
        measurement = self._window.measurement
        return measurement.energy, measurement.half_width


class Zeus:
    """zeus, as its README shows; there is no CUDA to synchronise with."""

    def __init__(self) -> None:
        from zeus.monitor import ZeusMonitor  # noqa: PLC0415 - one meter per process

        self._monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])

    def begin(self) -> None:
        """Open a window."""
        self._monitor.begin_window("bench", sync_execution=False)

    def end(self) -> tuple[float, float | None]:
        """Close it."""
        measured = self._monitor.end_window("bench", sync_execution=False)
        return float(measured.total_energy), None


class CodeCarbon:
    """codecarbon, offline and without files, otherwise with its defaults."""

    def __init__(self) -> None:
        from codecarbon import OfflineEmissionsTracker  # noqa: PLC0415 - one meter per process

        self._make: Callable[[], Any] = lambda: OfflineEmissionsTracker(
            country_iso_code="USA",
            save_to_file=False,
            output_methods=[],
            allow_multiple_runs=True,
            log_level="critical",
        )
        self._tracker = self._make()

    def begin(self) -> None:
        """Open a window."""
        self._tracker.start()

    def end(self) -> tuple[float, float | None]:
        """Close it."""
        self._tracker.stop()
        energy_kwh = self._tracker.final_emissions_data.gpu_energy
        energy_joules = joules_from_wh(watt_hours_from_kwh(energy_kwh))
        self._tracker = self._make()
        return energy_joules, None


def main() -> None:
    """Run the scenario given as JSON."""
    scenario = Scenario.model_validate_json(sys.argv[1])
    chance = random.Random(scenario.seed)  # noqa: S311 - a load, no secret
    device = install(GpuConfig(devices=(_device(scenario, chance),))).devices[0]
    meter = _meter(scenario)
    print("ready", flush=True)
    sys.stdin.readline()
    print(_run(scenario, meter, device, chance).model_dump_json(), flush=True)


def _device(scenario: Scenario, chance: random.Random) -> DeviceConfig:
    return DeviceConfig(
        idle_watts=IDLE_WATTS,
        counter_tick_seconds=scenario.tick_seconds,
        counter_phase=chance.random(),
        power_phase=chance.random(),
        curve=bursts(_BURST_SECONDS, chance) if scenario.edges == "busy" else (),
        curve_repeats=scenario.edges == "busy",
    )


def _meter(scenario: Scenario) -> Meter:
    if scenario.meter == "ours":
        return Ours(scenario.edges)
    return Zeus() if scenario.meter == "zeus" else CodeCarbon()


def _run(
    scenario: Scenario, meter: Meter, device: SimulatedDevice, chance: random.Random
) -> Outcome:
    """All windows; their lengths are scattered over one tick.

    A meter that opens its windows just after a tick would close them just after one too, if
    lengths were whole numbers of ticks: a luck that no workload has.
    """
    errors: list[float] = []
    covered: int | None = None
    busy_seconds, spent_seconds = 0.0, 0.0
    for _ in range(scenario.repeats):
        time.sleep(chance.uniform(0.1, 0.3))
        length = scenario.window_seconds + chance.uniform(-0.5, 0.5) * scenario.tick_seconds
        meter.begin()
        cpu_seconds, start_ns = time.process_time(), time.monotonic_ns()
        if scenario.edges == "idle":
            device.play(language_model(length))
        time.sleep(length)
        end_ns = time.monotonic_ns()
        spent_seconds += seconds(end_ns - start_ns)
        busy_seconds += time.process_time() - cpu_seconds
        energy, half_width = meter.end()
        truth = device.true_energy(start_ns, end_ns)
        errors.append(100 * abs(energy / truth - 1))
        if half_width is not None:
            covered = (covered or 0) + (abs(energy - truth) <= half_width)
    return Outcome(
        errors_pct=errors,
        covered=covered,
        cpu_pct=100 * busy_seconds / spent_seconds,
    )


if __name__ == "__main__":
    main()
