"""The one door to `pynvml`: every call on it, every error of it made a typed refusal."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from miner.devices import DeviceFacts, DriverFacts, Occupancy, ThrottleTimes
from miner.refusals import (
    CounterUnsupportedError,
    GpuLostError,
    MeterError,
    NoDevicesError,
    NvmlFailedError,
    NvmlMissingError,
    PermissionRefusedError,
    PynvmlShadowedError,
)
from protocol.ids import Digest, GpuUuid

POWER_AVERAGE_FIELD = 185
"""`NVML_FI_DEV_POWER_AVERAGE`: one-second average, Ampere and newer but GA100 (nvml.h)."""
POWER_INSTANT_FIELD = 186
"""`NVML_FI_DEV_POWER_INSTANT`: current GPU power (nvml.h)."""
THROTTLE_FIELDS = (74, 269, 270, 271)
"""Time slowed by power cap, software heat, hardware heat and power brake (ns, cumulative)."""
_POWER_POLICY = 0
_THERMAL_POLICY = 1
"""`nvmlPerfPolicyType_t`, for drivers without the fields."""

_NOT_SUPPORTED = 3
_NO_PERMISSION = 4
_FUNCTION_NOT_FOUND = 13
_ABSENT = frozenset({2, _NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND, 21, 25, 26})
"""`nvmlReturn_t` of facts that a driver or board does not give: invalid argument, unsupported,
no permission, no such function, no data, other structure version, deprecated."""
_REFUSALS: dict[int, type[MeterError]] = {
    1: NvmlMissingError,  # uninitialized
    _NOT_SUPPORTED: CounterUnsupportedError,
    _NO_PERMISSION: PermissionRefusedError,
    9: NvmlMissingError,  # driver not loaded
    12: NvmlMissingError,  # library not found
    _FUNCTION_NOT_FOUND: CounterUnsupportedError,
    15: GpuLostError,
    16: GpuLostError,  # reset required
    18: NvmlMissingError,  # library and kernel module of different versions
    28: GpuLostError,  # GPU not found
}
_SM_CLOCK = 1
_CORE_TEMPERATURE = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """One look at the power sensor."""

    instant_mw: int
    average_mw: int


class NvmlDevice:
    """One GPU.

    Args:
        pynvml: The module.
        handle: NVML's handle of the device.
        index: NVML index.
    """

    def __init__(self, pynvml: ModuleType, handle: Any, index: int) -> None:  # noqa: ANN401 - opaque C handle
        self._nvml = pynvml
        self._handle = handle
        self.facts = self._read_facts(index)
        self._has_average_field = True

    def energy_mj(self) -> int:
        """`nvmlDeviceGetTotalEnergyConsumption`: mJ since the driver was loaded.

        Raises:
            CounterUnsupportedError: If the board has no counter.
            PermissionRefusedError: If the driver does not let this user read it.
            GpuLostError: If the GPU is lost.
            NvmlFailedError: If NVML fails otherwise.
        """
        return int(self._ask("nvmlDeviceGetTotalEnergyConsumption"))

    def power(self) -> Power | None:
        """Instant and average power; None when the board has no instant power.

        Raises:
            GpuLostError: If the GPU is lost.
            NvmlFailedError: If NVML fails otherwise.
        """
        fields = [POWER_INSTANT_FIELD]
        if self._has_average_field:
            fields.append(POWER_AVERAGE_FIELD)
        values = self._fields(fields)
        instant = values[0]
        if instant is None:
            return None
        average = values[1] if self._has_average_field else None
        if average is None:
            self._has_average_field = False
            average = self._maybe("nvmlDeviceGetPowerUsage")
        return Power(instant_mw=instant, average_mw=instant if average is None else int(average))

    def throttle_times(self) -> ThrottleTimes:
        """Cumulative time that each throttle has slowed the clocks.

        Raises:
            GpuLostError: If the GPU is lost.
            NvmlFailedError: If NVML fails otherwise.
        """
        power_cap, software_heat, hardware_heat, brake = self._fields(THROTTLE_FIELDS, wide=True)
        return ThrottleTimes(
            power_cap_ns=self._violated_ns(_POWER_POLICY) if power_cap is None else power_cap,
            software_heat_ns=software_heat,
            hardware_heat_ns=(
                self._violated_ns(_THERMAL_POLICY) if hardware_heat is None else hardware_heat
            ),
            power_brake_ns=brake,
        )

    def occupancy(self) -> Occupancy:
        """Utilisation now, and memory held.

        Raises:
            GpuLostError: If the GPU is lost.
            NvmlFailedError: If NVML fails otherwise.
        """
        rates = self._maybe("nvmlDeviceGetUtilizationRates")
        return Occupancy(
            utilization_pct=None if rates is None else int(rates.gpu),
            memory_used_bytes=int(self._ask("nvmlDeviceGetMemoryInfo").used),
        )

    def temperature_c(self) -> int | None:
        """Core temperature."""
        newer = self._maybe("nvmlDeviceGetTemperatureV", _CORE_TEMPERATURE)
        if newer is not None:
            return int(newer)
        older = self._maybe("nvmlDeviceGetTemperature", _CORE_TEMPERATURE)
        return None if older is None else int(older)

    def sm_clock_mhz(self) -> int | None:
        """Clock of the streaming multiprocessors now."""
        clock = self._maybe("nvmlDeviceGetClockInfo", _SM_CLOCK)
        return None if clock is None else int(clock)

    def compute_pids(self) -> tuple[int, ...] | None:
        """Compute processes on the device, as host PIDs; None when the driver does not tell."""
        processes = self._maybe("nvmlDeviceGetComputeRunningProcesses_v3")
        return None if processes is None else tuple(process.pid for process in processes)

    def _read_facts(self, index: int) -> DeviceFacts:
        pci = self._ask("nvmlDeviceGetPciInfo")
        limits = self._maybe("nvmlDeviceGetPowerManagementLimitConstraints")
        c2c = self._maybe("nvmlDeviceGetC2cModeInfoV")
        return DeviceFacts(
            index=index,
            uuid=GpuUuid(_text(self._ask("nvmlDeviceGetUUID"))),
            name=_text(self._ask("nvmlDeviceGetName")),
            architecture=self._maybe("nvmlDeviceGetArchitecture"),
            pci_bus_id=_text(pci.busId),
            pci_device_id=int(pci.pciDeviceId),
            vbios_version=self._maybe("nvmlDeviceGetVbiosVersion"),
            memory_total_bytes=int(self._ask("nvmlDeviceGetMemoryInfo").total),
            power_limit_mw=self._maybe("nvmlDeviceGetEnforcedPowerLimit"),
            power_limit_default_mw=self._maybe("nvmlDeviceGetPowerManagementDefaultLimit"),
            power_limit_max_mw=limits[1] if limits else None,
            ecc_enabled=_enabled(self._maybe("nvmlDeviceGetEccMode")),
            persistence_enabled=_enabled(self._maybe("nvmlDeviceGetPersistenceMode")),
            mig_enabled=bool(_enabled(self._maybe("nvmlDeviceGetMigMode"))),
            virtualization_mode=self._maybe("nvmlDeviceGetVirtualizationMode"),
            module_scope=bool(c2c and c2c.isC2cEnabled),
        )

    def _violated_ns(self, policy: int) -> int | None:
        """`nvmlDeviceGetViolationStatus`: deprecated, and all that older drivers have."""
        status = self._maybe("nvmlDeviceGetViolationStatus", policy)
        return None if status is None else int(status.violationTime)

    def _fields(self, fields: Sequence[int], *, wide: bool = False) -> tuple[int | None, ...]:
        """Field values; each row carries its own return code."""
        rows = self._maybe("nvmlDeviceGetFieldValues", list(fields))
        if rows is None:
            return (None,) * len(fields)
        return tuple(self._field(row, wide=wide) for row in rows)

    def _field(self, row: Any, *, wide: bool) -> int | None:  # noqa: ANN401 - a pynvml structure
        if row.nvmlReturn == 0:
            return int(row.value.ullVal if wide else row.value.uiVal)
        if row.nvmlReturn in _ABSENT:
            return None
        error = self._nvml.NVMLError(row.nvmlReturn)
        raise _refusal(error, f"field {row.fieldId}") from error

    def _ask(self, function: str, *arguments: Any) -> Any:  # noqa: ANN401 - pynvml is untyped
        """A reading that must come."""
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except self._nvml.NVMLError as error:
            raise _refusal(error, function) from error

    def _maybe(self, function: str, *arguments: Any) -> Any | None:  # noqa: ANN401 - pynvml is untyped
        """A reading that may be absent; every other failure is one."""
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except self._nvml.NVMLError as error:
            if error.value in _ABSENT:
                return None
            raise _refusal(error, function) from error


class Nvml:
    """NVML, initialised; one instance is held open over everything that is measured.

    With persistence mode off the driver may drop its state when the last client leaves, and
    the energy counter with it.
    """

    def __init__(self, pynvml: ModuleType) -> None:
        self._nvml = pynvml
        self.driver = DriverFacts(
            driver_version=_text(self._call(pynvml.nvmlSystemGetDriverVersion)),
            nvml_version=_text(self._call(pynvml.nvmlSystemGetNVMLVersion)),
            cuda_version=self._cuda_version(),
        )

    def devices(self) -> tuple[NvmlDevice, ...]:
        """All GPUs, in NVML order.

        Raises:
            NoDevicesError: If there is none.
            GpuLostError: If one is lost.
        """
        count = self._call(self._nvml.nvmlDeviceGetCount)
        if not count:
            raise NoDevicesError("the NVIDIA driver reports no GPU")
        return tuple(
            NvmlDevice(self._nvml, self._call(self._nvml.nvmlDeviceGetHandleByIndex, index), index)
            for index in range(count)
        )

    def _cuda_version(self) -> int | None:
        try:
            return int(self._nvml.nvmlSystemGetCudaDriverVersion())
        except self._nvml.NVMLError:
            return None

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - pynvml is untyped
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            raise _refusal(error, function.__name__) from error


@contextmanager
def open_nvml() -> Iterator[Nvml]:
    """NVML for the length of a `with` block.

    Raises:
        NvmlMissingError: If there is no driver or library, or nvidia-ml-py is not installed.
        PynvmlShadowedError: If another `pynvml` hides NVIDIA's.
    """
    pynvml = _load_pynvml()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NvmlMissingError(f"NVML does not start: {error}") from error
    try:
        yield Nvml(pynvml)
    finally:
        with suppress(pynvml.NVMLError):  # a lost GPU must not hide why the block failed
            pynvml.nvmlShutdown()


def _load_pynvml() -> ModuleType:
    try:
        import pynvml  # noqa: PLC0415 - the import fails where the miner extra is not installed
    except ModuleNotFoundError as error:
        raise NvmlMissingError(
            "nvidia-ml-py is not installed", hint="Run: pip install 'carbonbench[miner]'"
        ) from error
    if not hasattr(pynvml, "_nvmlGetFunctionPointer") or not hasattr(
        pynvml, "nvmlDeviceGetTemperatureV"
    ):
        raise PynvmlShadowedError(f"{pynvml.__file__} is not NVIDIA's pynvml")
    module: ModuleType = pynvml
    return module


def _refusal(error: Any, what: str) -> MeterError:  # noqa: ANN401 - pynvml is untyped
    refusal = _REFUSALS.get(error.value, NvmlFailedError)
    return refusal(f"{what} failed: {error}")


def _enabled(answer: Any) -> bool | None:  # noqa: ANN401 - a flag, or current and pending
    if answer is None:
        return None
    return bool(answer[0] if isinstance(answer, list) else answer)


def _text(answer: str | bytes) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer


def mapped_library_digest() -> Digest | None:
    """SHA-256 of the `libnvidia-ml` that this process has mapped; None when there is none.

    A simulated GPU has none. A miner can make this up like everything else in a report: it
    raises the cost of a fake, no more.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.partition("/")[2]
        if "libnvidia-ml" in path:
            return Digest(hashlib.sha256(Path("/" + path).read_bytes()).hexdigest())
    return None
