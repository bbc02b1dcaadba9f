"""One simulated GPU: counter ticks, sensor filters, clocks and faults over a power source."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from math import floor

from protocol.ids import GpuUuid
from protocol.units import (
    Joules,
    Millijoules,
    Milliwatts,
    Seconds,
    Watts,
    millijoules,
    milliwatts,
    seconds,
)
from scripts.devnet.gpu.config import DeviceConfig, Fault, Segment, Source
from scripts.devnet.gpu.curve import PowerCurve
from scripts.devnet.gpu.work import WorkSource

_THERMAL_WINDOW_SECONDS = 30.0
_AMBIENT_CELSIUS = 32.0
_CELSIUS_PER_WATT = 0.06
_IDLE_CLOCK_MHZ = 345
_BUSY_CLOCK_MHZ = 1980
_REPEATED_SECONDS = 7200.0
"""How long a repeating curve is laid out for."""


class SimulatedDevice:
    """A GPU whose true energy is known.

    Args:
        config: What it is and what goes wrong with it.
        index: NVML index.
        now_ns: Monotonic clock, real or virtual; the simulation starts at its value now.
    """

    def __init__(
        self,
        config: DeviceConfig,
        *,
        index: int = 0,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.config = config
        self.index = index
        self._now_ns = now_ns
        self._epoch_ns = now_ns()
        self._calls: Counter[str] = Counter()
        self._faults = {fault.function: fault for fault in config.faults}
        self._curve = PowerCurve(Watts(config.idle_watts))
        self._work: WorkSource | None = None
        if config.source is Source.WORK:
            self._work = WorkSource(
                idle=Watts(config.idle_watts),
                per_cpu=Watts(config.watts_per_cpu_second),
                cpu_seconds=time.process_time,
            )
        elif config.curve:
            self._curve.play(_laid_out(config), at=Seconds(0.0))

    @property
    def uuid(self) -> GpuUuid:
        """UUID that says SIMULATED."""
        return GpuUuid(self.config.uuid or f"GPU-SIMULATED-{self.index:04d}")

    @property
    def compute_pids(self) -> tuple[int, ...]:
        """Processes on the device."""
        configured = self.config.compute_pids
        return (os.getpid(),) if configured is None else configured

    def play(self, segments: Iterable[Segment]) -> None:
        """Play a power curve from now on, then idle."""
        self._curve.play(segments, at=self._now())

    def true_energy(self, start_ns: int, end_ns: int) -> Joules:
        """What the device really drew between two clock values, before any sensor.

        Args:
            start_ns: Clock value (ns).
            end_ns: Clock value (ns).
        """
        self._now()
        start = seconds(start_ns - self._epoch_ns)
        end = seconds(end_ns - self._epoch_ns)
        return Joules(self._energy(end) - self._energy(start))

    def fail(self, function: str, *, code: int) -> None:
        """Let a function fail from now on.

        Args:
            function: Exported name, or `field:` and a field's number.
            code: `nvmlReturn_t`.
        """
        self._faults[function] = Fault(function=function, code=code)

    def fault(self, function: str) -> int:
        """NVML code with which this call fails; 0 when it does not. Counts the call."""
        self._calls[function] += 1
        planned = self._faults.get(function)
        if planned and self._calls[function] > planned.after_calls:
            return planned.code
        return 0

    def counter_mj(self) -> Millijoules:
        """The energy counter as it stands."""
        at = self._last_tick(self._now())
        freeze = self.config.counter_freeze_at_seconds
        if freeze is not None:
            at = Seconds(min(at, freeze))
        reset = self.config.counter_reset_at_seconds
        if reset is not None and at >= reset:
            return self._gained(Joules(self._energy(at) - self._energy(Seconds(reset))))
        count = self.config.counter_start_mj + self._gained(self._energy(at))
        back = self.config.counter_back_at_seconds
        if back is not None and at >= back:
            count -= self.config.counter_back_mj
        return Millijoules(count)

    def instant_mw(self) -> Milliwatts:
        """`NVML_FI_DEV_POWER_INSTANT`."""
        return self._sensor(self.config.instant_window_seconds, "instant")

    def average_mw(self) -> Milliwatts:
        """`NVML_FI_DEV_POWER_AVERAGE`."""
        return self._sensor(self.config.average_window_seconds, "average")

    def temperature_c(self) -> int:
        """Core temperature, with the inertia of a heat sink."""
        power = self._mean_power(self._now(), _THERMAL_WINDOW_SECONDS)
        return round(_AMBIENT_CELSIUS + _CELSIUS_PER_WATT * power)

    def utilization_pct(self) -> int:
        """Share of time with a kernel, as far as power tells."""
        above = self.instant_mw() - milliwatts(Watts(self.config.idle_watts * self.config.gain))
        span = milliwatts(Watts(self.config.power_limit_watts - self.config.idle_watts))
        return min(100, max(0, round(100 * above / span)))

    def power_capped_ns(self) -> int | None:
        """Cumulative time at the power cap; None where the driver does not tell."""
        share = self.config.throttled_share
        return None if share is None else round(share * (self._now_ns() - self._epoch_ns))

    def clock_mhz(self) -> int:
        """SM clock: idle or boost."""
        return _BUSY_CLOCK_MHZ if self.utilization_pct() > 1 else _IDLE_CLOCK_MHZ

    def _now(self) -> Seconds:
        at = seconds(self._now_ns() - self._epoch_ns)
        if self._work:
            self._work.observe(at)
        return at

    def _energy(self, at: Seconds) -> Joules:
        return self._work.energy(at) if self._work else self._curve.energy(at)

    def _gained(self, energy: Joules) -> Millijoules:
        return millijoules(Joules(energy * self.config.gain))

    def _last_tick(self, at: Seconds) -> Seconds:
        period = self.config.counter_tick_seconds
        if period == 0:
            return at
        number = floor(at / period - self.config.counter_phase) + 2
        while self._tick(number) > at:
            number -= 1
        return self._tick(number)

    def _tick(self, number: int) -> Seconds:
        due = (number + self.config.counter_phase) * self.config.counter_tick_seconds
        jitter = self.config.counter_jitter_seconds
        if jitter:
            due += jitter * self._chance("tick", number).uniform(-1, 1)
        return Seconds(due)

    def _sensor(self, window_seconds: float, name: str) -> Milliwatts:
        period, phase = self.config.power_tick_seconds, self.config.power_phase
        number = floor(self._now() / period - phase)
        power = self._mean_power(Seconds((number + phase) * period), window_seconds)
        power *= self.config.gain * self.config.trace_gain
        if self.config.noise_watts:
            power += self._chance(name, number).gauss(0, self.config.noise_watts)
        return milliwatts(Watts(max(0.0, power)))

    def _mean_power(self, at: Seconds, window_seconds: float) -> float:
        drawn = self._energy(at) - self._energy(Seconds(at - window_seconds))
        return drawn / window_seconds

    def _chance(self, name: str, number: int) -> random.Random:
        return random.Random(f"{self.config.seed}/{self.index}/{name}/{number}")  # noqa: S311 - a sensor's noise, no secret


def _laid_out(config: DeviceConfig) -> list[Segment]:
    """The configured curve, as often as it repeats."""
    if not config.curve_repeats:
        return list(config.curve)
    length = sum(segment.duration_seconds for segment in config.curve)
    return list(config.curve) * (floor(_REPEATED_SECONDS / length) + 1)
