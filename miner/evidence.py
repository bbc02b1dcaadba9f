"""From device facts and a measurement to the evidence of a signed report: integers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from miner.devices import DeviceFacts, DriverFacts
from miner.measurement import DeviceMeasurement, Measurement, Method
from miner.power_trace import TraceRow
from miner.refusals import NvmlFailedError
from miner.ticks import Tick
from protocol.messages import CounterTrace, Device, DeviceEnergy, MeterKind, PowerTrace
from protocol.units import (
    mebibytes,
    microseconds,
    millijoules,
    milliseconds,
    milliwatts,
    parts_per_million,
    seconds,
)

T = TypeVar("T")

EVIDENCE_MAX_BYTES = 80_000
"""What power and counter traces may take of a report: 1,000 leaves need some 200,000 bytes."""
_MARGIN = 2
_ROW_BYTES = 32
_CHANGE_BYTES = 24
"""Upper bounds of one row and one counter change in canonical JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlEnvironment:
    """NVML's part of `protocol.messages.Environment`."""

    meter: MeterKind
    driver_version: str
    nvml_version: str
    cuda_version: str
    nvml_library_digest: str | None


def build_device(facts: DeviceFacts) -> Device:
    """One GPU as reports name it.

    Raises:
        NvmlFailedError: If the board does not tell what every report must state.
    """
    return Device(
        uuid=facts.uuid,
        name=facts.name,
        architecture=facts.architecture_name,
        pci_bus_id=facts.pci_bus_id,
        pci_device_id=facts.pci_device_id,
        vbios_version=_told(facts, facts.vbios_version, "vBIOS version"),
        memory_mib=round(mebibytes(facts.memory_total_bytes)),
        power_limit_mw=_told(facts, facts.power_limit_mw, "power limit"),
        power_limit_default_mw=_told(facts, facts.power_limit_default_mw, "default power limit"),
        power_limit_max_mw=_told(facts, facts.power_limit_max_mw, "largest power limit"),
        ecc_enabled=facts.ecc_enabled,
        persistence_enabled=facts.persistence_enabled,
    )


def build_nvml_environment(
    driver: DriverFacts, *, is_simulated: bool, library_digest: str | None
) -> NvmlEnvironment:
    """NVML's part of the environment.

    Args:
        driver: Versions.
        is_simulated: Whether any device is.
        library_digest: SHA-256 of the mapped library file, if there is one.
    """
    major, minor = divmod(driver.cuda_version or 0, 1000)
    return NvmlEnvironment(
        meter=MeterKind.SIMULATED_NVML if is_simulated else MeterKind.NVML,
        driver_version=driver.driver_version,
        nvml_version=driver.nvml_version,
        cuda_version=f"{major}.{minor // 10}" if driver.cuda_version else "unknown",
        nvml_library_digest=library_digest,
    )


def build_device_energy(
    measurement: Measurement, *, max_bytes: int = EVIDENCE_MAX_BYTES
) -> tuple[DeviceEnergy, ...]:
    """What each device's readings say about the window, with traces thinned to a size.

    Runs of up to two minutes on one device keep every row; longer ones every second, third
    and so on, and the counter keeps its absolute values, so nothing else changes.

    Args:
        measurement: The window.
        max_bytes: What all traces together may take (canonical JSON).

    Raises:
        NvmlFailedError: If a row lacks what every report must state.
    """
    share = max_bytes // max(1, len(measurement.devices))
    return tuple(_device_energy(part, measurement, share) for part in measurement.devices)


def _device_energy(
    part: DeviceMeasurement, measurement: Measurement, max_bytes: int
) -> DeviceEnergy:
    start_ns = measurement.start_ns
    ticks = _around(part.ticks, measurement)
    weight = len(part.rows) * _ROW_BYTES + len(ticks) * _CHANGE_BYTES
    stride = max(1, ceil(weight / max_bytes))
    counted = part.method is Method.COUNTER
    return DeviceEnergy(
        uuid=part.uuid,
        energy_mj=millijoules(part.energy),
        counter_start_mj=part.counter_start_mj,
        counter_end_mj=part.counter_end_mj,
        trace_energy_mj=None if part.trace_energy is None else millijoules(part.trace_energy),
        idle_before_mw=None if part.idle_before is None else milliwatts(part.idle_before),
        idle_after_mw=None if part.idle_after is None else milliwatts(part.idle_after),
        tick_us=microseconds(part.calibration.period_ns) if part.calibration else 0,
        edges=part.edges.value if counted else "raw",
        edge_uncertainty_ppm=parts_per_million(part.deviation / part.energy),
        flags=tuple(flag.value for flag in part.flags),
        trace=_power_trace(part, _thinned(part.rows, stride), start_ns),
        counter=CounterTrace(
            elapsed_us=tuple(
                microseconds(round(tick.at_ns) - start_ns) for tick in _thinned(ticks, stride)
            ),
            energy_mj=tuple(tick.energy_mj for tick in _thinned(ticks, stride)),
        ),
    )


def _around(ticks: Sequence[Tick], measurement: Measurement) -> tuple[Tick, ...]:
    """Changes of the window, and two on either side of it."""
    inside = [
        number
        for number, tick in enumerate(ticks)
        if measurement.start_ns <= tick.at_ns <= measurement.end_ns
    ]
    if not inside:
        return tuple(ticks)
    return tuple(ticks[max(0, inside[0] - _MARGIN) : inside[-1] + 1 + _MARGIN])


def _thinned(items: Sequence[T], stride: int) -> tuple[T, ...]:
    """Every stride-th item, the first and the last among them."""
    if not items:
        return ()
    kept = items[:-1:stride] if len(items) > 1 else ()
    return (*kept, items[-1])


def _told(facts: DeviceFacts, value: T | None, what: str) -> T:
    if value is None:
        raise NvmlFailedError(f"{facts.uuid} does not tell its {what}")
    return value


def _power_trace(part: DeviceMeasurement, rows: Sequence[TraceRow], start_ns: int) -> PowerTrace:
    temperatures = [row.temperature_c for row in rows if row.temperature_c is not None]
    clocks = [row.sm_clock_mhz for row in rows if row.sm_clock_mhz is not None]
    if len(temperatures) < len(rows) or len(clocks) < len(rows):
        raise NvmlFailedError(f"{part.uuid} does not tell its temperature or clock")
    return PowerTrace(
        elapsed_ms=tuple(round(milliseconds(seconds(row.at_ns - start_ns))) for row in rows),
        power_mw=tuple(row.power_mw for row in rows),
        average_power_mw=tuple(row.average_power_mw for row in rows),
        temperature_c=tuple(temperatures),
        sm_clock_mhz=tuple(clocks),
    )
