"""What is read of one device while it is metered: counter ticks, evidence rows, throttling."""

import threading
from collections.abc import Sequence

from miner.counter import Edges
from miner.devices import DeviceFacts, Occupancy, ThrottleTimes
from miner.measurement import DeviceReadings, Flag
from miner.nvml import NvmlDevice
from miner.power_trace import TraceRow, trapezoid
from miner.refusals import CounterUnsupportedError, MeterError, PermissionRefusedError
from miner.ticks import Reading, Tick, TickCalibration, calibrate_tick, tick_between
from miner.timer import Timer
from protocol.constants import TRACE_RATE_HZ
from protocol.units import Joules, Seconds, Watts, joules, millijoules, nanoseconds, seconds

POLL_SECONDS = Seconds(0.001)
"""Between two counter readings while the ticks are not known."""
_MARGIN_NS = nanoseconds(Seconds(0.004))
"""Polling does not pause so long before and after a tick is due."""
_SHARP_SHARE = 0.002
_SHARP_NS = nanoseconds(Seconds(0.0001))
"""A tick is well timed when its time is known to 0.2 % of the period, or 0.1 ms."""
_KEPT = 16
"""How many of an earlier window's ticks are kept, to know when the next one is due."""
_REMEMBERED = 256
"""How many of the last ticks are looked at."""
_TRACE_TIER_SECONDS = Seconds(0.02)
"""Between rows where the trace must stand in for the counter."""


class Sampler:
    """The state of one device's readings; several threads may ask for readings.

    Args:
        device: The GPU.
        timer: Clock of all readings.
    """

    def __init__(self, device: NvmlDevice, timer: Timer) -> None:
        self.facts: DeviceFacts = device.facts
        self.ticks: list[Tick] = []
        self.rows: list[TraceRow] = []
        self.flags: set[Flag] = set()
        self.calibration: TickCalibration | None = None
        self.idle_before: Watts | None = None
        self.device = device
        self._timer = timer
        self._last: Reading | None = None
        self._lock = threading.Lock()
        self._throttled_before: ThrottleTimes | None = None
        self._throttled: ThrottleTimes | None = None
        self._occupancy: Occupancy | None = None
        self._start: Reading | None = None
        self._end: Reading | None = None
        self.has_counter = self._probe()

    def observe(self) -> Reading | None:
        """Read the counter and note a tick; None without a counter.

        Raises:
            MeterError: If the counter fails, restarts or runs backwards.
        """
        if not self.has_counter:
            return None
        with self._lock:
            before_ns = self._timer.now_ns()
            energy_mj = self.device.energy_mj()
            reading = Reading(
                before_ns=before_ns, after_ns=self._timer.now_ns(), energy_mj=energy_mj
            )
            tick = tick_between(self._last, reading, self.calibration) if self._last else None
            if tick:
                self.ticks.append(tick)
            self._last = reading
        return reading

    def take_row(self) -> None:
        """Add one row to the evidence trace, and a counter reading."""
        self.observe()
        at_ns = self._timer.now_ns()
        power = self.device.power()
        if power is None:
            return
        self.rows.append(
            TraceRow(
                at_ns=(at_ns + self._timer.now_ns()) // 2,
                power_mw=power.instant_mw,
                average_power_mw=power.average_mw,
                temperature_c=self.device.temperature_c(),
                sm_clock_mhz=self.device.sm_clock_mhz(),
            )
        )

    def calibrate(self) -> TickCalibration:
        """Take the ticks seen so far as the measure of the period.

        Raises:
            CounterStuckError: If there are too few.
        """
        self.calibration = calibrate_tick(self.ticks)
        return self.calibration

    def start_afresh(self) -> None:
        """Forget rows and all but the last ticks of an earlier window."""
        self.ticks, self.rows = self.ticks[-_KEPT:], []
        self._start = self._end = None
        self._last = None  # what happened to the counter between windows is nobody's concern
        self.observe()
        self.take_row()

    def forget_ticks(self) -> None:
        """Forget the period and all ticks, before a calibration."""
        self.calibration = None
        self.ticks = []

    def open_window(self) -> None:
        """Note throttling, before the window opens."""
        self._throttled_before = self.device.throttle_times()

    def mark_start(self) -> None:
        """Read the counter right after the window opened."""
        self._start = self.observe()

    def mark_end(self) -> None:
        """Read the counter right after the window closed."""
        self._end = self.observe()

    def close_window(self) -> None:
        """Note throttling, after the window closed."""
        if self._throttled_before is None:
            return
        self._throttled = self.device.throttle_times().since(self._throttled_before)
        if self._throttled.is_throttled:
            self.flags.add(Flag.THROTTLED)

    def note_occupancy(self) -> None:
        """Note, on a device that has been left alone for a while, what keeps it."""
        self._occupancy = self.device.occupancy()
        self.flags -= {Flag.OCCUPIED_BEFORE}
        if self._occupancy.is_busy:
            self.flags.add(Flag.OCCUPIED_BEFORE)

    def energy_since_start_mj(self, start_ns: int) -> int:
        """Energy since the window opened; moves in ticks. From the trace without a counter."""
        if self._start is not None:
            reading = self.device.energy_mj()
            tick_between(self._start, Reading(before_ns=0, after_ns=0, energy_mj=reading))
            return reading - self._start.energy_mj
        latest_ns = max((row.at_ns for row in self.rows), default=start_ns)
        drawn = trapezoid(self.rows, start_ns, max(start_ns, latest_ns))
        return millijoules(drawn or Joules(0.0))

    def has_ticks(self, since_ns: int, count: int) -> bool:
        """Whether enough well-timed ticks came after a time, or twice as many of any kind."""
        later = [tick for tick in self.ticks[-_REMEMBERED:] if tick.earliest_ns >= since_ns]
        return sum(map(self._is_sharp, later)) >= count or len(later) >= 2 * count

    def next_poll_seconds(self) -> Seconds:
        """How long polling may pause: until shortly before the next tick is due.

        Around the time when a tick is due there is no pause at all: a sleeping thread wakes
        late on a busy machine, and the tick would be badly timed.
        """
        if self.calibration is None or not self.ticks:
            return POLL_SECONDS
        ahead_ns, margin_ns = self._next_due_ns(self.calibration)
        if ahead_ns <= margin_ns:
            return Seconds(0.0)
        return max(POLL_SECONDS, seconds(ahead_ns - margin_ns))

    def _next_due_ns(self, calibration: TickCalibration) -> tuple[float, float]:
        """Time until the next tick is due, negative just after, and how far off that may be."""
        recent = self.ticks[-_REMEMBERED:]
        anchor = next((tick for tick in reversed(recent) if self._is_sharp(tick)), recent[-1])
        period_ns = calibration.period_ns
        since_ns = self._timer.now_ns() - anchor.at_ns
        turns = max(1, round(since_ns / period_ns))
        drift_ns = turns * calibration.drift_ns
        margin_ns = anchor.half_width_ns + _MARGIN_NS + 3 * (drift_ns + calibration.jitter_ns)
        margin_ns = min(period_ns / 2, margin_ns)
        ahead_ns = turns * period_ns - since_ns
        seen = self.ticks[-1].earliest_ns > anchor.at_ns + (turns - 0.5) * period_ns
        if seen or ahead_ns < -margin_ns:
            ahead_ns += period_ns
        return ahead_ns, margin_ns

    def _is_sharp(self, tick: Tick) -> bool:
        if self.calibration is None:
            return True
        return tick.half_width_ns <= max(_SHARP_NS, _SHARP_SHARE * self.calibration.period_ns)

    def next_row_seconds(self) -> Seconds:
        """How long to pause before the next evidence row: about 100 ms, just after a tick."""
        if not self.has_counter:
            return _TRACE_TIER_SECONDS
        pause = Seconds(1 / TRACE_RATE_HZ)
        if self.calibration is None or not self.ticks:
            return pause
        period = seconds(self.calibration.period_ns)
        settle = min(0.25 * period, 0.005)
        since = seconds(self._timer.now_ns() - self.ticks[-1].at_ns)
        ticks_ahead = max(1, -(-(since + 0.9 * pause) // period))
        wait = ticks_ahead * period + settle - since
        return Seconds(wait) if wait < 1.5 * pause else pause

    def readings(self) -> DeviceReadings:
        """Everything that was read around the window."""
        return DeviceReadings(
            uuid=self.facts.uuid,
            start=self._start,
            end=self._end,
            ticks=tuple(self.ticks),
            rows=tuple(self.rows),
            calibration=self.calibration,
            power_limit_mw=self.facts.power_limit_mw,
            idle_before=self.idle_before,
            throttled=self._throttled,
            occupancy=self._occupancy,
            flags=tuple(flag for flag in Flag if flag in self.flags),
        )

    def idle_power(self, since_ns: int) -> Watts | None:
        """Mean power since a time, from the ticks; None with fewer than two."""
        quiet = [tick for tick in self.ticks if tick.earliest_ns >= since_ns]
        if len(quiet) < 2:  # noqa: PLR2004 - a slope needs two
            return None
        first, last = quiet[0], quiet[-1]
        drawn = joules(last.energy_mj - first.energy_mj)
        return Watts(drawn / seconds(last.at_ns - first.at_ns))

    def _probe(self) -> bool:
        """Whether there is a counter; without one, instant power must stand in, flagged."""
        try:
            self.device.energy_mj()
        except (CounterUnsupportedError, PermissionRefusedError) as refusal:
            self._use_trace(refusal)
            return False
        return True

    def _use_trace(self, refusal: MeterError) -> None:
        if self.device.power() is None:
            raise refusal
        forbidden = isinstance(refusal, PermissionRefusedError)
        self.flags.add(Flag.COUNTER_NO_PERMISSION if forbidden else Flag.COUNTER_UNSUPPORTED)


def needs_ticks(samplers: Sequence[Sampler], since_ns: int, count: int) -> bool:
    """Whether a device with a counter still lacks ticks after a time."""
    return any(
        sampler.has_counter and not sampler.has_ticks(since_ns, count) for sampler in samplers
    )


def next_poll_seconds(samplers: Sequence[Sampler]) -> float:
    """How long polling may pause over all devices with a counter."""
    waits = [sampler.next_poll_seconds() for sampler in samplers if sampler.has_counter]
    return min(waits, default=_TRACE_TIER_SECONDS)


def wants_sharp_tick(samplers: Sequence[Sampler], edges: Edges, start_ns: int) -> bool:
    """Whether the tick after a busy opening edge has not been seen yet."""
    return edges is Edges.BUSY and needs_ticks(samplers, start_ns, 1)
