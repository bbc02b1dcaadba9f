"""What was run and what was read, as the messages that a miner signs. Pure.

A `Report` is one run complete; its `Commitment` binds it by digest before the sample is known;
the `Profile` says beforehand what the miner has. Nothing here decides whether a number is good
enough to sign: `miner.measurement` has refused by then.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from miner.evidence import build_device_energy
from miner.measurement import Measurement
from protocol.canonical import canonical_bytes, canonical_json, message_digest
from protocol.constants import REPORT_MAX_BYTES
from protocol.errors import MeasurementError
from protocol.ids import BlockHash, Digest, GenesisHash, Hotkey, ModelId, Netuid, RoundNumber
from protocol.merkle import merkle_root
from protocol.messages import (
    Commitment,
    CounterTrace,
    Device,
    DeviceEnergy,
    Environment,
    Leaf,
    ModelRef,
    PowerTrace,
    Profile,
    Report,
)
from protocol.nonce_chain import round_seed
from protocol.units import Microseconds, Millijoules, PartsPerMillion
from protocol.workload import Workload

_INPUT_DIGEST_DIGITS = 16
SIMULATED_MARK = "SIMULATED"
"""Stands in the name and UUID of every simulated device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signs, and for which network."""

    genesis_hash: GenesisHash
    netuid: Netuid
    hotkey: Hotkey


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an engine is to run."""

    model: ModelRef
    workload: Workload
    seed: bytes
    """Seed of the nonce chain; empty for the plain form, which has no tags."""


class PromptRun(NamedTuple):
    """One prompt as the measured loop left it; times and energies since the window opened."""

    input_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    start: tuple[int, int | None]
    """(microseconds, energy counter in mJ; None where there is no counter)."""
    end: tuple[int, int | None]
    sketch: str | None = None
    """`protocol.sketch` of the hidden states behind the answer, if they were recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a miner is to run in one round."""

    identity: Identity
    round: RoundNumber
    block_hash: BlockHash
    """Hash of the round's first block."""
    model: ModelRef
    workload: Workload

    @property
    def task(self) -> Task:
        """What the engine is to run."""
        seed = round_seed(
            genesis_hash=self.identity.genesis_hash,
            netuid=self.identity.netuid,
            block_hash=self.block_hash,
            hotkey=self.identity.hotkey,
            model=(ModelId(self.model.id), self.model.revision),
            workload=self.workload.key,
        )
        return Task(model=self.model, workload=self.workload, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What the meter says about one window, summed over devices, with its evidence."""

    energy_mj: Millijoules
    duration_us: Microseconds
    systematic_ppm: PartsPerMillion
    """Sensor gain uncertainty (k = 1)."""
    by_device: tuple[DeviceEnergy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a report says about the machine that ran it."""

    devices: tuple[Device, ...]
    environment: Environment
    engine: str
    """Name of the inference engine."""

    @property
    def simulated(self) -> bool:
        """Whether any device is a simulated one."""
        return any(is_simulated(device) for device in self.devices)


def is_simulated(device: Device) -> bool:
    """Whether a device says that it is simulated."""
    return SIMULATED_MARK in device.name.upper() or SIMULATED_MARK in device.uuid.upper()


def build_energy(measurement: Measurement) -> Energy:
    """A measured window as a report states it."""
    return Energy(
        energy_mj=measurement.energy_mj,
        duration_us=measurement.duration_us,
        systematic_ppm=PartsPerMillion(measurement.systematic_ppm),
        by_device=build_device_energy(measurement),
    )


def build_leaves(runs: Sequence[PromptRun]) -> tuple[Leaf, ...]:
    """The leaves of a report, in the order of the run.

    Raises:
        MeasurementError: If there was no energy counter to read at each prompt.
    """
    return tuple(
        Leaf(
            index=index,
            input_tokens=len(run.input_ids),
            input_digest=input_digest(run.input_ids),
            output_ids=run.output_ids,
            start_us=run.start[0],
            end_us=run.end[0],
            start_mj=_counted(run.start[1]),
            end_mj=_counted(run.end[1]),
            sketch=run.sketch,
        )
        for index, run in enumerate(runs)
    )


def _counted(energy_mj: int | None) -> int:
    if energy_mj is None:
        raise MeasurementError(
            "this GPU has no energy counter to read at each prompt",
            hint="Rounds need the energy counter of a Volta or newer GPU.",
        )
    return energy_mj


def input_digest(ids: Sequence[int]) -> str:
    """First 16 hex digits of the SHA-256 over the canonical list of a prompt's token ids."""
    return hashlib.sha256(canonical_json(list(ids))).hexdigest()[:_INPUT_DIGEST_DIGITS]


def build_profile(identity: Identity, machine: Machine, models: tuple[ModelRef, ...]) -> Profile:
    """What this miner has and offers to run."""
    return Profile(
        genesis_hash=identity.genesis_hash,
        netuid=identity.netuid,
        hotkey=identity.hotkey,
        devices=machine.devices,
        models=models,
        engine=machine.engine,
        environment=machine.environment,
    )


def build_report(
    assignment: Assignment, leaves: tuple[Leaf, ...], energy: Energy, machine: Machine
) -> Report:
    """One run as a report, its evidence thinned out until it is small enough to send.

    Raises:
        MeasurementError: If it is too large even with the traces' first and last rows alone.
    """
    report = Report(
        genesis_hash=assignment.identity.genesis_hash,
        netuid=assignment.identity.netuid,
        hotkey=assignment.identity.hotkey,
        round=assignment.round,
        block_hash=assignment.block_hash,
        model=assignment.model,
        workload=assignment.workload.key,
        engine=machine.engine,
        devices=machine.devices,
        environment=machine.environment,
        energy_mj=energy.energy_mj,
        duration_us=energy.duration_us,
        systematic_ppm=energy.systematic_ppm,
        device_energy=energy.by_device,
        leaves=leaves,
    )
    while (size := len(canonical_bytes(report))) > REPORT_MAX_BYTES:
        thinner = _thinned(report)
        if thinner == report:
            raise MeasurementError(
                f"the report has {size} bytes and no trace left to thin out; "
                f"{REPORT_MAX_BYTES} are allowed",
                hint="Run fewer prompts or generate fewer tokens per prompt.",
            )
        report = thinner
    return report


def build_commitment(report: Report, *, profile_digest: Digest) -> Commitment:
    """What binds a miner to its report before anyone knows what will be re-scored."""
    return Commitment(
        genesis_hash=report.genesis_hash,
        netuid=report.netuid,
        hotkey=report.hotkey,
        round=report.round,
        block_hash=report.block_hash,
        model=report.model,
        workload=report.workload,
        engine=report.engine,
        profile_digest=profile_digest,
        report_digest=message_digest(report),
        leaves_root=merkle_root([canonical_bytes(leaf) for leaf in report.leaves]),
        prompt_count=len(report.leaves),
        input_tokens=sum(leaf.input_tokens for leaf in report.leaves),
        output_tokens=sum(len(leaf.output_ids) for leaf in report.leaves),
        energy_mj=report.energy_mj,
        duration_us=report.duration_us,
    )


def _thinned(report: Report) -> Report:
    """The report with every second row of its traces; first and last rows stay."""
    halved = tuple(
        part.model_copy(
            update={"trace": _every_second(part.trace), "counter": _every_second(part.counter)}
        )
        for part in report.device_energy
    )
    return report.model_copy(update={"device_energy": halved})


def _every_second(trace: PowerTrace | CounterTrace) -> PowerTrace | CounterTrace:
    columns = {name: getattr(trace, name) for name in type(trace).model_fields}
    return type(trace)(**{name: _kept(column) for name, column in columns.items()})


def _kept(column: tuple[int, ...]) -> tuple[int, ...]:
    return column[:-1:2] + column[-1:]
