"""What `carbonbench-miner meter --json` prints: schema `carbonbench-meter/1`."""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from miner.devices import DeviceFacts, ThrottleTimes
from miner.measurement import DeviceMeasurement, Flag, Measurement, Method
from miner.refusals import MeterError
from protocol.units import Joules, seconds

SCHEMA = "carbonbench-meter/1"
WITNESS_SECONDS = 30.0
"""Shorter windows are too short to hold a witness against the meter."""
WITNESS_SHARE = 0.02
"""A witness that is further off over 30 s is apart."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RefusalRecord(_Record):
    """Why there is no number."""

    reason: str
    """Stable code."""
    detail: str
    hint: str


class WitnessRecord(_Record):
    """What codecarbon says of the same window; it never changes the figure."""

    name: str
    """With version."""
    energy_joules: float | None
    """Null where it saw none."""
    ratio: float | None
    """Its energy over ours, less one."""
    is_apart: bool | None
    """Whether it is more than 2 % off; null under 30 s."""


class ThrottleRecord(_Record):
    """How long each throttle slowed the clocks in the window; null is what is not told."""

    power_cap_seconds: float | None
    software_heat_seconds: float | None
    hardware_heat_seconds: float | None
    power_brake_seconds: float | None


class DeviceRecord(_Record):
    """One GPU."""

    index: int = Field(ge=0)
    """NVML index."""
    uuid: str
    name: str
    method: Method
    edges: Literal["idle", "busy"]
    """How the edges were corrected."""
    energy_joules: float
    half_width_95_joules: float = Field(ge=0)
    """Half of the 95 % interval, sensor gain left out."""
    mean_power_watts: float
    peak_power_watts: float | None
    """Largest row of the 10 Hz trace."""
    idle_before_watts: float | None
    idle_after_watts: float | None
    """Beside the edges; null at busy edges."""
    trace_energy_joules: float | None
    """Trapezoid of instant power: the cross-check."""
    trace_ratio: float | None
    """Trace over energy, less one."""
    tick_seconds: float | None
    tick_jitter_seconds: float | None
    """The counter's calibration; null without a counter."""
    throttled: ThrottleRecord | None
    utilization_before_pct: int | None = Field(ge=0, le=100)
    """Before the work; null where the driver does not tell."""
    memory_before_bytes: int | None = Field(ge=0)
    """Held before the work."""
    flags: list[Flag]


class MeterRecord(_Record):
    """A command that ran; the keys from `method` on are absent where `refusal` is not null."""

    schema_name: Literal["carbonbench-meter/1"] = Field(alias="schema")
    command: list[str]
    exit_status: int
    """The command's; 128 + n when signal n ended it."""
    driver_version: str
    nvml_version: str
    refusal: RefusalRecord | None
    method: Method | None = None
    energy_joules: float | None = None
    """Gross, all devices."""
    interval_95_joules: tuple[float, float] | None = None
    """Sensor gain left out."""
    systematic_ppm: int | None = None
    """Sensor gain uncertainty (k = 1), never averaged away."""
    net_energy_joules: float | None = None
    """Less idle power before the window times its length; null where that is not known."""
    duration_seconds: float | None = None
    mean_power_watts: float | None = None
    flags: list[Flag] | None = None
    devices: list[DeviceRecord] | None = None
    witness: WitnessRecord | None = None
    """Absent unless it was asked for."""


def schema_json() -> str:
    """The JSON Schema of `MeterRecord`."""
    return json.dumps(MeterRecord.model_json_schema(by_alias=True), indent=1) + "\n"


def refusal_record(refusal: MeterError) -> RefusalRecord:
    """A refusal."""
    return RefusalRecord(reason=refusal.reason, detail=str(refusal), hint=refusal.hint)


def witness_record(name: str, energy: Joules | None, measured: Measurement | None) -> WitnessRecord:
    """What a witness says beside the measurement.

    Args:
        name: Who, with version.
        energy: Its energy; None where it saw none.
        measured: Ours; None where it was refused.
    """
    ratio = energy / measured.energy - 1 if measured and energy is not None else None
    long_enough = measured is not None and measured.duration >= WITNESS_SECONDS
    return WitnessRecord(
        name=name,
        energy_joules=energy,
        ratio=ratio,
        is_apart=abs(ratio) > WITNESS_SHARE if ratio is not None and long_enough else None,
    )


def device_record(facts: DeviceFacts, part: DeviceMeasurement) -> DeviceRecord:
    """One GPU's part."""
    calibration, occupancy = part.calibration, part.occupancy
    return DeviceRecord(
        index=facts.index,
        uuid=facts.uuid,
        name=facts.name,
        method=part.method,
        edges=part.edges.value,
        energy_joules=part.energy,
        half_width_95_joules=part.half_width,
        mean_power_watts=part.mean_power,
        peak_power_watts=part.peak_power,
        idle_before_watts=part.idle_before,
        idle_after_watts=part.idle_after,
        trace_energy_joules=part.trace_energy,
        trace_ratio=part.trace_ratio,
        tick_seconds=seconds(calibration.period_ns) if calibration else None,
        tick_jitter_seconds=seconds(calibration.jitter_ns) if calibration else None,
        throttled=_throttle_record(part.throttled) if part.throttled else None,
        utilization_before_pct=occupancy.utilization_pct if occupancy else None,
        memory_before_bytes=occupancy.memory_used_bytes if occupancy else None,
        flags=list(part.flags),
    )


def _throttle_record(times: ThrottleTimes) -> ThrottleRecord:
    return ThrottleRecord(
        power_cap_seconds=_seconds(times.power_cap_ns),
        software_heat_seconds=_seconds(times.software_heat_ns),
        hardware_heat_seconds=_seconds(times.hardware_heat_ns),
        power_brake_seconds=_seconds(times.power_brake_ns),
    )


def _seconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else seconds(duration_ns)
