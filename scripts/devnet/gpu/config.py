"""What a simulated GPU is, what its sensors do, and what goes wrong with it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Source(StrEnum):
    """Where the power comes from."""

    CURVE = "curve"
    """A programmed curve with an exact integral."""
    WORK = "work"
    """The real CPU time of the process that has loaded the fake."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Segment(_Config):
    """A stretch of the power curve, linear from start to end."""

    duration_seconds: float = Field(gt=0)
    start_watts: float = Field(ge=0)
    end_watts: float = Field(ge=0)


class Fault(_Config):
    """A function that fails with an NVML error code once it has been called often enough."""

    function: str
    """Exported name, such as `nvmlDeviceGetTotalEnergyConsumption`."""
    code: int
    """`nvmlReturn_t`; 13 (FUNCTION_NOT_FOUND) looks like an old driver."""
    after_calls: int = Field(default=0, ge=0)


class DeviceConfig(_Config):
    """One simulated GPU."""

    name: str = "SIMULATED H100-like"
    uuid: str | None = None
    """Default: `GPU-SIMULATED-` and the device's index."""
    source: Source = Source.CURVE
    idle_watts: float = Field(default=70.0, ge=0)
    watts_per_cpu_second: float = Field(default=200.0, ge=0)
    """Draw above idle while one CPU of the process is busy; `work` source only."""
    curve: tuple[Segment, ...] = ()
    """Played from the start of the simulation, then idle; `curve` source only."""
    curve_repeats: bool = False
    """Whether the curve starts over for ever instead of going idle."""

    counter_start_mj: int = Field(default=123_456_789, ge=0)
    counter_tick_seconds: float = Field(default=0.1, ge=0)
    """Update period of the energy counter; 0 updates on every reading."""
    counter_phase: float = Field(default=0.0, ge=0, lt=1)
    """Offset of the ticks, as a share of the period."""
    counter_jitter_seconds: float = Field(default=0.0, ge=0)
    """Half-width of the uniform scatter of each tick."""
    power_tick_seconds: float = Field(default=0.1, gt=0)
    power_phase: float = Field(default=0.0, ge=0, lt=1)
    instant_window_seconds: float = Field(default=0.025, gt=0)
    """Averaging window of the instant power: 25 of every 100 ms on A100 and H100."""
    average_window_seconds: float = Field(default=1.0, gt=0)
    """Averaging window of `nvmlDeviceGetPowerUsage` on Ampere and newer."""
    gain: float = Field(default=1.0, gt=0)
    """Factor by which counter and sensors are wrong alike: a shaded or uncalibrated board."""
    trace_gain: float = Field(default=1.0, gt=0)
    """Further factor on the power sensors alone: a trace that disagrees with the counter."""
    noise_watts: float = Field(default=0.0, ge=0)
    """Standard deviation of the power sensors' noise."""
    seed: int = 0

    counter_reset_at_seconds: float | None = None
    """The counter restarts at zero, as after a driver reload."""
    counter_freeze_at_seconds: float | None = None
    """The counter stops moving."""
    counter_back_at_seconds: float | None = None
    """The counter jumps back by `counter_back_mj`."""
    counter_back_mj: int = 0
    faults: tuple[Fault, ...] = ()

    architecture: int = 9
    """`nvmlDeviceArchitecture_t`; 9 is Hopper, 4 Pascal."""
    mig_enabled: bool = False
    virtualization_mode: int = 0
    """`nvmlGpuVirtualizationMode_t`; 2 is a vGPU."""
    module_scope: bool = False
    """Whether the counter covers CPU and GPU of a GH200 module."""
    compute_pids: tuple[int, ...] | None = None
    """Processes on the device; None is the process that has loaded the fake."""
    power_limit_watts: float = 700.0
    throttled_share: float | None = Field(default=None, ge=0, le=1)
    """Share of the time at the power cap; None is a driver that does not tell."""
    memory_total_bytes: int = 85_520_809_984
    memory_used_bytes: int = 0


class GpuConfig(_Config):
    """All simulated GPUs of one machine."""

    devices: tuple[DeviceConfig, ...] = (DeviceConfig(),)
    driver_version: str = "0.0-simulated"
    nvml_version: str = "0.0-simulated"
    cuda_version: int = 12_040
    """As NVML gives it: 1000 x major + 10 x minor."""
    faults: tuple[Fault, ...] = ()
    """Faults of functions that name no device, such as `nvmlInitWithFlags`."""
