"""A log's token proofs, run again: by anybody who has the model, on a CPU.

A verdict says which prompts were re-scored and what came out. With the miner's report beside it
everything can be had again: the report is the one that the verdict names, the drawn prompts
follow from the beacon, and the margins from the model.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocol.canonical import Json, message_digest, parse
from protocol.constants import LOG_ENTRY_MAX_BYTES
from protocol.errors import ProtocolError
from protocol.ids import BlockHash, Digest, GenesisHash, Hotkey, ModelId, Netuid
from protocol.messages import Report, TokenProof, Verdict
from protocol.nonce_chain import nonces, round_seed
from protocol.sampling import sample_indices
from protocol.signing import Signed, verify
from protocol.workload import workload_of
from validator.judging import ProofFigures, Rescorer, Sample

TOLERANCE_MICROLOGITS = 1_000
"""Two verifiers' mean margins differ by less: margins are rounded to steps of this size."""

FetchReport = Callable[[Digest], Signed[Report] | None]
"""The report with a digest, if it can still be had."""
RescorerFor = Callable[[Report], Rescorer]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenVerdict:
    """A verdict with a token proof, where it stands in the log."""

    position: int
    verdict: Verdict
    proof: TokenProof


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFault:
    """A verdict whose token proof does not come out as it says."""

    position: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofAudit:
    """What running the proofs again came to."""

    prompt_count: int
    """Prompts re-scored."""
    verdict_count: int
    """Verdicts that they belong to."""
    without_report: int
    """Verdicts passed over, because their report is no longer to be had."""
    faults: tuple[ProofFault, ...]


def proven_verdicts(entries: Sequence[Json]) -> list[ProvenVerdict]:
    """The verdicts with a token proof in a log whose entries have been audited."""
    proven = []
    for position, entry in enumerate(entries):
        try:
            signed = parse(
                Signed[Verdict], json.dumps(entry).encode(), max_bytes=LOG_ENTRY_MAX_BYTES
            )
        except ProtocolError:
            continue  # a round record, or what the audit of the log has already named
        if signed.payload.proof is not None:
            proven.append(
                ProvenVerdict(position=position, verdict=signed.payload, proof=signed.payload.proof)
            )
    return proven


def audit_proofs(
    proven: Sequence[ProvenVerdict],
    *,
    fetch: FetchReport,
    rescorers: RescorerFor,
    prompt_count: int,
) -> ProofAudit:
    """Re-score prompts of the newest verdicts, as many as asked for.

    A verdict whose prompts are all re-scored must come out with the same figures; one of which
    only a part is must not fail where it passed.

    Args:
        proven: Verdicts with a proof, in the order of the log.
        fetch: Gives a report by its digest.
        rescorers: Gives what runs a report's model on its workload.
        prompt_count: Prompts to re-score in all.

    Raises:
        WorkloadError: If this machine lacks a model.
    """
    left, verdicts, missing = prompt_count, 0, 0
    faults: list[ProofFault] = []
    for one in reversed(proven):
        if left == 0:
            break
        signed = fetch(Digest(one.verdict.report_digest or ""))
        if signed is None:
            missing += 1
            continue
        count = min(left, len(one.proof.indices))
        whats = _faults(one, signed, rescorers, count)
        faults += [ProofFault(position=one.position, what=what) for what in whats]
        verdicts += 1
        left -= count
    return ProofAudit(
        prompt_count=prompt_count - left,
        verdict_count=verdicts,
        without_report=missing,
        faults=tuple(faults),
    )


def _faults(
    one: ProvenVerdict, signed: Signed[Report], rescorers: RescorerFor, count: int
) -> list[str]:
    verdict, proof = one.verdict, one.proof
    try:
        report = verify(signed, hotkey=Hotkey(verdict.miner))
    except ProtocolError as error:
        return [f"the report served for it does not hold: {error}"]
    if message_digest(report) != verdict.report_digest:
        return ["the report served for it is another one"]
    drawn = sample_indices(
        beacon=BlockHash(proof.beacon_hash),
        report_digest=Digest(verdict.report_digest or ""),
        population=len(report.leaves),
        count=len(proof.indices),
    )
    if drawn != proof.indices:
        return ["its prompts are not those that the beacon draws"]
    found = rescorers(report).prove(report.model, samples_of(report, drawn[:count]))
    return _differences(proof, found, count)


def samples_of(report: Report, indices: Sequence[int]) -> list[Sample]:
    """The prompts of a report to be re-scored, each with its nonce."""
    seed = round_seed(
        genesis_hash=GenesisHash(report.genesis_hash),
        netuid=Netuid(report.netuid),
        block_hash=BlockHash(report.block_hash),
        hotkey=Hotkey(report.hotkey),
        model=(ModelId(report.model.id), report.model.revision),
        workload=report.workload,
    )
    outputs = [leaf.output_ids for leaf in report.leaves]
    chain = tuple(nonces(seed, outputs, batch_size=workload_of(report.workload).batch_size))
    return [
        Sample(
            index=index,
            nonce=chain[index],
            output_ids=report.leaves[index].output_ids,
            sketch=report.leaves[index].sketch,
        )
        for index in indices
    ]


def _differences(proof: TokenProof, found: ProofFigures, count: int) -> list[str]:
    if count < len(proof.indices):
        if proof.passed and not found.passed:
            return [f"it passed, but {count} of its {len(proof.indices)} prompts fail"]
        return []
    differences = []
    if found.passed != proof.passed:
        says, is_so = ("passed", "fails") if proof.passed else ("failed", "passes")
        differences.append(f"it {says}, re-scored it {is_so}")
    mean = found.mean_margin_micrologits
    if abs(mean - proof.mean_margin_micrologits) > TOLERANCE_MICROLOGITS:
        stated = proof.mean_margin_micrologits
        differences.append(f"its mean margin is {mean} micro-logits, it says {stated}")
    return differences
