"""Physical limits of GPUs, from `data/hardware.json`, each with its source.

Only limits that hold for every board of a kind are used, because a report beyond one of them
is rejected: of two published figures the wider one, and 10 % more for boards that their owners
may overclock. Hardware that the table does not know gets bounds wide enough for any GPU: it is
not refused. Names are NVML's, which a liar can set; so these bounds stop absurd claims, and
the cohort does the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from protocol.messages import Device
from protocol.units import Joules, Seconds, Watts, seconds_from_us, watts

SIMULATED_MARK = "SIMULATED"
"""Stands in the name and UUID of every simulated device."""

_GIGA = 10**9
_TERA = 10**12
_BITS_PER_BYTE = 8
_PICO = 1e-12
_OVERCLOCKED = 1.1
_MEMORY_SHARE = 0.1
_NVIDIA = 0x10DE
_VENDOR_MASK = 0xFFFF
"""`nvmlPciInfo_t.pciDeviceId` has the vendor in its lower half."""

_Memory = Literal["HBM", "GDDR6", "GDDR6X", "GDDR7", "unknown", "simulated"]


class _Figure(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int
    source: str
    """Key into `_Table.sources`."""


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    date: str
    """When the figure was last held against it."""
    status: Literal["published", "assumed"]


class _Limits(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: _Memory
    memory_bandwidth_gb_per_s: _Figure
    peak_16bit_tflops: _Figure
    power_limit_max_w: _Figure
    idle_min_w: _Figure
    overclockable: bool = False


class _Gpu(_Limits):
    names: tuple[str, ...]
    architecture: str
    memory_mib: int


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[2]
    about: str
    memory_pj_per_bit: dict[_Memory, _Figure]
    sources: dict[str, _Source]
    unknown: _Limits
    simulated: _Limits
    gpus: tuple[_Gpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Limits of one or several GPUs taken together."""

    known: bool
    """Whether every device is in the table."""
    memory_bandwidth_bytes_per_s: float
    peak_flop_per_s: float
    power_max: Watts
    """The lower of the enforced limits and what boards of this kind can be set to."""
    idle_min: Watts
    """Less than this no such board draws with a driver loaded."""
    memory_joules_per_byte: float
    """Energy to move one byte from memory, at the very least."""

    def weight_reading_energy(self, weights_bytes: int, tokens: int) -> Joules:
        """Energy to read all weights once per generated token, nothing else counted (J)."""
        return Joules(self.memory_joules_per_byte * weights_bytes * tokens)

    def weight_reading_time(self, weights_bytes: int, tokens: int) -> Seconds:
        """Time to read all weights once per generated token at full bandwidth (s)."""
        return Seconds(weights_bytes * tokens / self.memory_bandwidth_bytes_per_s)

    def prefill_time(self, parameters: int, input_tokens: int) -> Seconds:
        """Time for two operations per parameter and prompt token at the peak rate (s)."""
        return Seconds(2 * parameters * input_tokens / self.peak_flop_per_s)


def is_simulated(device: Device) -> bool:
    """Whether a device says that it is simulated."""
    return SIMULATED_MARK in device.name.upper() or SIMULATED_MARK in device.uuid.upper()


def hardware_of(devices: Sequence[Device]) -> Hardware:
    """Limits of some devices working together: rates and powers add up."""
    rows = [_limits(device) for device in devices]
    return Hardware(
        known=all(isinstance(row, _Gpu) for row in rows),
        memory_bandwidth_bytes_per_s=sum(
            _margin(row) * row.memory_bandwidth_gb_per_s.value * _GIGA for row in rows
        ),
        peak_flop_per_s=sum(_margin(row) * row.peak_16bit_tflops.value * _TERA for row in rows),
        power_max=_power_max(devices, rows),
        idle_min=Watts(sum(row.idle_min_w.value for row in rows)),
        memory_joules_per_byte=min(_joules_per_byte(row) for row in rows),
    )


def contradictions(devices: Sequence[Device]) -> int:
    """Check 17: facts of known devices that are not those of their name.

    Vendor, architecture, and memory size to 10 % (error correction takes a part of it). Devices
    that the table does not know have none.
    """
    return sum(
        (device.pci_device_id & _VENDOR_MASK != _NVIDIA)
        + (device.architecture.lower() != row.architecture)
        + (not 1 - _MEMORY_SHARE <= device.memory_mib / row.memory_mib <= 1 + _MEMORY_SHARE)
        for device in devices
        if isinstance(row := _limits(device), _Gpu)
    )


def tick_energy(power_max: Watts, tick_us: int) -> Joules:
    """Most energy that one tick of the counter can stand for (J)."""
    return Joules(power_max * seconds_from_us(tick_us))


def _power_max(devices: Iterable[Device], rows: Iterable[_Limits]) -> Watts:
    return Watts(
        sum(
            min(watts(device.power_limit_mw), float(row.power_limit_max_w.value))
            for device, row in zip(devices, rows, strict=True)
        )
    )


def _margin(row: _Limits) -> float:
    return _OVERCLOCKED if row.overclockable else 1.0


def _joules_per_byte(row: _Limits) -> float:
    return _table().memory_pj_per_bit[row.memory].value * _BITS_PER_BYTE * _PICO


def _limits(device: Device) -> _Limits:
    table = _table()
    if is_simulated(device):
        return table.simulated
    return next((gpu for gpu in table.gpus if device.name in gpu.names), table.unknown)


@cache
def _table() -> _Table:
    text = files("validator").joinpath("data/hardware.json").read_text("utf-8")
    return _Table.model_validate_json(text)
