"""Why there is no number: one error class per reason, each with a stable code and a hint.

A meter that cannot be trusted refuses; it never returns zero, a clipped value or a guess.
The codes are written to logs, JSON and metrics, and docs/measurement.md lists them.
"""

from typing import ClassVar

from protocol.errors import MeasurementError


class MeterError(MeasurementError):
    """Root of the meter's refusals."""

    reason: ClassVar[str] = "meter"
    """Stable code of the refusal."""
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or self.default_hint)


class NvmlMissingError(MeterError):
    """No NVML library, no driver, or driver and library of different versions."""

    reason = "nvml_missing"
    default_hint = (
        "Install the NVIDIA driver (nvidia-smi must work); in a container ask for the `utility`"
        " driver capability. Without an NVIDIA GPU only estimates are possible."
    )


class NvmlFailedError(MeterError):
    """NVML answered with an error that has no own reason."""

    reason = "nvml_failed"
    default_hint = "Run nvidia-smi; if it fails too, reload the driver or reboot."


class PynvmlShadowedError(MeterError):
    """Another `pynvml` hides NVIDIA's own."""

    reason = "pynvml_shadowed"
    default_hint = (
        "Run: pip uninstall pynvml; pip install --force-reinstall nvidia-ml-py. The distribution"
        " named pynvml is not NVIDIA's and hides nvidia-ml-py."
    )


class NoDevicesError(MeterError):
    """No GPU that this process may use."""

    reason = "no_devices"
    default_hint = "Check nvidia-smi -L, the device numbers given, and CUDA_VISIBLE_DEVICES."


class PermissionRefusedError(MeterError):
    """The driver does not let this user read energy or power."""

    reason = "no_permission"
    default_hint = "Ask the machine's owner for access to the GPU's energy counter."


class CounterUnsupportedError(MeterError):
    """No energy counter, and nothing trustworthy in its place."""

    reason = "counter_unsupported"
    default_hint = "The energy counter needs a Volta or newer data-centre or desktop GPU."


class CounterStuckError(MeterError):
    """The energy counter does not move."""

    reason = "counter_stuck"
    default_hint = "Reload the driver; if the counter still stands, this GPU cannot be metered."


class CounterResetError(MeterError):
    """The energy counter restarted inside the window."""

    reason = "counter_reset"
    default_hint = (
        "The driver was reloaded while measuring. Turn persistence mode on"
        " (nvidia-smi -pm 1) and repeat the run."
    )


class CounterBackwardsError(MeterError):
    """The energy counter ran backwards."""

    reason = "counter_backwards"
    default_hint = "Repeat the run; if it happens again, this driver's counter is defective."


class CounterJumpedError(MeterError):
    """The energy counter rose faster than the board can draw."""

    reason = "counter_jumped"
    default_hint = "Repeat the run; if it happens again, this driver's counter is defective."


class GpuLostError(MeterError):
    """A GPU fell off the bus or needs a reset."""

    reason = "gpu_lost"
    default_hint = "Reset the GPU or reboot, check dmesg for Xid errors, and repeat the run."


class MigEnabledError(MeterError):
    """Multi-instance GPU is on; energy exists only for the whole board."""

    reason = "mig_enabled"
    default_hint = "Turn MIG off (nvidia-smi -mig 0) and use the whole GPU."


class VgpuError(MeterError):
    """A virtual GPU; energy exists only for the physical board."""

    reason = "vgpu"
    default_hint = "Measure on bare metal or with the whole GPU passed through."


class WrongScopeError(MeterError):
    """The counter covers more than the GPU, as on GH200 modules."""

    reason = "wrong_scope"
    default_hint = "Grace modules count CPU and GPU together; they are not measured yet."


class ForeignProcessesError(MeterError):
    """Other processes use the GPU."""

    reason = "foreign_processes"
    default_hint = "Stop the other processes on this GPU (nvidia-smi lists them) and repeat."


class WindowTooShortError(MeterError):
    """The window is too short for the counter's tick."""

    reason = "window_too_short"
    default_hint = "Measure a longer run, or repeat the work within one window."


class EdgesUnknownError(MeterError):
    """The counter was not seen moving around an edge of the window."""

    reason = "edges_unknown"
    default_hint = "The machine was too busy to read the counter in time; free a CPU and repeat."


class TraceApartError(MeterError):
    """Power trace and energy counter disagree."""

    reason = "trace_apart"
    default_hint = (
        "Repeat the run. If it stays, counter and power sensor of this board disagree: send the"
        " record of `carbonbench-miner check --calibrate`."
    )


class DeviceListsDifferError(MeterError):
    """CUDA runs on GPUs that NVML does not meter."""

    reason = "device_lists_differ"
    default_hint = "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, and CUDA_VISIBLE_DEVICES to GPU UUIDs."


class SamplerDiedError(MeterError):
    """The background sampler ended before the window did."""

    reason = "sampler_died"
    default_hint = "This is a defect of the meter: please report it with the log."


class EstimateFailedError(MeterError):
    """codecarbon gave no energy."""

    reason = "estimate_failed"
    default_hint = "Install codecarbon >= 3.3.2 and measure for at least a few seconds."


REFUSALS: tuple[type[MeterError], ...] = (
    NvmlMissingError,
    NvmlFailedError,
    PynvmlShadowedError,
    NoDevicesError,
    PermissionRefusedError,
    CounterUnsupportedError,
    CounterStuckError,
    CounterResetError,
    CounterBackwardsError,
    CounterJumpedError,
    GpuLostError,
    MigEnabledError,
    VgpuError,
    WrongScopeError,
    ForeignProcessesError,
    WindowTooShortError,
    EdgesUnknownError,
    TraceApartError,
    DeviceListsDifferError,
    SamplerDiedError,
    EstimateFailedError,
)
"""Every refusal, for documentation and tests."""
