"""One report, judged: every check in order, then the token proof on the drawn sample.

Stops where going on makes no sense: a report that is not the committed one is not re-scored.
Runs in a worker thread, because the `Rescorer` runs a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.chain import Block
from protocol.ids import Digest, Nonce
from protocol.messages import Commitment, ModelRef, Report, TokenProof
from protocol.models import model_named
from protocol.nonce_chain import nonces
from protocol.sampling import sample_indices
from protocol.units import Seconds
from validator.checks import (
    Input,
    Terms,
    check_commitment,
    check_inputs,
    check_profile,
    check_report,
    none_of,
    rejection_of,
)
from validator.consistency import Standing, check_consistency
from validator.physics import Background, Baseline, check_physics
from validator.verdicts import Case, cell_of, proof_findings

_SPARSE = frozenset(
    {
        "Qwen/Qwen3-30B-A3B",
        "mistralai/Mixtral-8x7B-v0.1",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-20b",
    }
)
"""Mixtures of experts, which read a part of their weights per token."""
_SPARSE_DIVISOR = 100
"""More than any of them leaves unread (gpt-oss-120b: 5.1 of 116.8 billion, in 4 bits)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One prompt to be re-scored."""

    index: int
    nonce: Nonce
    output_ids: tuple[int, ...]
    sketch: str | None = None
    """Of the leaf, if the miner offers one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFigures:
    """What re-scoring some prompts came to, in the terms of `TokenProof`."""

    mean_margin_micrologits: int
    exceeding_ppm: int
    hard_fail_count: int
    threshold_micrologits: int
    thresholds_version: str
    passed: bool
    closer_to: str | None = None
    sketch_distance_ppm: int | None = None
    sketch_threshold_ppm: int | None = None


class Rescorer(Protocol):
    """Runs models on what miners say that they ran. Blocking.

    Every method raises `WorkloadError` when this validator lacks the model, the prompts or the
    memory: its own trouble, which costs no miner anything.
    """

    def weights_digest(self, model: tuple[str, str]) -> Digest | None:
        """Digest of the weights that this validator has of a model (id, revision)."""
        ...

    def inputs(self, model: ModelRef, seeds: Sequence[Nonce]) -> Sequence[Input]:
        """What the model gets for each prompt of the workload, tagged by its nonce."""
        ...

    def prove(self, model: ModelRef, samples: Sequence[Sample]) -> ProofFigures:
        """Margins of the miner's own tokens under the model, held against the thresholds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a report is held against, besides its terms."""

    observed: Seconds | None
    baseline: Baseline | None
    earlier_energies_mj: tuple[int, ...]
    earlier_traces: int
    """Earlier reports with the very same power trace."""
    uuid_claims: int
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a verdict on a revealed report rests on."""

    terms: Terms
    commitment: Commitment
    report: Report
    context: Context
    beacon: Block
    sample_count: int


def judge_report(evidence: Evidence, rescorer: Rescorer) -> Case:
    """All findings on a revealed report, and the token proof if it got so far.

    Raises:
        WorkloadError: If this validator cannot run the model.
    """
    terms, report = evidence.terms, evidence.report
    findings = check_profile(terms) + check_commitment(terms, evidence.commitment)
    if rejection_of(findings) is None:
        findings += check_report(terms, evidence.commitment, report)
        findings += (none_of("trace_repeat_count", evidence.context.earlier_traces),)
    if rejection_of(findings) is not None:
        return Case(findings=findings, report=report)
    chain = tuple(nonces(terms.seed, [leaf.output_ids for leaf in report.leaves]))
    findings += check_inputs(report.leaves, rescorer.inputs(report.model, chain))
    findings += check_physics(report, _background(report, evidence.context))
    if rejection_of(findings) is not None:
        return Case(findings=findings, report=report)
    findings += check_consistency(report, cell_of(report).key, evidence.context.standing)
    proof = _proof(evidence, chain, rescorer)
    return Case(findings=(*findings, *proof_findings(proof)), proof=proof, report=report)


def _proof(evidence: Evidence, chain: Sequence[Nonce], rescorer: Rescorer) -> TokenProof:
    report = evidence.report
    indices = sample_indices(
        beacon=evidence.beacon.hash,
        report_digest=Digest(evidence.commitment.report_digest),
        population=len(report.leaves),
        count=evidence.sample_count,
    )
    samples = [
        Sample(
            index=index,
            nonce=chain[index],
            output_ids=report.leaves[index].output_ids,
            sketch=report.leaves[index].sketch,
        )
        for index in indices
    ]
    figures = rescorer.prove(report.model, samples)
    return TokenProof(
        indices=indices,
        beacon_block=evidence.beacon.number,
        beacon_hash=evidence.beacon.hash,
        mean_margin_micrologits=figures.mean_margin_micrologits,
        exceeding_ppm=figures.exceeding_ppm,
        hard_fail_count=figures.hard_fail_count,
        threshold_micrologits=figures.threshold_micrologits,
        thresholds_version=figures.thresholds_version,
        passed=figures.passed,
        closer_to=figures.closer_to,
        sketch_distance_ppm=figures.sketch_distance_ppm,
        sketch_threshold_ppm=figures.sketch_threshold_ppm,
    )


def _background(report: Report, context: Context) -> Background:
    model = model_named(report.model.id, report.model.revision)
    share = _SPARSE_DIVISOR if model.id in _SPARSE else 1
    return Background(
        parameters=model.parameters // share,
        weights_bytes=model.weights_bytes(report.model.dtype) // share,
        observed=context.observed,
        baseline=context.baseline,
        earlier_energies_mj=context.earlier_energies_mj,
        uuid_claims=context.uuid_claims,
    )
