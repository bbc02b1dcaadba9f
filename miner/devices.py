"""What NVML says of a device, and which devices are not measured at all. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from miner.refusals import (
    CounterUnsupportedError,
    DeviceListsDifferError,
    ForeignProcessesError,
    MigEnabledError,
    NoDevicesError,
    VgpuError,
    WrongScopeError,
)
from protocol.ids import GpuUuid

_ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""`nvmlDeviceArchitecture_t` (nvml.h)."""
_VOLTA = 5
"""First architecture with an energy counter (nvml.h)."""
_VIRTUAL_MODES = {2: "a vGPU", 3: "shared by a vGPU host", 4: "shared by a vSGA host"}
"""`nvmlGpuVirtualizationMode_t`; 1 is whole-GPU passthrough, which is fine."""
_SIMULATED = "SIMULATED"
_IDLE_UTILIZATION_PCT = 2
_DRIVER_MEMORY_BYTES = 2048 * 2**20
"""Most that a driver holds for itself (2,048 MiB, as a live network of GPU operators has it)."""


class Exclusivity(StrEnum):
    """Who uses a device."""

    OURS = "ours"
    """Only processes of ours, or none at all before the model is loaded."""
    UNKNOWN = "unknown"
    """The driver names processes that this PID namespace does not show, or none at all."""
    FOREIGN = "foreign"
    """Someone else too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleTimes:
    """How long each throttle slowed the clocks; None is what this driver does not tell."""

    power_cap_ns: int | None
    """Held at the power limit (field 74; older drivers: violation time of the power policy)."""
    software_heat_ns: int | None
    """Too warm for the driver's taste (field 269)."""
    hardware_heat_ns: int | None
    """Too warm for the hardware's (field 270; older drivers: of the thermal policy)."""
    power_brake_ns: int | None
    """Slowed by the server's power supply (field 271)."""

    @property
    def is_throttled(self) -> bool:
        """Whether any throttle is known to have acted."""
        times = (
            self.power_cap_ns, self.software_heat_ns, self.hardware_heat_ns, self.power_brake_ns,
        )  # fmt: skip
        return any(times)

    def since(self, earlier: "ThrottleTimes") -> "ThrottleTimes":
        """What was added since an earlier reading; None where either is not told."""
        return ThrottleTimes(
            power_cap_ns=_added(self.power_cap_ns, earlier.power_cap_ns),
            software_heat_ns=_added(self.software_heat_ns, earlier.software_heat_ns),
            hardware_heat_ns=_added(self.hardware_heat_ns, earlier.hardware_heat_ns),
            power_brake_ns=_added(self.power_brake_ns, earlier.power_brake_ns),
        )


def _added(later_ns: int | None, earlier_ns: int | None) -> int | None:
    if later_ns is None or earlier_ns is None:
        return None
    return max(0, later_ns - earlier_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """What keeps a GPU that should be idle; None is what this driver does not tell."""

    utilization_pct: int | None
    """Share of time with a kernel running, over NVML's last sample period (1/6 to 1 s)."""
    memory_used_bytes: int
    """Held on the board, driver and processes alike."""

    @property
    def is_busy(self) -> bool:
        """Whether kernels ran more than 2 % of the time."""
        return (self.utilization_pct or 0) > _IDLE_UTILIZATION_PCT

    @property
    def holds_memory(self) -> bool:
        """Whether more memory is held than a driver without processes needs."""
        return self.memory_used_bytes > _DRIVER_MEMORY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFacts:
    """The software under NVML."""

    driver_version: str
    nvml_version: str
    cuda_version: int | None
    """1000 x major + 10 x minor, as NVML gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """One GPU as NVML names it; None is what this driver or board does not tell."""

    index: int
    uuid: GpuUuid
    name: str
    architecture: int | None
    """`nvmlDeviceArchitecture_t`."""
    pci_bus_id: str
    pci_device_id: int
    vbios_version: str | None
    memory_total_bytes: int
    power_limit_mw: int | None
    """Enforced limit."""
    power_limit_default_mw: int | None
    power_limit_max_mw: int | None
    ecc_enabled: bool | None
    persistence_enabled: bool | None
    mig_enabled: bool
    virtualization_mode: int | None
    module_scope: bool
    """Whether the energy counter covers a whole Grace module."""

    @property
    def architecture_name(self) -> str:
        """Such as `Hopper`; `unknown` for what is newer than this table."""
        return _ARCHITECTURES.get(self.architecture or 0, "unknown")

    @property
    def is_simulated(self) -> bool:
        """Whether the device itself says that it is simulated."""
        return _SIMULATED in self.name or _SIMULATED in self.uuid


def refuse_unmeasurable(device: DeviceFacts) -> None:
    """Refuse a device whose counter does not mean the energy of one whole GPU.

    Raises:
        MigEnabledError: If MIG is on.
        VgpuError: If it is a vGPU, or shared by a host of vGPUs.
        WrongScopeError: If the counter covers a Grace module.
        CounterUnsupportedError: If the architecture is older than Volta.
    """
    if device.mig_enabled:
        raise MigEnabledError(f"multi-instance GPU (MIG) is on at {device.uuid}")
    if device.virtualization_mode in _VIRTUAL_MODES:
        raise VgpuError(f"{device.uuid} is {_VIRTUAL_MODES[device.virtualization_mode]}")
    if device.module_scope:
        raise WrongScopeError(f"the counter of {device.uuid} covers a whole Grace module")
    if device.architecture is not None and device.architecture < _VOLTA:
        raise CounterUnsupportedError(
            f"{device.name} ({device.architecture_name}) has no energy counter"
        )


def visible_indices(
    environment: Mapping[str, str], devices: Sequence[DeviceFacts]
) -> tuple[int, ...]:
    """NVML indices of the devices that CUDA shows to this process.

    Args:
        environment: Environment variables; `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` count.
        devices: All devices that NVML sees.

    Raises:
        MigEnabledError: If MIG instances are selected.
        DeviceListsDifferError: If the selection names no device, or CUDA may number unlike
            devices in another order than NVML.
        NoDevicesError: If nothing is left.
    """
    selection = environment.get("CUDA_VISIBLE_DEVICES")
    if selection is None:
        chosen = tuple(device.index for device in devices)
    else:
        in_pci_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        chosen = _selected(selection, devices, in_pci_order=in_pci_order)
    if not chosen:
        raise NoDevicesError("no GPU is visible to this process")
    return chosen


def _selected(
    selection: str, devices: Sequence[DeviceFacts], *, in_pci_order: bool
) -> tuple[int, ...]:
    chosen: list[int] = []
    for entry in (part.strip() for part in selection.split(",")):
        if entry in ("", "-1", "NoDevFiles"):
            break  # CUDA shows what stands before the first invalid entry
        if entry.startswith("MIG"):
            raise MigEnabledError(f"CUDA_VISIBLE_DEVICES selects the MIG instance {entry}")
        chosen.append(_numbered(entry, devices, in_pci_order=in_pci_order))
    return tuple(dict.fromkeys(chosen))


def _numbered(entry: str, devices: Sequence[DeviceFacts], *, in_pci_order: bool) -> int:
    if entry.isdecimal() and int(entry) < len(devices):
        alike = len({device.name for device in devices}) == 1
        if not in_pci_order and not alike:
            raise DeviceListsDifferError("CUDA may number unlike GPUs in another order than NVML")
        return devices[int(entry)].index
    matches = [device.index for device in devices if device.uuid.startswith(entry)]
    if entry.startswith("GPU-") and len(matches) == 1:
        return matches[0]
    raise DeviceListsDifferError(f"CUDA_VISIBLE_DEVICES names {entry!r}, which NVML does not have")


def refuse_unless_same_devices(devices: Sequence[DeviceFacts], cuda_uuids: Collection[str]) -> None:
    """Refuse to meter other GPUs than CUDA runs on.

    Args:
        devices: What is metered.
        cuda_uuids: UUIDs of the CUDA devices, with or without the `GPU-` in front.

    Raises:
        DeviceListsDifferError: If CUDA uses a device that is not metered.
    """
    metered = {device.uuid.removeprefix("GPU-").lower() for device in devices}
    used = {uuid.removeprefix("GPU-").lower() for uuid in cuda_uuids}
    if missing := sorted(used - metered):
        raise DeviceListsDifferError(f"CUDA runs on {missing[0]}, which is not metered")


def exclusivity(
    listed_pids: Collection[int] | None, our_pids: Collection[int], shown_pids: Collection[int]
) -> Exclusivity:
    """Who uses a device, as far as the driver tells.

    In a container the driver ignores PID namespaces, so it may list host PIDs that mean
    nothing here: one of those may well be this process, more than one cannot.

    Args:
        listed_pids: Compute processes that NVML lists; None when it does not.
        our_pids: This process and its children.
        shown_pids: All processes that this PID namespace shows.
    """
    if listed_pids is None:
        return Exclusivity.UNKNOWN
    others = set(listed_pids) - set(our_pids)
    if not others:
        return Exclusivity.OURS if listed_pids else Exclusivity.UNKNOWN
    hidden = others - set(shown_pids)
    ours_is_listed = len(others) < len(set(listed_pids))
    if others == hidden and len(hidden) == 1 and not ours_is_listed:
        return Exclusivity.UNKNOWN
    return Exclusivity.FOREIGN


def refuse_foreign(device: DeviceFacts, state: Exclusivity) -> None:
    """Refuse a device that others use.

    Raises:
        ForeignProcessesError: If the driver lists processes that are not ours.
    """
    if state is Exclusivity.FOREIGN:
        raise ForeignProcessesError(f"other processes compute on {device.name} ({device.uuid})")
