"""The meter: windows of energy on NVIDIA GPUs.

One `open_meter` holds one NVML initialisation open. A window waits for a few counter ticks,
opens, leaves the work alone but for an evidence row every 100 ms, closes, and waits for a few
ticks more; `miner.measurement` turns what was read into energy with an interval.
"""

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from miner.counter import Edges
from miner.devices import (
    DeviceFacts,
    DriverFacts,
    Exclusivity,
    exclusivity,
    refuse_foreign,
    refuse_unless_same_devices,
    refuse_unmeasurable,
    visible_indices,
)
from miner.measurement import Flag, Measurement
from miner.nvml import Nvml, NvmlDevice, open_nvml
from miner.refusals import NoDevicesError
from miner.repeats import Repeats, is_enough, summarise_repeats
from miner.sampler import POLL_SECONDS, Sampler, next_poll_seconds
from miner.timer import SystemTimer, Timer
from miner.warm_up import LONGEST_SECONDS, WarmUp, is_steady
from miner.window import Rows, Window, await_ticks
from protocol.units import Joules, Seconds, nanoseconds, seconds

T = TypeVar("T")

_CALIBRATION_SECONDS = Seconds(1.0)
_CALIBRATION_TICKS = 8
_WINDOW_FLAGS = {
    Flag.THROTTLED,
    Flag.PROCESSES_UNKNOWN,
    Flag.PROCESSES_FOREIGN,
    Flag.MEMORY_HELD,
}
"""Flags that belong to one window, not to the device."""
_MAXIMUM_GAP_SECONDS = 0.1
"""Random pauses between repeats, so that no run keeps step with the sensor (100 ms)."""


class Sharing(StrEnum):
    """What to do when others use the GPU too."""

    REFUSE = "refuse"
    FLAG = "flag"


class NvmlMeter:
    """Meters the energy of one or several GPUs.

    Args:
        nvml: NVML, held open.
        devices: GPUs to sum over.
        timer: Clock; virtual in tests.
        sharing: What to do when others use the GPU too.
    """

    def __init__(
        self,
        nvml: Nvml,
        devices: Sequence[NvmlDevice],
        *,
        timer: Timer,
        sharing: Sharing = Sharing.REFUSE,
    ) -> None:
        self.driver: DriverFacts = nvml.driver
        self._devices = tuple(devices)
        self._timer = timer
        self._sharing = sharing
        for device in devices:
            refuse_unmeasurable(device.facts)
        self.samplers = tuple(Sampler(device, timer) for device in devices)
        for sampler in self.samplers:
            sampler.flags |= _standing_flags(sampler.facts)

    @property
    def devices(self) -> tuple[DeviceFacts, ...]:
        """The metered GPUs."""
        return tuple(device.facts for device in self._devices)

    @property
    def is_simulated(self) -> bool:
        """Whether any device says that it is simulated."""
        return any(device.is_simulated for device in self.devices)

    def refuse_unless_same_devices(self, cuda_uuids: Sequence[str]) -> None:
        """Refuse if CUDA runs on a device that is not metered.

        Raises:
            DeviceListsDifferError: If so.
        """
        refuse_unless_same_devices(self.devices, cuda_uuids)

    def calibrate(self) -> None:
        """Measure every counter's tick: at least 1 s of fast polling.

        Raises:
            CounterStuckError: If a counter does not move for 2 s.
        """
        counted = [sampler for sampler in self.samplers if sampler.has_counter]
        start_ns = self._timer.now_ns()
        for sampler in counted:
            sampler.forget_ticks()
            sampler.start_afresh()
        await_ticks(counted, self._timer, since_ns=start_ns, count=_CALIBRATION_TICKS)
        while self._timer.now_ns() - start_ns < nanoseconds(_CALIBRATION_SECONDS):
            self._timer.sleep(POLL_SECONDS)
            for sampler in counted:
                sampler.observe()
        for sampler in counted:
            sampler.calibrate()
        for sampler in self.samplers:
            sampler.note_occupancy()

    def watch_idle(self, duration_seconds: float) -> None:
        """Take the idle power over a longer span; later windows state it and check drift.

        Raises:
            CounterStuckError: If a counter does not move for 2 s.
        """
        self._ensure_calibrated()
        start_ns = self._timer.now_ns()
        for sampler in self.samplers:
            sampler.start_afresh()
        until_ns = start_ns + nanoseconds(Seconds(duration_seconds))
        await_ticks(self.samplers, self._timer, since_ns=start_ns, count=2)
        while self._timer.now_ns() < until_ns:
            self._timer.sleep(next_poll_seconds(self.samplers))
            for sampler in self.samplers:
                sampler.observe()
        for sampler in self.samplers:
            sampler.idle_before = sampler.idle_power(start_ns)
            sampler.note_occupancy()

    def warm_up(
        self, work: Callable[[], object], *, longest_seconds: float = LONGEST_SECONDS
    ) -> WarmUp:
        """Repeat the work until power and temperature of all devices stand still.

        Takes 30 s at least, `longest_seconds` and the rest of one turn at most.

        Raises:
            MeterError: If a device fails meanwhile.
        """
        for sampler in self.samplers:
            sampler.start_afresh()
        start_ns, turns = self._timer.now_ns(), 0
        rows = Rows(self.samplers, self._timer)
        try:
            steady = False
            while not steady and self._timer.now_ns() - start_ns < nanoseconds(
                Seconds(longest_seconds)
            ):
                work()
                turns += 1
                steady = all(is_steady(sampler.rows) for sampler in self.samplers)
        finally:
            rows.stop()
        duration = seconds(self._timer.now_ns() - start_ns)
        return WarmUp(duration=duration, turns=turns, is_steady=steady)

    def reading_mj(self) -> int:
        """All counters as they stand, summed (mJ since the driver was loaded).

        Raises:
            CounterUnsupportedError: If a device has none.
        """
        return sum(device.energy_mj() for device in self._devices)

    @contextmanager
    def window(
        self, *, edges: Edges = Edges.IDLE, synchronise: Callable[[], None] = lambda: None
    ) -> Iterator[Window]:
        """A window around the `with` block; its `measurement` is there afterwards.

        Args:
            edges: Whether the device is quiet just before and after, or busy.
            synchronise: Waits until the device has finished all work.

        Raises:
            MeterError: If there is no number that we would sign.
        """
        self._ensure_calibrated()
        window = Window(self.samplers, self._timer, edges)
        for sampler in self.samplers:
            sampler.flags -= _WINDOW_FLAGS
        try:
            self._check_processes()
            window.open(synchronise)
            yield window
            window.close(synchronise)
        finally:
            window.stop()
        self._check_processes()
        window.conclude()

    def measure(
        self, work: Callable[[Callable[[], tuple[int, int]]], T], synchronise: Callable[[], None]
    ) -> tuple[T, Measurement]:
        """A piece of work and the energy of its window, idle edges observed.

        Args:
            work: Called with the window's `stamp`.
            synchronise: Waits until the device has finished all work.

        Raises:
            MeterError: If there is no number that we would sign.
        """
        with self.window(synchronise=synchronise) as window:
            result = work(window.stamp)
        return result, window.measurement

    def repeat(
        self, work: Callable[[], object], synchronise: Callable[[], None], chance: random.Random
    ) -> tuple[Repeats, tuple[Measurement, ...]]:
        """The same work in 5 to 15 windows, with random gaps; every run counts.

        Stops early only by the rule of `miner.repeats`, declared beforehand.
        """
        runs: list[Measurement] = []
        energies: list[Joules] = []
        while not is_enough(energies):
            self._timer.sleep(chance.uniform(0, _MAXIMUM_GAP_SECONDS))
            with self.window(synchronise=synchronise) as window:
                work()
            runs.append(window.measurement)
            energies.append(window.measurement.energy)
        return summarise_repeats(energies), tuple(runs)

    def _ensure_calibrated(self) -> None:
        if any(sampler.has_counter and not sampler.calibration for sampler in self.samplers):
            self.calibrate()

    def _check_processes(self) -> None:
        for device, sampler in zip(self._devices, self.samplers, strict=True):
            state = _exclusivity(device)
            if state is Exclusivity.UNKNOWN:
                sampler.flags.add(Flag.PROCESSES_UNKNOWN)
                if device.occupancy().holds_memory:
                    sampler.flags.add(Flag.MEMORY_HELD)
            if self._sharing is Sharing.REFUSE:
                refuse_foreign(device.facts, state)
            elif state is Exclusivity.FOREIGN:
                sampler.flags.add(Flag.PROCESSES_FOREIGN)


@contextmanager
def open_meter(
    devices: Sequence[int] | None = None,
    *,
    timer: Timer | None = None,
    environment: Mapping[str, str] | None = None,
    sharing: Sharing = Sharing.REFUSE,
) -> Iterator[NvmlMeter]:
    """A meter for the length of a `with` block.

    Args:
        devices: NVML indices; by default all that CUDA shows to this process.
        timer: Clock; the machine's own by default.
        environment: Environment variables; the process's own by default.
        sharing: What to do when others use the GPU too.

    Raises:
        MeterError: If there is no NVML, no such device, or one that is not to be measured.
    """
    with open_nvml() as nvml:
        present = nvml.devices()
        facts = [device.facts for device in present]
        if devices is None:
            chosen = visible_indices(os.environ if environment is None else environment, facts)
        else:
            chosen = tuple(devices)
        if not chosen or max(chosen) >= len(present) or min(chosen) < 0:
            raise NoDevicesError(f"there is no GPU {list(chosen)} among {len(present)}")
        yield NvmlMeter(
            nvml,
            [present[index] for index in chosen],
            timer=timer or SystemTimer(),
            sharing=sharing,
        )


def _standing_flags(facts: DeviceFacts) -> set[Flag]:
    flags = set()
    if facts.is_simulated:
        flags.add(Flag.SIMULATED)
    if not facts.persistence_enabled:
        flags.add(Flag.PERSISTENCE_OFF)
    return flags


def _exclusivity(device: NvmlDevice) -> Exclusivity:
    listed = device.compute_pids()
    if listed is not None and set(listed) == {os.getpid()}:
        return Exclusivity.OURS
    return exclusivity(listed, _family(os.getpid()), _shown_pids())


def _shown_pids() -> frozenset[int]:
    """All processes of this PID namespace."""
    return frozenset(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _family(pid: int) -> frozenset[int]:
    """A process and its descendants."""
    family, unseen = {pid}, [pid]
    while unseen:
        current = unseen.pop()
        for children in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                found = {int(child) for child in children.read_text().split()} - family
            except OSError:  # the process ended meanwhile
                continue
            family |= found
            unseen += found
    return frozenset(family)
