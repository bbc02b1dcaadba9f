"""One run of the workload on somebody's own machine, as a file that a stranger can check.

A `RunReport` belongs to no network, no round and no chain: its genesis hash is all zeros, and no
validator takes it. It may be signed by a hotkey; the signature says who stands behind the figures,
not that they are true. `inconsistencies` says what does not fit together in one.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from protocol.canonical import parse
from protocol.errors import MalformedMessageError, RejectionCode, SignatureError
from protocol.ids import Hotkey
from protocol.messages import (
    Count,
    DeviceEnergy,
    Message,
    MeterKind,
    ModelRef,
    NetworkMessage,
    Ss58,
    Text,
    TokenIds,
)
from protocol.signing import Signature, Signed, Signer, payload_type, sign, verify
from protocol.units import Seconds, joules, seconds_from_us, watts
from protocol.workload import workload_of

NO_CHAIN = "0x" + "0" * 64
"""Genesis hash of what belongs to no chain."""
RUN_FILE_MAX_BYTES = 64 * 2**20
"""Largest file that is read: 100,000 prompts take some 20 MB."""

_WINDOW_SLACK_US = (-1_000, 5_000_000)
"""The prompts may end this long before their window does, and after it only by rounding."""
_POWER_FACTOR = 2
"""No board draws twice its enforced limit over a window."""


class RunDevice(Message):
    """One metered GPU as NVML names it."""

    uuid: Text
    name: Text
    memory_mib: Count
    power_limit_mw: Count | None
    """Enforced limit."""


class WindowEnergy(Message):
    """The energy of one window, idle draw included, summed over devices."""

    energy_mj: Count
    half_width_mj: Count | None
    """Half of the 95 % interval that edges and readings leave; None where nothing can be said."""
    systematic_ppm: Count
    """Gain uncertainty (k = 1)."""
    duration_us: Annotated[int, Field(gt=0, lt=2**53)]
    method: Literal["counter", "trace", "estimate"]
    flags: Annotated[tuple[Text, ...], Field(max_length=32)]


class RunRefusal(Message):
    """Why there is no energy."""

    code: Text
    detail: Annotated[str, Field(max_length=500)]
    hint: Annotated[str, Field(max_length=500)]


class PromptRecord(Message):
    """One prompt: what went in, what came out, and the counter around it."""

    input_tokens: Count
    input_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """First 16 hex digits of the SHA-256 over the canonical list of input token ids."""
    output_ids: TokenIds
    start_us: Count
    """Since the window opened; the prompts of one batch share start and end."""
    end_us: Count
    start_mj: Count | None
    """Energy counter since the window opened; None without one."""
    end_mj: Count | None


class RunReport(NetworkMessage):
    """One local run, complete."""

    kind: Literal["run"] = "run"
    hotkey: Ss58 | None
    """Who signs it; None in a report that nobody signs."""
    finished_unix_ms: Count
    model: ModelRef
    parameters: Count
    """Counted in the weight files."""
    workload: Text
    engine: Text
    torch_device: Text
    meter: MeterKind | None
    """None where there is no energy."""
    devices: Annotated[tuple[RunDevice, ...], Field(max_length=64)]
    platform: Text
    versions: Annotated[dict[str, Text], Field(max_length=32)]
    """Version by distribution."""
    energy: WindowEnergy | None
    prefill: WindowEnergy | None
    """A second pass over the same inputs with one new token each, where it was asked for."""
    refusal: RunRefusal | None
    device_energy: Annotated[tuple[DeviceEnergy, ...], Field(max_length=64)]
    prompts: Annotated[tuple[PromptRecord, ...], Field(min_length=1, max_length=100_000)]


class RunFile(Message):
    """A report with the signature that it claims to carry, or none; untrusted until opened."""

    payload_type: Text
    payload: RunReport
    signatures: Annotated[tuple[Signature, ...], Field(max_length=1)]


def seal(report: RunReport, signer: Signer | None) -> RunFile:
    """A report as a file, signed or not.

    Args:
        report: The report; its `hotkey` becomes the signer's.
        signer: Who signs; None leaves it unsigned.
    """
    if signer is None:
        unsigned = report.model_copy(update={"hotkey": None})
        return RunFile(payload_type=payload_type(report), payload=unsigned, signatures=())
    signed = sign(report.model_copy(update={"hotkey": signer.hotkey}), signer)
    return RunFile(
        payload_type=signed.payload_type, payload=signed.payload, signatures=signed.signatures
    )


def open_run_file(data: bytes) -> RunReport:
    """The report of a file, once its signature, if it has one, is known to be its hotkey's.

    Raises:
        ProtocolError: If it is no such file, or the signature is not what it claims.
    """
    file = parse(RunFile, data, max_bytes=RUN_FILE_MAX_BYTES)
    report = file.payload
    if not file.signatures:
        if report.hotkey is not None:
            raise SignatureError(f"the report names {report.hotkey} and is not signed")
        return report
    if report.hotkey is None:
        raise SignatureError("the report is signed and names nobody", code=RejectionCode.MALFORMED)
    signed = Signed[RunReport](
        payload_type=file.payload_type, payload=report, signatures=(file.signatures[0],)
    )
    return verify(signed, hotkey=Hotkey(report.hotkey))


def inconsistencies(report: RunReport) -> tuple[str, ...]:
    """What does not fit together in a report, one sentence each; empty for a sound one."""
    try:
        workload = workload_of(report.workload)
    except MalformedMessageError as error:
        return (str(error),)
    faults = [*_energy_faults(report), *_time_faults(report)]
    if len(report.prompts) != workload.prompt_count:
        faults.append(f"{len(report.prompts)} prompts where the workload has another number")
    if any(len(record.output_ids) != workload.new_tokens for record in report.prompts):
        faults.append(f"an answer has not {workload.new_tokens} tokens")
    return tuple(faults)


def _energy_faults(report: RunReport) -> Iterator[str]:
    if (report.energy is None) == (report.refusal is None):
        yield "a report has either an energy or a refusal"
    if report.energy is None or not report.device_energy:
        return
    parts_mj = sum(part.energy_mj for part in report.device_energy)
    if abs(parts_mj - report.energy.energy_mj) > len(report.device_energy):
        yield f"the devices' energies add up to {parts_mj} mJ, not {report.energy.energy_mj} mJ"
    limits = [device.power_limit_mw for device in report.devices]
    known = [limit for limit in limits if limit is not None]
    ceiling = _POWER_FACTOR * sum(map(watts, known))
    mean = joules(report.energy.energy_mj) / seconds_from_us(report.energy.duration_us)
    if len(known) == len(limits) > 0 and mean > ceiling:
        yield f"a mean power of {mean:.0f} W is more than the boards can draw"


def _time_faults(report: RunReport) -> Iterator[str]:
    records = report.prompts
    if any(record.start_us > record.end_us for record in records) or any(
        before.end_us > after.start_us and before.start_us != after.start_us
        for before, after in pairwise(records)
    ):
        yield "the prompts' times run backwards"
    if records[-1].end_us <= records[0].start_us:
        yield "the run took no time"
    counters = [record.end_mj for record in records if record.end_mj is not None]
    if any(after < before for before, after in pairwise(counters)):
        yield "the energy counter runs backwards"
    if report.energy is None:
        return
    left_us = report.energy.duration_us - records[-1].end_us
    if not _WINDOW_SLACK_US[0] <= left_us <= _WINDOW_SLACK_US[1]:
        apart = Seconds(abs(seconds_from_us(left_us)))
        yield f"the last prompt ends {apart:.3f} s away from the window's end"
