"""Does the report say what was asked, committed and signed? One small function per rule.

Each rule gives a `Finding`: a code whose last word is the unit, the value found, and the
bounds it was held against. A failed hard finding rejects the report with the code that
`REJECTIONS` names. What physics and statistics say about the joules is in `validator.physics`;
whether the tokens are the model's, in `validator.proof`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

from protocol.canonical import canonical_bytes, canonical_json, digest, message_digest
from protocol.errors import Rejection, RejectionCode
from protocol.ids import BlockHash, Digest, GenesisHash, Hotkey, ModelId, Netuid, RoundNumber
from protocol.merkle import merkle_root
from protocol.messages import (
    Commitment,
    Finding,
    Leaf,
    MeterKind,
    ModelRef,
    NetworkMessage,
    Profile,
    Report,
)
from protocol.nonce_chain import round_seed
from protocol.rounds import assign
from protocol.workload import Workload
from validator.hardware import is_simulated

INPUT_DIGEST_DIGITS = 16
"""Hex digits of an input's digest that a leaf carries."""

_LARGEST = 2**53 - 1

REJECTIONS: dict[str, RejectionCode] = {
    "chain_mismatch_count": RejectionCode.WRONG_CHAIN,
    "miner_mismatch_count": RejectionCode.WRONG_MINER,
    "round_mismatch_count": RejectionCode.WRONG_ROUND,
    "profile_mismatch_count": RejectionCode.WRONG_ASSIGNMENT,
    "unknown_model_count": RejectionCode.UNKNOWN_MODEL,
    "assignment_mismatch_count": RejectionCode.WRONG_ASSIGNMENT,
    "weights_mismatch_count": RejectionCode.WEIGHTS_DIGEST_MISMATCH,
    "simulated_device_count": RejectionCode.SIMULATED_REFUSED,
    "commitment_mismatch_count": RejectionCode.COMMITMENT_MISMATCH,
    "prompt_mismatch_count": RejectionCode.INPUT_MISMATCH,
    "leaf_order_count": RejectionCode.LEAVES_REORDERED,
    "output_length_count": RejectionCode.OUTPUT_LENGTH,
    "input_length_count": RejectionCode.INPUT_MISMATCH,
    "stale_nonce_count": RejectionCode.NONCE_STALE,
    "nonce_chain_count": RejectionCode.NONCE_CHAIN_BROKEN,
    "trace_repeat_count": RejectionCode.REPLAYED,
    "leaf_time_order_count": RejectionCode.TIME_IMPOSSIBLE,
    "time_floor_us": RejectionCode.TIME_IMPOSSIBLE,
    "observed_time_us": RejectionCode.TIME_IMPOSSIBLE,
    "counter_backwards_count": RejectionCode.COUNTER_INCONSISTENT,
    "device_mismatch_count": RejectionCode.COUNTER_INCONSISTENT,
    "device_sum_gap_mj": RejectionCode.COUNTER_INCONSISTENT,
    "leaf_sum_gap_mj": RejectionCode.COUNTER_INCONSISTENT,
    "counter_gap_mj": RejectionCode.COUNTER_INCONSISTENT,
    "trace_gap_ppm": RejectionCode.TRACE_INCONSISTENT,
    "power_ceiling_mj": RejectionCode.ENERGY_IMPOSSIBLE,
    "idle_floor_mj": RejectionCode.ENERGY_IMPOSSIBLE,
    "data_movement_floor_mj": RejectionCode.ENERGY_IMPOSSIBLE,
    "token_proof_count": RejectionCode.TOKEN_PROOF_FAILED,
}
"""What a failed hard finding is called on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one miner was asked in one round, and what the validator knows of it."""

    genesis_hash: GenesisHash
    netuid: Netuid
    hotkey: Hotkey
    round: RoundNumber
    block_hash: BlockHash
    workload: Workload
    profile: Profile
    """As served before the commitment."""
    catalogued: frozenset[tuple[str, str]]
    """(id, revision) of every model that the network knows."""
    weights_digest: Digest | None
    """Of the assigned model's weights; None when the validator has nothing to compare with."""
    accepts_simulated: bool

    @property
    def model(self) -> tuple[str, str]:
        """(id, revision) of the assigned model."""
        offered = [(model.id, model.revision) for model in self.profile.models]
        return assign(block_hash=self.block_hash, hotkey=self.hotkey, models=offered)

    @property
    def seed(self) -> bytes:
        """Seed of the nonce chain (32 bytes)."""
        model_id, revision = self.model
        return round_seed(
            genesis_hash=self.genesis_hash,
            netuid=self.netuid,
            block_hash=self.block_hash,
            hotkey=self.hotkey,
            model=(ModelId(model_id), revision),
            workload=self.workload.key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A prompt as the model must have got it."""

    tokens: int
    digest: str
    """As `Leaf.input_digest`."""


def input_of(ids: Sequence[int]) -> Input:
    """What a leaf must say about a prompt with these token ids."""
    return Input(tokens=len(ids), digest=digest(canonical_json(list(ids)))[:INPUT_DIGEST_DIGITS])


def bounded(
    code: str, value: int, *, low: int | None = None, high: int | None = None, hard: bool
) -> Finding:
    """A finding that passes when the value is within its bounds, both included.

    Values beyond what the wire carries are cut to its ends: a liar's numbers may be absurd.
    """
    value, low, high = _carried(value), _carried(low), _carried(high)
    passed = (low is None or low <= value) and (high is None or value <= high)
    return Finding(code=code, passed=passed, hard=hard, value=value, low=low, high=high)


@overload
def _carried(value: int) -> int: ...
@overload
def _carried(value: None) -> None: ...
@overload
def _carried(value: int | None) -> int | None: ...
def _carried(value: int | None) -> int | None:
    return None if value is None else max(-_LARGEST, min(_LARGEST, value))


def none_of(code: str, count: int, *, hard: bool = True) -> Finding:
    """A finding that passes when nothing was counted."""
    return bounded(code, count, high=0, hard=hard)


def rejection_of(findings: Iterable[Finding]) -> Rejection | None:
    """The rejection that the first failed hard finding asks for; None when there is none."""
    for finding in findings:
        if finding.hard and not finding.passed:
            return Rejection(code=REJECTIONS[finding.code], detail=describe(finding))
    return None


def describe(finding: Finding) -> str:
    """A failed finding in a few words: the code, the value and the bound it broke."""
    bound = finding.low if finding.low is not None and finding.value < finding.low else finding.high
    word = "at least" if bound == finding.low and bound != finding.high else "at most"
    return f"{finding.code} is {finding.value}, {word} {bound} is allowed"


def check_profile(terms: Terms) -> tuple[Finding, ...]:
    """Is the profile the miner's own, for this chain, on hardware that the network takes?"""
    return (
        check_chain(terms, terms.profile),
        none_of("miner_mismatch_count", int(terms.profile.hotkey != terms.hotkey)),
        check_simulated(terms, terms.profile),
    )


def check_commitment(terms: Terms, commitment: Commitment) -> tuple[Finding, ...]:
    """Is the commitment for this chain, round, miner, profile and assignment?"""
    return (
        check_chain(terms, commitment),
        none_of("miner_mismatch_count", int(commitment.hotkey != terms.hotkey)),
        check_round(terms, commitment),
        none_of(
            "profile_mismatch_count",
            int(commitment.profile_digest != message_digest(terms.profile)),
        ),
        none_of("unknown_model_count", int(terms.model not in terms.catalogued)),
        check_assignment(terms, commitment),
        check_weights(terms, commitment.model),
    )


def check_report(terms: Terms, commitment: Commitment, report: Report) -> tuple[Finding, ...]:
    """Is the report the committed one, complete and in order?"""
    return (
        none_of("commitment_mismatch_count", len(disagreements(commitment, report))),
        check_simulated(terms, report),
        none_of("prompt_mismatch_count", abs(len(report.leaves) - terms.workload.prompt_count)),
        check_leaf_order(report.leaves),
        check_output_lengths(terms, report.leaves),
    )


def check_inputs(leaves: Sequence[Leaf], expected: Sequence[Input]) -> tuple[Finding, ...]:
    """Were these the round's prompts, each behind the tag that the answers before it ask for?

    A tag has the same number of tokens for every nonce. So another length means another
    prompt, and the right length with other ids a tag from another chain: from the first prompt
    on in a run for another round, later on in one that was batched or whose answers changed.
    """
    pairs = list(zip(leaves, expected, strict=True))
    lengths = sum(leaf.input_tokens != wanted.tokens for leaf, wanted in pairs)
    foreign = [
        leaf.input_tokens == wanted.tokens and leaf.input_digest != wanted.digest
        for leaf, wanted in pairs
    ]
    return (
        none_of("input_length_count", lengths),
        none_of("stale_nonce_count", int(any(foreign[:1]))),
        none_of("nonce_chain_count", sum(foreign)),
    )


def check_chain(terms: Terms, message: NetworkMessage) -> Finding:
    """Is the message for this chain and subnet?"""
    same = message.genesis_hash == terms.genesis_hash and message.netuid == terms.netuid
    return none_of("chain_mismatch_count", int(not same))


def check_round(terms: Terms, message: Commitment | Report) -> Finding:
    """Is the message for this round, and seeded by its first block?"""
    same = message.round == terms.round and message.block_hash == terms.block_hash
    return none_of("round_mismatch_count", int(not same))


def check_assignment(terms: Terms, message: Commitment | Report) -> Finding:
    """Did the miner run the assigned model, as its profile offers it, on the right workload?"""
    offered = next(
        model for model in terms.profile.models if (model.id, model.revision) == terms.model
    )
    same = message.model == offered and message.workload == terms.workload.key
    return none_of("assignment_mismatch_count", int(not same))


def check_weights(terms: Terms, model: ModelRef) -> Finding:
    """Are the declared weights those that the validator has?"""
    known = terms.weights_digest
    return none_of(
        "weights_mismatch_count", int(known is not None and model.weights_digest != known)
    )


def check_simulated(terms: Terms, message: Profile | Report) -> Finding:
    """How many devices are simulated or only estimated, where the network takes neither?"""
    if terms.accepts_simulated:
        return none_of("simulated_device_count", 0)
    unreal = 0 if message.environment.meter is MeterKind.NVML else len(message.devices)
    named = sum(is_simulated(device) for device in message.devices)
    return none_of("simulated_device_count", max(unreal, named))


def check_leaf_order(leaves: Sequence[Leaf]) -> Finding:
    """Are the leaves numbered in the order in which they were run?"""
    return none_of(
        "leaf_order_count", sum(leaf.index != place for place, leaf in enumerate(leaves))
    )


def check_output_lengths(terms: Terms, leaves: Sequence[Leaf]) -> Finding:
    """Has every prompt exactly the workload's number of new tokens?"""
    wanted = terms.workload.new_tokens
    return none_of("output_length_count", sum(len(leaf.output_ids) != wanted for leaf in leaves))


def disagreements(commitment: Commitment, report: Report) -> tuple[str, ...]:
    """Names of what the revealed report says otherwise than the commitment."""
    leaves = report.leaves
    expected = {
        "report_digest": message_digest(report),
        "leaves_root": merkle_root([canonical_bytes(leaf) for leaf in leaves]),
        "prompt_count": len(leaves),
        "input_tokens": sum(leaf.input_tokens for leaf in leaves),
        "output_tokens": sum(len(leaf.output_ids) for leaf in leaves),
    }
    shared = (
        *("genesis_hash", "netuid", "hotkey", "round", "block_hash", "model", "workload"),
        *("engine", "energy_mj", "duration_us"),
    )
    expected |= {name: getattr(report, name) for name in shared}
    return tuple(name for name, value in expected.items() if getattr(commitment, name) != value)
