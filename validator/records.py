"""What the validator remembers of a round between its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from protocol.chain import Axon
from protocol.errors import Rejection
from protocol.ids import BlockHash, BlockNumber, Coldkey, Digest, Hotkey, RoundNumber, Uid
from protocol.messages import Commitment, Profile, Verdict
from protocol.signing import Signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A round as this validator found it."""

    round: RoundNumber
    start_block: BlockNumber
    block_hash: BlockHash
    """Of the start block: seeds the runs."""
    opened_unix_ms: int | None
    """When the start block was first seen; None if the validator came later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundState:
    """A round as far as it has got."""

    opening: Opening
    beacon_hash: BlockHash | None
    scored_block: BlockNumber | None
    """Block of the metagraph that scores were weighed against; None while it is open."""
    weights_block: BlockNumber | None
    """Block at which the weights were on chain; None while they are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One miner in one round."""

    round: RoundNumber
    hotkey: Hotkey
    coldkey: Coldkey
    uid: Uid
    axon: Axon
    profile: Signed[Profile] | None = None
    commitment: Signed[Commitment] | None = None
    commitment_block: BlockNumber | None = None
    commitment_unix_ms: int | None = None
    report_digest: Digest | None = None
    failure: Rejection | None = None
    """Why the last question got no answer."""
    asked_block: BlockNumber | None = None
    """Block at which that question was asked."""


class WeightOutcome(StrEnum):
    """What became of an attempt to set weights."""

    SET = "set"
    """On chain, and read back."""
    COMMITTED = "committed"
    """On chain, timelocked: it shows after the reveal period."""
    REFUSED = "refused"
    """Sent, and refused by the chain."""
    FAILED = "failed"
    """The chain was away, or holds something else."""
    WITHHELD = "withheld"
    """Not sent, because the chain would have refused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightAttempt:
    """One attempt to bring a round's weights on chain, or why there was none."""

    round: RoundNumber
    block: BlockNumber
    """Newest block when it began."""
    unix_ms: int
    outcome: WeightOutcome
    cause: str = ""
    """One word: the runtime's name of the error, or ours; empty for a success."""
    detail: str = ""
    weights: Mapping[Uid, int] = field(default_factory=dict)
    """The u16 vector as sent."""
    reveal_round: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the validator keeps beside a signed verdict, for checks of later reports."""

    verdict: Signed[Verdict]
    trace_digest: Digest | None = None
    """Of the report's power traces."""
    trace_shape: tuple[int, ...] = ()
    """Of the first device's (`validator.operators.trace_shape`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """An accepted report of an earlier round, for comparison."""

    miner: Hotkey
    operator: Coldkey
    energy_mj: int
    duration_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """Where the log stands."""

    size: int
    root: Digest
    block: BlockNumber
    round: RoundNumber
