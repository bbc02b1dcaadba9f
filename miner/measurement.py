"""From a window's readings to a `Measurement`: energy, interval, cross-check and flags.

Counter and edges are `miner.counter`'s; here they meet the power trace, the idle power and
the rules on what is odd (a flag) and what is no measurement at all (a refusal). Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import hypot, sqrt

from miner.counter import Edge, Edges, closing_edge, energy_between, interpolated_edge, opening_edge
from miner.devices import Occupancy, ThrottleTimes
from miner.power_trace import SENSOR_SECONDS, TraceRow, peak_power, trace_tolerance, trapezoid
from miner.refusals import (
    CounterJumpedError,
    EdgesUnknownError,
    TraceApartError,
    WindowTooShortError,
)
from miner.ticks import Reading, Tick, TickCalibration
from protocol.constants import SYSTEMATIC_PPM
from protocol.ids import GpuUuid
from protocol.units import (
    Joules,
    Microseconds,
    Millijoules,
    Seconds,
    Watts,
    joules,
    microseconds,
    millijoules,
    nanoseconds,
    parts_per_million,
    seconds,
    watts,
)

MINIMUM_TICKS = 1
"""Shortest window, in ticks of the counter (0.1 s at 100 ms)."""
TRACE_MINIMUM_SECONDS = Seconds(1.0)
"""Shortest window that a power trace alone may measure."""
_IDLE_DRIFT_SHARE = 0.05
_FLAT_SHARE = 0.1
_FLAT_WATTS = 5.0
_BLURS = 2
"""An edge is idle when the power beside it varies less than 10 %, 5 W, or twice what late polls
make of constant power, from tick to tick."""
_JUMP_FACTOR = 2.0
"""No board draws twice its enforced limit over a tick; short overshoot stays below."""


class Method(StrEnum):
    """Where the joules come from."""

    COUNTER = "counter"
    """The energy counter, corrected at both edges."""
    TRACE = "trace"
    """The trapezoid of instant power: a lower tier, where there is no counter."""
    ESTIMATE = "estimate"
    """A model of the host, without any energy reading."""


class Flag(StrEnum):
    """What was odd and did not void the measurement."""

    COUNTER_UNSUPPORTED = "counter_unsupported"
    """No energy counter: measured from the power trace."""
    COUNTER_NO_PERMISSION = "counter_no_permission"
    """The energy counter may not be read: measured from the power trace."""
    TRACE_APART = "trace_apart"
    """Counter and trace differ by more than their resolution explains."""
    TRACE_MISSING = "trace_missing"
    """No instant power: nothing to cross-check the counter with."""
    EDGES_NOT_IDLE = "edges_not_idle"
    """Idle edges were asked for and the power beside one was not flat."""
    IDLE_DRIFT = "idle_drift"
    """Idle power before and after differs by more than 5 %."""
    PROCESSES_UNKNOWN = "processes_unknown"
    """The driver does not say who uses the GPU."""
    PROCESSES_FOREIGN = "processes_foreign"
    """Other processes use the GPU, and the caller put up with it."""
    OCCUPIED_BEFORE = "occupied_before"
    """Kernels ran more than 2 % of the time before the work, when the GPU should have been idle."""
    MEMORY_HELD = "memory_held"
    """More than 2 GiB of memory are held, and the driver does not say by whom."""
    PERSISTENCE_OFF = "persistence_off"
    """Persistence mode is off or unknown."""
    THROTTLED = "throttled"
    """Power cap, heat or power brake slowed the clocks within the window."""
    SIMULATED = "simulated"
    """No real device."""
    ESTIMATED = "estimated"
    """No energy reading at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReadings:
    """All that was read of one device around one window."""

    uuid: GpuUuid
    start: Reading | None
    """Counter right after the window opened; None without a counter."""
    end: Reading | None
    """Counter right after the window closed."""
    ticks: Sequence[Tick]
    rows: Sequence[TraceRow]
    calibration: TickCalibration | None
    power_limit_mw: int | None
    idle_before: Watts | None = None
    """Idle power over a longer span before the window, if it was taken."""
    throttled: ThrottleTimes | None = None
    """Within the window."""
    occupancy: Occupancy | None = None
    """Before the work."""
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMeasurement:
    """One device's part of a window."""

    uuid: GpuUuid
    method: Method
    edges: Edges
    energy: Joules
    deviation: Joules
    """Standard uncertainty that edges and readings leave."""
    half_width: Joules
    """Half of the 95 % interval, sensor gain left out."""
    mean_power: Watts
    peak_power: Watts | None
    """Largest row of the trace."""
    counter_start_mj: int
    counter_end_mj: int
    """Raw counter at the edges; 0 and 0 without a counter."""
    trace_energy: Joules | None
    idle_before: Watts | None
    idle_after: Watts | None
    calibration: TickCalibration | None
    flags: tuple[Flag, ...]
    ticks: tuple[Tick, ...]
    rows: tuple[TraceRow, ...]
    throttled: ThrottleTimes | None = None
    """How long each throttle slowed the clocks, within the window."""
    occupancy: Occupancy | None = None
    """What kept the GPU before the work, when it should have been idle."""

    @property
    def trace_ratio(self) -> float | None:
        """Trace over energy, less one."""
        if self.trace_energy is None or self.energy <= 0:
            return None
        return self.trace_energy / self.energy - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Energy of one window, summed over all devices."""

    start_ns: int
    end_ns: int
    method: Method
    energy: Joules
    """Gross: idle draw included."""
    deviation: Joules
    """Standard uncertainty (type A) that edges and readings leave."""
    half_width: Joules
    """Half of the 95 % interval that goes with it; sensor gain left out."""
    systematic_ppm: int
    """Sensor gain uncertainty (k = 1): proportional, per board, never averaged away."""
    devices: tuple[DeviceMeasurement, ...]
    flags: tuple[Flag, ...]

    @property
    def duration(self) -> Seconds:
        """Length of the window."""
        return seconds(self.end_ns - self.start_ns)

    @property
    def duration_us(self) -> Microseconds:
        """Length of the window in whole microseconds."""
        return microseconds(self.end_ns - self.start_ns)

    @property
    def energy_mj(self) -> Millijoules:
        """Energy in whole mJ."""
        return millijoules(self.energy)

    @property
    def mean_power(self) -> Watts:
        """Energy over duration."""
        return Watts(self.energy / self.duration)

    @property
    def net_energy(self) -> Joules | None:
        """Energy above the idle power before the window; None when that is not known."""
        idles = [device.idle_before for device in self.devices]
        known = [idle for idle in idles if idle is not None]
        if not known or len(known) < len(idles):
            return None
        return Joules(self.energy - sum(known) * self.duration)

    @property
    def deviation_ppm(self) -> int:
        """Standard uncertainty relative to the energy."""
        return parts_per_million(self.deviation / self.energy)


def measure_window(
    devices: Sequence[DeviceReadings], *, start_ns: int, end_ns: int, edges: Edges
) -> Measurement:
    """Energy of one window over all devices.

    Args:
        devices: What was read; at least one.
        start_ns: When the window opened (monotonic).
        end_ns: When it closed.
        edges: What the caller knows of the load around the window.

    Raises:
        WindowTooShortError: If the window is under two ticks, or under 1 s without a counter.
        EdgesUnknownError: If the counter was not seen moving around an edge.
        CounterJumpedError: If the counter rose faster than the board can draw.
    """
    parts = tuple(_measure_device(device, start_ns, end_ns, edges) for device in devices)
    by_trace = any(part.method is Method.TRACE for part in parts)
    flags = {flag for part in parts for flag in part.flags}
    return Measurement(
        start_ns=start_ns,
        end_ns=end_ns,
        method=Method.TRACE if by_trace else Method.COUNTER,
        energy=Joules(sum(part.energy for part in parts)),
        deviation=Joules(hypot(*(part.deviation for part in parts))),
        half_width=Joules(hypot(*(part.half_width for part in parts))),
        systematic_ppm=SYSTEMATIC_PPM,
        devices=parts,
        flags=tuple(flag for flag in Flag if flag in flags),
    )


def refuse_unless_consistent(measurement: Measurement) -> None:
    """Refuse a measurement whose cross-check failed, where only sound ones count.

    Raises:
        TraceApartError: If a device's trace and counter disagree.
    """
    for part in measurement.devices:
        if Flag.TRACE_APART in part.flags and part.trace_ratio is not None:
            raise TraceApartError(
                f"power trace and energy counter of {part.uuid} differ by {part.trace_ratio:+.1%}"
            )


def _measure_device(
    device: DeviceReadings, start_ns: int, end_ns: int, edges: Edges
) -> DeviceMeasurement:
    if device.start is None or device.end is None or device.calibration is None:
        return _measure_by_trace(device, start_ns, end_ns)
    least_ns = MINIMUM_TICKS * device.calibration.period_ns
    _refuse_short(start_ns, end_ns, least_ns)
    _refuse_jumps(device.ticks, device.power_limit_mw)
    opening, closing, used = _edges(device, device.calibration, (start_ns, end_ns), edges)
    total = energy_between(opening, closing)
    trace = trapezoid(device.rows, start_ns, end_ns)
    idle = used is Edges.IDLE
    before = device.idle_before or (watts(opening.power_mw) if idle else None)
    after = watts(closing.power_mw) if idle else None
    energy = joules(total.energy_mj)
    flags = list(device.flags)
    if used is not edges:
        flags.append(Flag.EDGES_NOT_IDLE)
    if before and after and abs(after / before - 1) > _IDLE_DRIFT_SHARE:
        flags.append(Flag.IDLE_DRIFT)
    flags += _trace_flags(trace, energy, device, start_ns, end_ns)
    return DeviceMeasurement(
        uuid=device.uuid,
        method=Method.COUNTER,
        edges=used,
        energy=energy,
        deviation=joules(total.deviation_mj),
        half_width=joules(total.half_width_mj),
        mean_power=Watts(energy / seconds(end_ns - start_ns)),
        peak_power=peak_power(device.rows, start_ns, end_ns),
        counter_start_mj=device.start.energy_mj,
        counter_end_mj=device.end.energy_mj,
        trace_energy=trace,
        idle_before=before,
        idle_after=after,
        calibration=device.calibration,
        flags=tuple(flags),
        ticks=tuple(device.ticks),
        rows=tuple(device.rows),
        throttled=device.throttled,
        occupancy=device.occupancy,
    )


def _edges(
    device: DeviceReadings, calibration: TickCalibration, window: tuple[int, int], edges: Edges
) -> tuple[Edge, Edge, Edges]:
    """Both edges, corrected as idle if that is asked for and true, else as busy."""
    start_ns, end_ns = window
    if edges is Edges.IDLE:
        opening = opening_edge(device.ticks, start_ns, calibration)
        closing = closing_edge(device.ticks, end_ns, calibration)
        if _is_flat(opening) and _is_flat(closing):
            return opening, closing, Edges.IDLE
    return (
        interpolated_edge(device.ticks, start_ns, calibration),
        interpolated_edge(device.ticks, end_ns, calibration),
        Edges.BUSY,
    )


def _is_flat(edge: Edge) -> bool:
    """Whether the power beside an edge is steady, as far as late polls let us tell."""
    steadiness = edge.steadiness
    limit = max(_FLAT_WATTS, _FLAT_SHARE * watts(edge.power_mw), _BLURS * watts(steadiness.blur_mw))
    return watts(steadiness.spread_mw) <= limit


def _measure_by_trace(device: DeviceReadings, start_ns: int, end_ns: int) -> DeviceMeasurement:
    """The lower tier: sensor lag at both edges bounds the error."""
    _refuse_short(start_ns, end_ns, nanoseconds(TRACE_MINIMUM_SECONDS))
    energy = trapezoid(device.rows, start_ns, end_ns)
    peak = peak_power(device.rows, start_ns, end_ns)
    if energy is None or peak is None or energy <= 0:
        raise EdgesUnknownError("the power trace does not cover the window")
    lag = Joules(SENSOR_SECONDS * peak)
    return DeviceMeasurement(
        uuid=device.uuid,
        method=Method.TRACE,
        edges=Edges.BUSY,
        energy=energy,
        deviation=Joules(lag / sqrt(3)),
        half_width=lag,
        mean_power=Watts(energy / seconds(end_ns - start_ns)),
        peak_power=peak,
        counter_start_mj=0,
        counter_end_mj=0,
        trace_energy=energy,
        idle_before=device.idle_before,
        idle_after=None,
        calibration=None,
        flags=device.flags,
        ticks=(),
        rows=tuple(device.rows),
        throttled=device.throttled,
        occupancy=device.occupancy,
    )


def _refuse_short(start_ns: int, end_ns: int, least_ns: int) -> None:
    if end_ns - start_ns < least_ns:
        raise WindowTooShortError(
            f"the window of {seconds(end_ns - start_ns):.3f} s is shorter than"
            f" {seconds(least_ns):.3f} s"
        )


def _refuse_jumps(ticks: Sequence[Tick], limit_mw: int | None) -> None:
    if not limit_mw:
        return
    for tick, later in pairwise(ticks):
        span = seconds(later.latest_ns - tick.earliest_ns)
        rise = joules(later.energy_mj - tick.energy_mj)
        if rise > _JUMP_FACTOR * watts(limit_mw) * span:
            raise CounterJumpedError(
                f"the energy counter rose by {rise:.1f} J within {span:.3f} s, on a board"
                f" limited to {watts(limit_mw):.0f} W"
            )


def _trace_flags(
    trace: Joules | None, energy: Joules, device: DeviceReadings, start_ns: int, end_ns: int
) -> list[Flag]:
    if trace is None or energy <= 0 or device.calibration is None:
        return [Flag.TRACE_MISSING]
    tolerance = trace_tolerance(device.rows, start_ns, end_ns, device.calibration.period_ns)
    return [Flag.TRACE_APART] if abs(trace / energy - 1) > tolerance else []
