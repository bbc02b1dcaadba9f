"""NVML's C interface, as ctypes callbacks over simulated devices.

`pynvml` looks functions up with `getattr(nvmlLib, name)` and calls them with C arguments, so
an object of callbacks gets the real marshalling, structure versions and error mapping. A
function that is not here is missing for `pynvml` too (FUNCTION_NOT_FOUND, as with an old
driver). Structures are pynvml's own, laid over the caller's memory.
"""

import ctypes
from collections import Counter
from collections.abc import Callable, Sequence
from ctypes import c_char_p, c_int, c_uint, c_ulonglong, c_void_p
from typing import Any, ClassVar

import pynvml

from protocol.units import Watts, milliwatts
from scripts.devnet.gpu.config import GpuConfig, Source
from scripts.devnet.gpu.device import SimulatedDevice

_SUCCESS = pynvml.NVML_SUCCESS
_NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
_INVALID = pynvml.NVML_ERROR_INVALID_ARGUMENT
_NOT_FOUND = pynvml.NVML_ERROR_NOT_FOUND
_TOO_SMALL = pynvml.NVML_ERROR_INSUFFICIENT_SIZE
_WRONG_VERSION = pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
_ARCH_AMPERE = pynvml.NVML_DEVICE_ARCH_AMPERE
_LOST = pynvml.NVML_ERROR_GPU_IS_LOST
_TEMPERATURE_V1 = 0x100000C
_PDI_V1 = 0x1000010
_MEMORY_V2 = 0x2000028
_POWER_SAMPLES = 0
_SAMPLE_BUFFER = 2
_MIN_LIMIT_SHARE = 0.3

type_of = {"P": c_void_p, "U": c_uint, "I": c_int, "L": c_ulonglong, "S": c_char_p}
"""Argument letters of the table below."""


class SimulatedLibrary:
    """What stands in for `libnvidia-ml.so.1`.

    Args:
        config: Drivers and faults of the machine.
        devices: Its GPUs, in NVML order.
    """

    functions: ClassVar[dict[str, tuple[str, str]]] = {}
    """C name -> (argument letters, method)."""

    def __init__(self, config: GpuConfig, devices: Sequence[SimulatedDevice]) -> None:
        self.config = config
        self.devices = tuple(devices)
        self.calls: Counter[str] = Counter()
        self._faults = {fault.function: fault for fault in config.faults}
        for name, (letters, method) in self.functions.items():
            prototype = ctypes.CFUNCTYPE(c_int, *(type_of[letter] for letter in letters))
            setattr(self, name, prototype(self._guarded(name, getattr(self, method))))

    def _guarded(self, name: str, function: Callable[..., int]) -> Callable[..., int]:
        """The function behind its planned faults, with device handles resolved."""
        takes_device = name.startswith("nvmlDevice") and name not in _WITHOUT_DEVICE

        def call(*arguments: Any) -> int:
            self.calls[name] += 1
            fault = self._faults.get(name)
            if fault and self.calls[name] > fault.after_calls:
                return fault.code
            if not takes_device:
                return function(*arguments)
            number = (arguments[0] or 0) - 1
            if not 0 <= number < len(self.devices):
                return int(_INVALID)
            device = self.devices[number]
            return device.fault(name) or function(device, *arguments[1:])

        return call

    def init(self, flags: int) -> int:
        """`nvmlInitWithFlags`."""
        return int(_SUCCESS)

    def shutdown(self) -> int:
        """`nvmlShutdown`."""
        return int(_SUCCESS)

    def driver_version(self, out: int, size: int) -> int:
        """`nvmlSystemGetDriverVersion`."""
        return _put_text(out, size, self.config.driver_version)

    def nvml_version(self, out: int, size: int) -> int:
        """`nvmlSystemGetNVMLVersion`."""
        return _put_text(out, size, self.config.nvml_version)

    def cuda_version(self, out: int) -> int:
        """`nvmlSystemGetCudaDriverVersion_v2`."""
        return _put(c_int, out, self.config.cuda_version)

    def count(self, out: int) -> int:
        """`nvmlDeviceGetCount_v2`."""
        return _put(c_uint, out, len(self.devices))

    def handle_by_index(self, index: int, out: int) -> int:
        """`nvmlDeviceGetHandleByIndex_v2`; a handle is the index plus one."""
        if index >= len(self.devices):
            return int(_INVALID)
        lost = self.devices[index].fault("nvmlDeviceGetHandleByIndex_v2")
        return lost or _put(c_void_p, out, index + 1)

    def handle_by_uuid(self, uuid: bytes, out: int) -> int:
        """`nvmlDeviceGetHandleByUUID`."""
        for device in self.devices:
            if device.uuid.encode() == uuid:
                return _put(c_void_p, out, device.index + 1)
        return int(_NOT_FOUND)

    def name(self, device: SimulatedDevice, out: int, size: int) -> int:
        """`nvmlDeviceGetName`."""
        return _put_text(out, size, device.config.name)

    def uuid(self, device: SimulatedDevice, out: int, size: int) -> int:
        """`nvmlDeviceGetUUID`."""
        return _put_text(out, size, device.uuid)

    def serial(self, device: SimulatedDevice, out: int, size: int) -> int:
        """`nvmlDeviceGetSerial`."""
        return _put_text(out, size, f"SIMULATED-{device.index:04d}")

    def vbios(self, device: SimulatedDevice, out: int, size: int) -> int:
        """`nvmlDeviceGetVbiosVersion`."""
        return _put_text(out, size, "SIMULATED")

    def pdi(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetPdi`."""
        record = pynvml.c_nvmlPdi_t.from_address(out)
        if record.version != _PDI_V1:
            return int(_WRONG_VERSION)
        record.value = device.index + 1
        return int(_SUCCESS)

    def pci_info(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetPciInfo_v3`."""
        record = pynvml.nvmlPciInfo_t.from_address(out)
        record.domain, record.bus, record.device = 0, device.index + 1, 0
        record.pciDeviceId = record.pciSubSystemId = 0
        record.busId = f"00000000:{device.index + 1:02X}:00.0".encode()
        record.busIdLegacy = f"0000:{device.index + 1:02X}:00.0".encode()
        return int(_SUCCESS)

    def architecture(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetArchitecture`."""
        return _put(c_uint, out, device.config.architecture)

    def mig_mode(self, device: SimulatedDevice, current: int, pending: int) -> int:
        """`nvmlDeviceGetMigMode`."""
        if device.config.architecture < _ARCH_AMPERE:
            return int(_NOT_SUPPORTED)
        _put(c_uint, current, int(device.config.mig_enabled))
        return _put(c_uint, pending, int(device.config.mig_enabled))

    def no_mig_handle(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceIsMigDeviceHandle`."""
        return _put(c_uint, out, 0)

    def virtualization(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetVirtualizationMode`."""
        return _put(c_uint, out, device.config.virtualization_mode)

    def c2c(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetC2cModeInfoV`."""
        if not device.config.module_scope:
            return int(_NOT_SUPPORTED)
        return _put(c_uint, out, 1)

    def enabled(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetPersistenceMode`: on."""
        return _put(c_uint, out, 1)

    def ecc_mode(self, device: SimulatedDevice, current: int, pending: int) -> int:
        """`nvmlDeviceGetEccMode`: on."""
        _put(c_uint, current, 1)
        return _put(c_uint, pending, 1)

    def compute_mode(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetComputeMode`: default."""
        return _put(c_uint, out, 0)

    def performance_state(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetPerformanceState`."""
        return _put(c_uint, out, 0 if device.utilization_pct() > 1 else 8)

    def energy(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetTotalEnergyConsumption`."""
        if device.config.architecture < pynvml.NVML_DEVICE_ARCH_VOLTA:
            return int(_NOT_SUPPORTED)
        return _put(c_ulonglong, out, device.counter_mj())

    def power(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetPowerUsage`: a one-second average from Ampere on."""
        averaged = device.config.architecture >= _ARCH_AMPERE
        return _put(c_uint, out, device.average_mw() if averaged else device.instant_mw())

    def limit(self, device: SimulatedDevice, out: int) -> int:
        """Enforced, set and default power limit."""
        return _put(c_uint, out, milliwatts(Watts(device.config.power_limit_watts)))

    def limits(self, device: SimulatedDevice, low: int, high: int) -> int:
        """`nvmlDeviceGetPowerManagementLimitConstraints`."""
        limit_mw = milliwatts(Watts(device.config.power_limit_watts))
        _put(c_uint, low, round(limit_mw * _MIN_LIMIT_SHARE))
        return _put(c_uint, high, limit_mw)

    def memory(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetMemoryInfo`."""
        record = pynvml.c_nvmlMemory_t.from_address(out)
        return _put_memory(device, record)

    def memory_v2(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetMemoryInfo_v2`."""
        record = pynvml.c_nvmlMemory_v2_t.from_address(out)
        if record.version != _MEMORY_V2:
            return int(_WRONG_VERSION)
        record.reserved = 0
        return _put_memory(device, record)

    def utilization(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetUtilizationRates`; a host that works is never idle, and says nothing."""
        if device.config.source is Source.WORK:
            return int(_NOT_SUPPORTED)
        record = pynvml.c_nvmlUtilization_t.from_address(out)
        record.gpu = record.memory = device.utilization_pct()
        return int(_SUCCESS)

    def violation(self, device: SimulatedDevice, policy: int, out: int) -> int:
        """`nvmlDeviceGetViolationStatus`: of the power policy."""
        capped_ns = device.power_capped_ns()
        if capped_ns is None or policy != pynvml.NVML_PERF_POLICY_POWER:
            return int(_NOT_SUPPORTED)
        record = pynvml.c_nvmlViolationTime_t.from_address(out)
        record.referenceTime, record.violationTime = 0, capped_ns
        return int(_SUCCESS)

    def temperature(self, device: SimulatedDevice, sensor: int, out: int) -> int:
        """`nvmlDeviceGetTemperature`."""
        return _put(c_uint, out, device.temperature_c())

    def temperature_v(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetTemperatureV`."""
        record = pynvml.c_nvmlTemperature_v1_t.from_address(out)
        if record.version != _TEMPERATURE_V1:
            return int(_WRONG_VERSION)
        record.temperature = device.temperature_c()
        return int(_SUCCESS)

    def clock(self, device: SimulatedDevice, kind: int, out: int) -> int:
        """`nvmlDeviceGetClockInfo` and `nvmlDeviceGetMaxClockInfo`."""
        return _put(c_uint, out, device.clock_mhz())

    def event_reasons(self, device: SimulatedDevice, out: int) -> int:
        """`nvmlDeviceGetCurrentClocksEventReasons`: idle, or none."""
        return _put(c_ulonglong, out, 0 if device.utilization_pct() > 1 else 1)

    def processes(self, device: SimulatedDevice, count: int, out: int | None) -> int:
        """`nvmlDeviceGetComputeRunningProcesses_v3`, in its two calls."""
        pids = device.compute_pids
        room = c_uint.from_address(count).value
        _put(c_uint, count, len(pids))
        if len(pids) > room:
            return int(_TOO_SMALL)
        records = (pynvml.c_nvmlProcessInfo_v3_t * len(pids)).from_address(out) if out else ()
        for record, pid in zip(records, pids, strict=False):
            record.pid = pid
            record.usedGpuMemory = device.config.memory_used_bytes
        return int(_SUCCESS)

    def no_processes(self, device: SimulatedDevice, count: int, out: int | None) -> int:
        """`nvmlDeviceGetGraphicsRunningProcesses_v3`: none."""
        return _put(c_uint, count, 0)

    def field_values(self, device: SimulatedDevice, count: int, out: int) -> int:
        """`nvmlDeviceGetFieldValues`: each row carries its own return code."""
        for record in (pynvml.c_nvmlFieldValue_t * count).from_address(out):
            record.nvmlReturn = device.fault(f"field:{record.fieldId}") or _put_field(
                device, record
            )
        return int(_SUCCESS)

    def samples(self, device: SimulatedDevice, *arguments: int | None) -> int:
        """`nvmlDeviceGetSamples`: no driver-side buffer."""
        return int(_NOT_SUPPORTED)


_WITHOUT_DEVICE = {
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetHandleByUUID",
}
SimulatedLibrary.functions = {
    "nvmlInitWithFlags": ("U", "init"),
    "nvmlShutdown": ("", "shutdown"),
    "nvmlSystemGetDriverVersion": ("PU", "driver_version"),
    "nvmlSystemGetNVMLVersion": ("PU", "nvml_version"),
    "nvmlSystemGetCudaDriverVersion_v2": ("P", "cuda_version"),
    "nvmlSystemGetCudaDriverVersion": ("P", "cuda_version"),
    "nvmlDeviceGetCount_v2": ("P", "count"),
    "nvmlDeviceGetHandleByIndex_v2": ("UP", "handle_by_index"),
    "nvmlDeviceGetHandleByUUID": ("SP", "handle_by_uuid"),
    "nvmlDeviceGetName": ("PPU", "name"),
    "nvmlDeviceGetUUID": ("PPU", "uuid"),
    "nvmlDeviceGetSerial": ("PPU", "serial"),
    "nvmlDeviceGetVbiosVersion": ("PPU", "vbios"),
    "nvmlDeviceGetPdi": ("PP", "pdi"),
    "nvmlDeviceGetPciInfo_v3": ("PP", "pci_info"),
    "nvmlDeviceGetArchitecture": ("PP", "architecture"),
    "nvmlDeviceGetMigMode": ("PPP", "mig_mode"),
    "nvmlDeviceIsMigDeviceHandle": ("PP", "no_mig_handle"),
    "nvmlDeviceGetVirtualizationMode": ("PP", "virtualization"),
    "nvmlDeviceGetC2cModeInfoV": ("PP", "c2c"),
    "nvmlDeviceGetPersistenceMode": ("PP", "enabled"),
    "nvmlDeviceGetEccMode": ("PPP", "ecc_mode"),
    "nvmlDeviceGetComputeMode": ("PP", "compute_mode"),
    "nvmlDeviceGetPerformanceState": ("PP", "performance_state"),
    "nvmlDeviceGetTotalEnergyConsumption": ("PP", "energy"),
    "nvmlDeviceGetPowerUsage": ("PP", "power"),
    "nvmlDeviceGetEnforcedPowerLimit": ("PP", "limit"),
    "nvmlDeviceGetPowerManagementLimit": ("PP", "limit"),
    "nvmlDeviceGetPowerManagementDefaultLimit": ("PP", "limit"),
    "nvmlDeviceGetPowerManagementLimitConstraints": ("PPP", "limits"),
    "nvmlDeviceGetMemoryInfo": ("PP", "memory"),
    "nvmlDeviceGetMemoryInfo_v2": ("PP", "memory_v2"),
    "nvmlDeviceGetUtilizationRates": ("PP", "utilization"),
    "nvmlDeviceGetTemperature": ("PUP", "temperature"),
    "nvmlDeviceGetTemperatureV": ("PP", "temperature_v"),
    "nvmlDeviceGetClockInfo": ("PUP", "clock"),
    "nvmlDeviceGetMaxClockInfo": ("PUP", "clock"),
    "nvmlDeviceGetCurrentClocksEventReasons": ("PP", "event_reasons"),
    "nvmlDeviceGetComputeRunningProcesses_v3": ("PPP", "processes"),
    "nvmlDeviceGetGraphicsRunningProcesses_v3": ("PPP", "no_processes"),
    "nvmlDeviceGetViolationStatus": ("PUP", "violation"),
    "nvmlDeviceGetFieldValues": ("PIP", "field_values"),
    "nvmlDeviceGetSamples": ("PULPPP", "samples"),
}


def _put(kind: Any, address: int, value: int) -> int:
    kind.from_address(address).value = value
    return int(_SUCCESS)


def _put_text(address: int, size: int, text: str) -> int:
    encoded = text.encode() + b"\0"
    if len(encoded) > size:
        return int(_TOO_SMALL)
    ctypes.memmove(address, encoded, len(encoded))
    return int(_SUCCESS)


def _put_memory(device: SimulatedDevice, record: Any) -> int:
    record.total = device.config.memory_total_bytes
    record.used = device.config.memory_used_bytes
    record.free = record.total - record.used
    return int(_SUCCESS)


def _put_field(device: SimulatedDevice, record: Any) -> int:
    """Fill one field; power is an unsigned int, energy an unsigned long long."""
    if record.fieldId == pynvml.NVML_FI_DEV_POWER_INSTANT:
        record.valueType, record.value.uiVal = 1, device.instant_mw()
    elif record.fieldId == pynvml.NVML_FI_DEV_POWER_AVERAGE:
        if device.config.architecture < _ARCH_AMPERE:
            return int(_NOT_SUPPORTED)
        record.valueType, record.value.uiVal = 1, device.average_mw()
    elif record.fieldId == pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION:
        record.valueType, record.value.ullVal = 3, device.counter_mj()
    elif record.fieldId == pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP:
        capped_ns = device.power_capped_ns()
        if capped_ns is None:
            return int(_NOT_SUPPORTED)
        record.valueType, record.value.ullVal = 3, capped_ns
    else:
        return int(_NOT_SUPPORTED)
    return int(_SUCCESS)
