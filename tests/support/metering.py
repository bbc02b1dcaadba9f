"""Simulated GPUs in virtual time, and a meter on them, for tests."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from miner.meter import NvmlMeter, Sharing, open_meter
from scripts.devnet.gpu.config import DeviceConfig, GpuConfig, Segment
from scripts.devnet.gpu.device import SimulatedDevice
from scripts.devnet.gpu.install import SimulatedGpus, simulated_gpus
from tests.support.virtual_time import VirtualTimer

IDLE_WATTS = 80.0


@dataclass
class MeterBench:
    """A meter on simulated GPUs in virtual time."""

    gpus: SimulatedGpus
    meter: NvmlMeter
    timer: VirtualTimer

    @property
    def device(self) -> SimulatedDevice:
        return self.gpus.devices[0]

    def load(self, power_watts: float, duration_seconds: float) -> None:
        """Let all devices draw constant power for a while, and wait for it to end."""
        for device in self.gpus.devices:
            device.play(flat(power_watts, duration_seconds))
        self.timer.sleep(duration_seconds)


def flat(power_watts: float, duration_seconds: float) -> tuple[Segment, ...]:
    """Constant power for a while."""
    return (
        Segment(duration_seconds=duration_seconds, start_watts=power_watts, end_watts=power_watts),
    )


def chance_of(seed: int) -> random.Random:
    """Chance for loads and phases, the same each time."""
    return random.Random(seed)  # noqa: S311 - a load, no secret


def virtual_timer(seed: int = 0) -> VirtualTimer:
    """A clock of a somewhat busy machine: readings take time, sleeps end late."""
    return VirtualTimer(
        oversleep_seconds=0.0005,
        call_ns=5_000,
        chance=chance_of(seed),
    )


@contextmanager
def meter_bench(
    *devices: DeviceConfig,
    timer: VirtualTimer | None = None,
    sharing: Sharing = Sharing.REFUSE,
    environment: dict[str, str] | None = None,
    config: GpuConfig | None = None,
) -> Iterator[MeterBench]:
    """A meter on simulated GPUs, idle at 80 W unless configured otherwise."""
    clock = timer or virtual_timer()
    machine = config or GpuConfig(devices=devices or (DeviceConfig(idle_watts=IDLE_WATTS),))
    with (
        simulated_gpus(machine, now_ns=clock.peek_ns) as gpus,
        open_meter(timer=clock, sharing=sharing, environment=environment or {}) as meter,
    ):
        yield MeterBench(gpus=gpus, meter=meter, timer=clock)
