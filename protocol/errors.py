"""The error tree, and the codes by which foreign input is refused.

Two kinds that never mix. Somebody else's fault is a value: a `Rejection` with a stable
`RejectionCode`, counted in metrics and written to the log. Our own fault, or the world's,
is an exception with a hint on what the operator can do:

    ``Error``
    |-- ProtocolError            bytes or a message that break the agreement; has a RejectionCode
    |   |-- MalformedMessageError
    |   |-- SignatureError
    |   `-- VersionMismatchError
    |-- ConfigurationError       settings, wallet, files, ports
    |-- WorkloadError            prompts, model, engine
    |-- MeasurementError         no number that we would sign (subclasses in miner/)
    |-- ChainError               chain unreachable or refusing
    |-- StoreError               database or disk
    `-- SourceError              grid, price or verdict source (subclasses in api/)

Parsing and `verify` raise `ProtocolError`; the one place in each role that receives foreign
bytes catches it and keeps its `.rejection`.
"""

from dataclasses import dataclass
from enum import StrEnum


class RejectionCode(StrEnum):
    """Why a report, message or request was refused. Stable: written to logs and metrics."""

    MALFORMED = "malformed"
    """Not the JSON that the schema asks for."""
    OVERSIZED = "oversized"
    """More bytes than the protocol allows."""
    VERSION_MISMATCH = "version_mismatch"
    """A message version that this node does not speak."""
    SIGNATURE_INVALID = "signature_invalid"
    """The signature does not match payload and hotkey."""
    WRONG_CHAIN = "wrong_chain"
    """Genesis hash or netuid of another network."""
    WRONG_ROUND = "wrong_round"
    """Round, block hash or seed of another round."""
    WRONG_MINER = "wrong_miner"
    """Signed by a hotkey other than the one that was asked."""
    WRONG_ASSIGNMENT = "wrong_assignment"
    """Another model or workload than assigned."""
    UNKNOWN_MODEL = "unknown_model"
    """A model that the network's catalogue does not hold."""
    NOT_REGISTERED = "not_registered"
    """The hotkey holds no UID."""
    NOT_PERMITTED = "not_permitted"
    """The caller may not ask this (no permit, too little stake, not the addressee)."""
    UNREACHABLE = "unreachable"
    """The miner did not answer in time; never counts as fraud."""
    ADDRESS_REFUSED = "address_refused"
    """The axon's address is private, loopback or otherwise not for us to call."""
    NO_COMMITMENT = "no_commitment"
    """No commitment by the deadline."""
    COMMITMENT_LATE = "commitment_late"
    """Commitment seen only after the deadline block."""
    COMMITMENT_CHANGED = "commitment_changed"
    """Two different commitments for one round."""
    COMMITMENT_MISMATCH = "commitment_mismatch"
    """The revealed report is not the committed one."""
    NO_REPORT = "no_report"
    """Committed but did not reveal."""
    NONCE_STALE = "nonce_stale"
    """The run began with another nonce than this round's: run early, or for another round."""
    NONCE_CHAIN_BROKEN = "nonce_chain_broken"
    """Leaves do not follow from the answers before them: batched, or answers were changed."""
    LEAVES_REORDERED = "leaves_reordered"
    """The leaves are not in the order in which they were run."""
    INPUT_MISMATCH = "input_mismatch"
    """The prompts' token ids are not those of the workload."""
    OUTPUT_LENGTH = "output_length"
    """A prompt without exactly the workload's number of new tokens."""
    TOKEN_PROOF_FAILED = "token_proof_failed"  # noqa: S105 - a code, no secret
    """Re-scoring says that another model, precision or prompt produced the tokens."""
    WEIGHTS_DIGEST_MISMATCH = "weights_digest_mismatch"
    """The declared weights are not the catalogue's."""
    SIMULATED_REFUSED = "simulated_refused"
    """A simulated device on a network that takes only real ones."""
    COUNTER_INCONSISTENT = "counter_inconsistent"
    """Energy counter runs backwards, or per-prompt values and total disagree."""
    TRACE_INCONSISTENT = "trace_inconsistent"
    """Power trace and energy counter disagree."""
    TIME_IMPOSSIBLE = "time_impossible"
    """Claimed duration outside what blocks and physics allow."""
    ENERGY_IMPOSSIBLE = "energy_impossible"
    """Claimed energy outside the device's physical limits."""
    REPLAYED = "replayed"
    """A request or report seen before."""
    EXCLUDED = "excluded"
    """The hotkey is excluded for proven fraud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A refusal of foreign input, as a value."""

    code: RejectionCode
    detail: str
    """What was found and what was expected, in one sentence, without secrets."""


class Error(Exception):
    """Root of everything that this project raises.

    Args:
        message: What happened, in one sentence.
        hint: What the operator can do about it; empty when there is nothing to do.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ProtocolError(Error):
    """Bytes or a message that break the agreement."""

    code = RejectionCode.MALFORMED

    def __init__(self, message: str, *, code: RejectionCode | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code or type(self).code

    @property
    def rejection(self) -> Rejection:
        """The same fault as a value."""
        return Rejection(code=self.code, detail=str(self))


class MalformedMessageError(ProtocolError):
    """Not a message of the schema."""


class SignatureError(ProtocolError):
    """A signature that does not verify."""

    code = RejectionCode.SIGNATURE_INVALID


class VersionMismatchError(ProtocolError):
    """A message of a version that this node does not speak."""

    code = RejectionCode.VERSION_MISMATCH


class ConfigurationError(Error):
    """Settings, wallet, files or ports that do not allow a start."""


class WorkloadError(Error):
    """Prompts, model or engine cannot do the workload."""


class MeasurementError(Error):
    """No number that we would sign."""


class ChainError(Error):
    """The chain is unreachable or refuses."""


class StoreError(Error):
    """The database or the disk does not keep what it is given."""


class SourceError(Error):
    """A grid, price or verdict source does not deliver."""
