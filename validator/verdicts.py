"""Findings to a verdict: what was concluded on one miner's round, ready to be signed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from protocol.canonical import canonical_bytes, digest
from protocol.errors import Rejection, RejectionCode
from protocol.ids import Digest, GenesisHash, Hotkey, Netuid
from protocol.messages import (
    Cell,
    Finding,
    MeterKind,
    RefusalRecord,
    Report,
    TokenProof,
    Verdict,
)
from protocol.networks import Network
from protocol.units import uwh_per_1k, watts
from validator.checks import bounded, none_of, rejection_of
from validator.hardware import is_simulated
from validator.records import Seat

_POWER_CLASS_W = 50
_DETAIL_LENGTH = 500
_NAME_LENGTH = 200
"""Longest text of the wire."""
_MARK_DIGITS = 16
_MICRO = 10**6

Label = Literal["verified", "simulated", "estimated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who judges, and where."""

    hotkey: Hotkey
    genesis_hash: GenesisHash
    netuid: Netuid
    network: Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything found out about one miner's round."""

    findings: tuple[Finding, ...] = ()
    proof: TokenProof | None = None
    report: Report | None = None
    refusal: Rejection | None = None
    """Set when the miner gave nothing to check."""
    trace_digest: Digest | None = None
    trace_shape: tuple[int, ...] = ()
    """Of the report's power traces, for checks of later reports."""


def verdict_on(seat: Seat, case: Case, judge: Judge) -> Verdict:
    """The verdict that the findings ask for; figures only if the report is accepted."""
    refused = case.refusal or rejection_on(case)
    report = case.report if refused is None else None
    commitment = seat.commitment.payload if seat.commitment else None
    output_tokens = sum(len(leaf.output_ids) for leaf in report.leaves) if report else None
    return Verdict(
        genesis_hash=judge.genesis_hash,
        netuid=judge.netuid,
        validator=judge.hotkey,
        miner=seat.hotkey,
        operator=seat.coldkey,
        round=seat.round,
        outcome="rejected" if refused else "accepted",
        rejection=refusal_record(refused) if refused else None,
        commitment_digest=digest(canonical_bytes(commitment)) if commitment else None,
        commitment_block=seat.commitment_block,
        report_digest=seat.report_digest,
        findings=case.findings,
        proof=case.proof,
        cell=cell_of(report) if report else None,
        status=label_of(report, judge.network) if report else None,
        energy_mj=report.energy_mj if report else None,
        duration_us=report.duration_us if report else None,
        prompt_count=len(report.leaves) if report else None,
        input_tokens=sum(leaf.input_tokens for leaf in report.leaves) if report else None,
        output_tokens=output_tokens,
        energy_per_1k_output_tokens_uwh=(
            uwh_per_1k(report.energy_mj, output_tokens) if report and output_tokens else None
        ),
    )


def rejection_on(case: Case) -> Rejection | None:
    """What the findings reject the report for; the token proof in its own words."""
    found = rejection_of(case.findings)
    if found is None or found.code != RejectionCode.TOKEN_PROOF_FAILED or case.proof is None:
        return found
    return Rejection(code=found.code, detail=describe_proof(case.proof))


def describe_proof(proof: TokenProof) -> str:
    """A token proof in one sentence."""
    if proof.closer_to is not None:
        return f"the {len(proof.indices)} re-scored answers fit {proof.closer_to} weights better"
    mean, threshold = proof.mean_margin_micrologits / _MICRO, proof.threshold_micrologits / _MICRO
    return (
        f"mean margin {mean:.4f} logits over {len(proof.indices)} re-scored prompts, at most "
        f"{threshold:.4f} is honest; {proof.hard_fail_count} prompts beyond any honest margin"
    )


def proof_findings(proof: TokenProof) -> tuple[Finding, ...]:
    """Did the assigned model produce the sampled tokens; and do the sketches say so too?

    The sketch is evidence on top: a report without one, or with a poor one, is not rejected.
    """
    tokens = none_of("token_proof_count", int(not proof.passed))
    distance, threshold = proof.sketch_distance_ppm, proof.sketch_threshold_ppm
    if distance is None or threshold is None:
        return (tokens,)
    return tokens, bounded("sketch_distance_ppm", distance, high=threshold, hard=False)


def refusal_record(rejection: Rejection) -> RefusalRecord:
    """A rejection as the wire carries it."""
    return RefusalRecord(code=rejection.code, detail=rejection.detail[:_DETAIL_LENGTH])


def cell_of(report: Report) -> Cell:
    """Where the report's figure may be compared.

    The power limit is a class of 50 W per device, so that boards set up alike share a cell.
    """
    limit = max(watts(device.power_limit_mw) for device in report.devices)
    names = sorted({device.name for device in report.devices})
    return Cell(
        workload=report.workload,
        model=report.model.id,
        revision=report.model.revision,
        gpu=_joined(names),
        gpu_count=len(report.devices),
        dtype=report.model.dtype,
        engine=report.engine,
        power_limit_w=round(limit / _POWER_CLASS_W) * _POWER_CLASS_W,
        meter=report.environment.meter,
    )


def _joined(names: Sequence[str]) -> str:
    """Names in one text; a digest stands for the end of what does not fit."""
    text = "+".join(names)
    if len(text) <= _NAME_LENGTH:
        return text
    mark = "#" + digest(text.encode())[:_MARK_DIGITS]
    return text[: _NAME_LENGTH - len(mark)] + mark


def label_of(report: Report, network: Network) -> Label:
    """What stands behind the report's figures.

    Where simulated devices are let in, nothing is called verified: a liar would not say that
    its device is one.
    """
    if report.environment.meter is MeterKind.ESTIMATED:
        return "estimated"
    simulated = any(is_simulated(device) for device in report.devices)
    if simulated or network.accepts_simulated or report.environment.meter is not MeterKind.NVML:
        return "simulated"
    return "verified"


def trace_digest(report: Report) -> Digest | None:
    """Digest of all power traces of a report; None when they are empty."""
    traces: Sequence[bytes] = [canonical_bytes(part.trace) for part in report.device_energy]
    if not any(part.trace.elapsed_ms for part in report.device_energy):
        return None
    return digest(b"\n".join(traces))
