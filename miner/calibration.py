"""What has to be seen once on real hardware: tick, call cost, and counter against trace.

`carbonbench-miner check --calibrate` makes this record for an operator to send in. Nothing in
it is secret but the device's UUID, which names the board.
"""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median

from miner.devices import DeviceFacts, DriverFacts
from miner.measurement import Flag
from miner.meter import NvmlMeter
from miner.nvml import NvmlDevice
from miner.ticks import TickCalibration
from miner.timer import Timer
from protocol.errors import ConfigurationError
from protocol.units import Joules, Seconds, Watts, nanoseconds

SCHEMA = "carbonbench-calibration/1"
IDLE_SECONDS = Seconds(10.0)
LOAD_SECONDS = Seconds(10.0)
LOAD_COMMAND_SECONDS = Seconds(60.0)
"""A load that is a command is ended then."""
_CALLS = 200
_HIGH_RANK = 0.99
_POWER_SECONDS = Seconds(3.0)
_POWER_POLL_SECONDS = Seconds(0.002)
_LEAST_CHANGES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCost:
    """How long one NVML call takes."""

    median_ns: int
    high_ns: int
    """99 of 100 calls are faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Counter against trace over one window."""

    duration_seconds: Seconds
    counter_joules: Joules
    trace_joules: Joules | None
    trace_ratio: float | None
    """Trace over counter, less one."""
    mean_power_watts: Watts
    half_width_joules: Joules
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCalibration:
    """One device's part of the record."""

    facts: DeviceFacts
    tick: TickCalibration | None
    """Period and scatter of the energy counter's updates; None without a counter."""
    power_period_ns: int | None
    """Median time between changes of the instant power; None when it did not change."""
    energy_call: CallCost | None
    power_call: CallCost
    idle: Comparison
    load: Comparison | None
    """None when no load was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord:
    """The whole record."""

    schema: str
    driver: DriverFacts
    devices: tuple[DeviceCalibration, ...]


def calibrate_record(
    meter: NvmlMeter, timer: Timer, *, load: Callable[[float], None] | None = None
) -> CalibrationRecord:
    """Take the record; about 20 s, and 10 s more with a load.

    Args:
        meter: An open meter.
        timer: Clock of the call costs.
        load: Keeps the GPUs busy for the given seconds, and returns when they are done.

    Raises:
        MeterError: If a device cannot be metered.
    """
    meter.calibrate()
    idle = _compared(meter, lambda: timer.sleep(IDLE_SECONDS))
    loaded = _compared(meter, lambda: load(LOAD_SECONDS)) if load else None
    devices = tuple(
        DeviceCalibration(
            facts=sampler.facts,
            tick=sampler.calibration,
            power_period_ns=_power_period(sampler.device, timer),
            energy_call=_cost(sampler.device.energy_mj, timer) if sampler.has_counter else None,
            power_call=_cost(sampler.device.power, timer),
            idle=idle[number],
            load=loaded[number] if loaded else None,
        )
        for number, sampler in enumerate(meter.samplers)
    )
    return CalibrationRecord(schema=SCHEMA, driver=meter.driver, devices=devices)


def command_load(command: str) -> Callable[[float], None]:
    """A load that runs a command to its end, 60 s at most, however long the load is asked for.

    A program needs time to start, so the window is its whole run: counter and trace are compared
    over the start, the load and the end.

    Args:
        command: Program and arguments, quoted as for a shell.
    """
    arguments = shlex.split(command)

    def run(_duration_seconds: float) -> None:
        try:
            subprocess.run(arguments, check=True, timeout=LOAD_COMMAND_SECONDS)  # noqa: S603 - the operator's own
        except subprocess.TimeoutExpired:
            return
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigurationError(
                f"the load does not run: {error}",
                hint="Give --load a command that keeps the GPU busy, quoted as one word.",
            ) from error

    return run


def record_json(record: CalibrationRecord) -> dict[str, object]:
    """The record as JSON; the unit is the last word of every key."""
    return asdict(record)


def _compared(meter: NvmlMeter, run: Callable[[], None]) -> tuple[Comparison, ...]:
    """Counter against trace over one window, for every device."""
    with meter.window() as window:
        run()
    measured = window.measurement
    return tuple(
        Comparison(
            duration_seconds=measured.duration,
            counter_joules=part.energy,
            trace_joules=part.trace_energy,
            trace_ratio=part.trace_ratio,
            mean_power_watts=part.mean_power,
            half_width_joules=part.half_width,
            flags=part.flags,
        )
        for part in measured.devices
    )


def _cost(call: Callable[[], object], timer: Timer) -> CallCost:
    costs_ns: list[int] = []
    for _ in range(_CALLS):
        before_ns = timer.now_ns()
        call()
        costs_ns.append(timer.now_ns() - before_ns)
    costs_ns.sort()
    return CallCost(
        median_ns=round(median(costs_ns)), high_ns=costs_ns[round(_HIGH_RANK * _CALLS) - 1]
    )


def _power_period(device: NvmlDevice, timer: Timer) -> int | None:
    """Median time between changes of the instant power."""
    until_ns = timer.now_ns() + nanoseconds(_POWER_SECONDS)
    changes_ns: list[int] = []
    last = device.power()
    while last is not None and timer.now_ns() < until_ns:
        timer.sleep(_POWER_POLL_SECONDS)
        power = device.power()
        if power is not None and power.instant_mw != last.instant_mw:
            changes_ns.append(timer.now_ns())
            last = power
    if len(changes_ns) < _LEAST_CHANGES:
        return None
    return round(median(later - change for change, later in pairwise(changes_ns)))
