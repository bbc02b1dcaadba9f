"""`carbonbench-miner meter -- COMMAND`: GPU energy of any command, as `perf stat` gives cycles.

The command's own output and exit status pass through. The JSON is described in
docs/measurement.md and in docs/carbonbench-meter-1.schema.json; its `schema` changes with its
meaning.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from miner.devices import DeviceFacts
from miner.estimate import GpuWitness
from miner.measurement import DeviceMeasurement, Measurement
from miner.meter import NvmlMeter, Sharing, open_meter
from miner.meter_record import (
    SCHEMA,
    MeterRecord,
    device_record,
    refusal_record,
    witness_record,
)
from miner.refusals import MeterError
from protocol.errors import ConfigurationError
from protocol.units import Joules

EXIT_REFUSED = 1
EXIT_NOT_FOUND = 127
"""Exit status of a command that does not exist (POSIX shell)."""
_SIGNALLED = 128
"""Added to the number of the signal that ended the command (POSIX shell)."""

Json = dict[str, object]
Runner = Callable[[Sequence[str]], int]


class Witness(Protocol):
    """Another meter of the same GPUs."""

    @property
    def name(self) -> str:
        """Who it is, with version."""
        ...

    def start(self) -> None:
        """Start counting."""
        ...

    def stop(self) -> Joules | None:
        """Stop counting; None where it saw nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredCommand:
    """A command that ran, and the energy of its window or why there is none."""

    command: tuple[str, ...]
    exit_status: int
    measurement: Measurement | None
    refusal: MeterError | None
    devices: tuple[DeviceFacts, ...]
    driver_version: str
    nvml_version: str
    witness: str | None = None
    """Who metered beside us, with version; None when nobody did."""
    witness_energy: Joules | None = None
    """What the witness counted; None where it saw nothing."""

    @property
    def status(self) -> int:
        """Exit status to pass on: the command's, or 1 where only the measurement failed."""
        return self.exit_status or (EXIT_REFUSED if self.refusal else 0)


def run_meter_command(
    command: Sequence[str],
    *,
    devices: Sequence[int] | None = None,
    as_json: bool = False,
    output: Path | None = None,
    sharing: Sharing = Sharing.REFUSE,
    with_witness: bool = False,
) -> int:
    """Run a command, print its GPU energy, and give its exit status.

    The text goes to standard error, as the command's own output is on standard output; JSON
    is the last line of standard output, or the whole of a file.

    Args:
        command: Program and arguments.
        devices: NVML indices; by default all that CUDA shows to this process.
        as_json: Print JSON instead of text.
        output: Write the JSON to this file.
        sharing: What to do when others use the GPU too.
        with_witness: Let codecarbon meter the same GPUs, and state its figure beside ours.

    Raises:
        MeterError: If there is nothing to meter with; the command has not run then.
        ConfigurationError: If there is no command, or the file cannot be written.
    """
    if not command:
        raise ConfigurationError("there is no command", hint="Give it after --, as: -- sleep 5")
    with open_meter(devices, sharing=sharing) as meter:
        indices = [device.index for device in meter.devices]
        witness = GpuWitness(indices) if with_witness else None
        metered = meter_command(command, meter, _run, witness)
    if output:
        _write(output, metered)
    if as_json and not output:
        print(json.dumps(metered_json(metered)), flush=True)  # noqa: T201 - the result
    elif not as_json:
        print(render_text(metered), file=sys.stderr)  # noqa: T201 - the result
    return metered.status


def meter_command(
    command: Sequence[str], meter: NvmlMeter, run: Runner, witness: Witness | None = None
) -> MeteredCommand:
    """Run a command inside a window of a meter.

    A refusal before the command starts is raised; one after it has run is kept, as the
    command's own result still counts.

    Raises:
        MeterError: If the command was not run.
    """
    exit_status: int | None = None
    measurement, refusal, witnessed = None, None, None
    try:
        with meter.window() as window:
            if witness:
                witness.start()
            try:
                exit_status = run(command)
            finally:
                witnessed = witness.stop() if witness else None
        measurement = window.measurement
    except MeterError as error:
        if exit_status is None:
            raise
        refusal = error
    return MeteredCommand(
        command=tuple(command),
        exit_status=exit_status,
        measurement=measurement,
        refusal=refusal,
        devices=meter.devices,
        driver_version=meter.driver.driver_version,
        nvml_version=meter.driver.nvml_version,
        witness=witness.name if witness else None,
        witness_energy=witnessed,
    )


def metered_json(metered: MeteredCommand) -> Json:
    """The result as documented: `schema`, numbers with their unit in the key, or a refusal."""
    keys: dict[str, Any] = {}
    measured = metered.measurement
    if measured:
        parts = zip(metered.devices, measured.devices, strict=True)
        keys = _measured_keys(measured) | {"devices": [device_record(*pair) for pair in parts]}
    if metered.witness:
        keys["witness"] = witness_record(metered.witness, metered.witness_energy, measured)
    record = MeterRecord(
        schema=SCHEMA,
        command=list(metered.command),
        exit_status=metered.exit_status,
        driver_version=metered.driver_version,
        nvml_version=metered.nvml_version,
        refusal=refusal_record(metered.refusal) if metered.refusal else None,
        **keys,
    )
    return record.model_dump(mode="json", by_alias=True, exclude_unset=True)


def render_text(metered: MeteredCommand) -> str:
    """The result for people."""
    lines = ["", f" GPU energy of: {' '.join(metered.command)}", ""]
    if metered.refusal:
        lines += [f"   refused ({metered.refusal.reason}): {metered.refusal}"]
        lines += [f"   {metered.refusal.hint}"]
    measured = metered.measurement
    if measured:
        parts = zip(metered.devices, measured.devices, strict=True)
        lines += [_device_text(facts, part) for facts, part in parts]
        lines += ["", _sum_text(measured)]
        if measured.flags:
            lines.append(f"   flags: {', '.join(measured.flags)}")
    if metered.witness:
        lines.append(f"   {_witness_text(metered)}")
    return "\n".join((*lines, ""))


def _device_text(facts: DeviceFacts, part: DeviceMeasurement) -> str:
    peak = f"{part.peak_power:.1f} W peak" if part.peak_power else "peak unknown"
    idle = f", {part.idle_before:.1f} W idle" if part.idle_before else ""
    ratio = part.trace_ratio
    check = "no trace" if ratio is None else f"trace {ratio:+.2%}"
    return (
        f"   GPU {facts.index} {facts.name}: {part.energy:.2f} J ({part.method}),"
        f" {part.mean_power:.1f} W mean, {peak}{idle}, {check}"
    )


def _witness_text(metered: MeteredCommand) -> str:
    told = witness_record(metered.witness or "", metered.witness_energy, metered.measurement)
    if told.energy_joules is None:
        return f"{told.name} saw no energy"
    ratio = "" if told.ratio is None else f" ({told.ratio:+.2%})"
    return f"{told.name} beside it: {told.energy_joules:.2f} J{ratio}"


def _sum_text(measured: Measurement) -> str:
    gain = measured.systematic_ppm / 1e4
    return (
        f"   {measured.energy:.2f} J ± {measured.half_width:.2f} J (95 %),"
        f" {measured.mean_power:.1f} W mean, {measured.duration:.3f} s;"
        f" the board's sensor adds ± {gain:.0f} % (k = 1)"
    )


def _measured_keys(measured: Measurement) -> dict[str, Any]:
    low, high = measured.energy - measured.half_width, measured.energy + measured.half_width
    return {
        "method": measured.method,
        "energy_joules": measured.energy,
        "interval_95_joules": (low, high),
        "systematic_ppm": measured.systematic_ppm,
        "net_energy_joules": measured.net_energy,
        "duration_seconds": measured.duration,
        "mean_power_watts": measured.mean_power,
        "flags": list(measured.flags),
    }


def _write(path: Path, metered: MeteredCommand) -> None:
    try:
        path.write_text(json.dumps(metered_json(metered), indent=1) + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", hint="Choose another --output."
        ) from error


def _run(command: Sequence[str]) -> int:
    """Run a command to its end; its exit status as a shell gives it."""
    try:
        process = subprocess.Popen(command)  # noqa: S603 - running the user's command is the point
    except FileNotFoundError:
        print(f"{command[0]}: command not found", file=sys.stderr)  # noqa: T201 - as a shell says
        return EXIT_NOT_FOUND
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - as a shell says
        return EXIT_NOT_FOUND - 1
    with _signals_left_to(process):
        status = process.wait()
    return status if status >= 0 else _SIGNALLED - status


@contextmanager
def _signals_left_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C reaches the command by itself; a request to end is passed on to it."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminate = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)
