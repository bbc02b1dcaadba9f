"""From a finished local run to its `RunReport`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from miner.devices import DeviceFacts
from miner.evidence import build_device_energy
from miner.measurement import Flag, Measurement, Method
from miner.outcome import reason_of
from miner.refusals import MeterError
from miner.reporting import PromptRun, Task, input_digest
from protocol.errors import Error
from protocol.messages import DeviceEnergy, MeterKind
from protocol.run_report import (
    NO_CHAIN,
    PromptRecord,
    RunDevice,
    RunRefusal,
    RunReport,
    WindowEnergy,
)
from protocol.units import mebibytes, millijoules

_DETAIL_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine of a run, as far as a reader needs it."""

    engine: str
    device: str
    """Torch device."""
    gpus: tuple[DeviceFacts, ...]
    """The metered GPUs."""
    platform: str
    versions: Mapping[str, str]
    """Version by distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A run as it ended."""

    task: Task
    parameters: int
    host: Host
    runs: Sequence[PromptRun]
    measured: Measurement | Error
    """The energy, or why there is none."""
    prefill: Measurement | None
    finished_unix_ms: int


def build_run_report(run: FinishedRun) -> RunReport:
    """The run as a report that nobody has signed yet."""
    measured = run.measured
    refused = isinstance(measured, Error)
    return RunReport(
        genesis_hash=NO_CHAIN,
        netuid=0,
        hotkey=None,
        finished_unix_ms=run.finished_unix_ms,
        model=run.task.model,
        parameters=run.parameters,
        workload=run.task.workload.key,
        engine=run.host.engine,
        torch_device=run.host.device,
        meter=None if isinstance(measured, Error) else meter_kind(measured),
        devices=tuple(_device(facts) for facts in run.host.gpus),
        platform=run.host.platform,
        versions=dict(run.host.versions),
        energy=None if isinstance(measured, Error) else window_energy(measured),
        prefill=None if refused or run.prefill is None else window_energy(run.prefill),
        refusal=_refusal(measured) if isinstance(measured, Error) else None,
        device_energy=() if isinstance(measured, Error) else _evidence(measured),
        prompts=tuple(_record(prompt) for prompt in run.runs),
    )


def meter_kind(measurement: Measurement) -> MeterKind:
    """Where a measurement's joules come from."""
    if measurement.method is Method.ESTIMATE:
        return MeterKind.ESTIMATED
    simulated = Flag.SIMULATED in measurement.flags
    return MeterKind.SIMULATED_NVML if simulated else MeterKind.NVML


def window_energy(measurement: Measurement) -> WindowEnergy:
    """A measured window in whole units; an estimate has no statistical interval."""
    estimated = measurement.method is Method.ESTIMATE
    return WindowEnergy(
        energy_mj=measurement.energy_mj,
        half_width_mj=None if estimated else millijoules(measurement.half_width),
        systematic_ppm=measurement.systematic_ppm,
        duration_us=measurement.duration_us,
        method=measurement.method.value,
        flags=tuple(flag.value for flag in measurement.flags),
    )


def _refusal(error: Error) -> RunRefusal:
    return RunRefusal(
        code=reason_of(error),
        detail=str(error)[:_DETAIL_LENGTH],
        hint=error.hint[:_DETAIL_LENGTH],
    )


def _evidence(measurement: Measurement) -> tuple[DeviceEnergy, ...]:
    """Traces and counter changes; none where a board does not tell what they must state."""
    try:
        return build_device_energy(measurement)
    except MeterError:
        return ()


def _device(facts: DeviceFacts) -> RunDevice:
    return RunDevice(
        uuid=facts.uuid,
        name=facts.name,
        memory_mib=round(mebibytes(facts.memory_total_bytes)),
        power_limit_mw=facts.power_limit_mw,
    )


def _record(run: PromptRun) -> PromptRecord:
    return PromptRecord(
        input_tokens=len(run.input_ids),
        input_digest=input_digest(run.input_ids),
        output_ids=run.output_ids,
        start_us=run.start[0],
        end_us=run.end[0],
        start_mj=run.start[1],
        end_mj=run.end[1],
    )
