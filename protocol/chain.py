"""The chain as we need it: a port, and the records that it speaks.

`protocol.subtensor` is the adapter on the Bittensor SDK; tests use an in-memory fake. One
adapter instance owns one connection and belongs to one event loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from protocol.errors import ChainError
from protocol.ids import BlockHash, BlockNumber, Coldkey, GenesisHash, Hotkey, Netuid, Uid
from protocol.units import U16_MAX

_FRACTION_BITS = 32
_UPSCALE_THRESHOLD = 32_768


class CallRefusedError(ChainError):
    """A call that reached the chain, or its pool, and was refused there.

    Args:
        message: What was refused and why, in one sentence.
        reason: The runtime's name of the error, such as `SettingWeightsTooFast`; the pool's or
            the SDK's own word where the runtime was not asked.
        hint: What the operator can do about it.
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of the chain."""

    number: BlockNumber
    hash: BlockHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Axon:
    """Where a hotkey says that it serves. Attacker-controlled: check before calling."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neuron:
    """One UID of the subnet at one block."""

    uid: Uid
    hotkey: Hotkey
    coldkey: Coldkey
    axon: Axon | None
    validator_permit: bool
    stake_tao: float
    """Total stake weight, in TAO-equivalent alpha."""
    last_update_block: BlockNumber
    registration_block: BlockNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class Metagraph:
    """The subnet at one block."""

    netuid: Netuid
    block: BlockNumber
    tempo_blocks: int
    owner_hotkey: Hotkey | None
    neurons: tuple[Neuron, ...]

    def by_hotkey(self, hotkey: Hotkey) -> Neuron | None:
        """The neuron that holds this hotkey, or None."""
        return next((neuron for neuron in self.neurons if neuron.hotkey == hotkey), None)

    def owner_uid(self) -> Uid | None:
        """UID of the subnet owner, whose weight is burned; None when the owner holds none."""
        owner = self.by_hotkey(self.owner_hotkey) if self.owner_hotkey else None
        return owner.uid if owner else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What the subnet's owner and root have set, as far as we obey it."""

    tempo_blocks: int
    weights_rate_limit_blocks: int
    """Blocks that must pass between two weight vectors of one hotkey."""
    weights_version_key: int
    min_allowed_weights: int
    max_weight_limit_u16: int
    commit_reveal_enabled: bool
    activity_cutoff_blocks: int
    immunity_period_blocks: int
    serving_rate_limit_blocks: int
    stake_threshold_tao: float = 0.0
    """Stake weight below which the chain takes no weights."""
    reveal_period_epochs: int = 1
    """Epochs after which timelocked weights are opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsReceipt:
    """What became of a weight vector that was sent."""

    block_hash: BlockHash
    reveal_round: int | None
    """Drand round after which a timelocked vector shows; None for a plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCommitment:
    """The bytes a hotkey has committed on chain, and when."""

    data: bytes
    block: BlockNumber


def as_stored(weights: Mapping[Uid, int]) -> dict[Uid, int]:
    """What the chain stores for a u16 vector: scaled up so that the largest weight is 65,535.

    The runtime does this to every vector (`vec_u16_max_upscale_to_u16` of pallet-subtensor, in
    I32F32 fixed point, half away from zero), so a vector that sums to 65,535 is read back
    with other numbers and the same proportions. Scaling twice changes nothing.
    """
    peak = max(weights.values(), default=0)
    if peak == 0:
        return dict.fromkeys(weights, 0)
    return {uid: _upscaled(weight, peak) for uid, weight in weights.items()}


def _upscaled(weight: int, peak: int) -> int:
    if peak > _UPSCALE_THRESHOLD:  # the runtime divides first, lest the product overflow
        scaled = weight * ((U16_MAX << _FRACTION_BITS) // peak)
    else:
        scaled = (weight * U16_MAX << _FRACTION_BITS) // peak
    return (scaled + (1 << _FRACTION_BITS - 1)) >> _FRACTION_BITS


class Chain(Protocol):
    """The chain, for one netuid and one hotkey.

    Every method raises `ChainError` (with a hint) when the chain is unreachable or refuses.
    """

    async def genesis_hash(self) -> GenesisHash:
        """Hash of block 0."""
        ...

    async def head(self) -> Block:
        """The newest block."""
        ...

    async def block_hash(self, number: BlockNumber) -> BlockHash:
        """Hash of an existing block; `ChainError` when it is not there yet or pruned."""
        ...

    async def metagraph(self) -> Metagraph:
        """The subnet now."""
        ...

    async def hyperparameters(self) -> Hyperparameters:
        """The subnet's hyperparameters now."""
        ...

    async def serve_axon(self, axon: Axon) -> None:
        """Announce where this hotkey serves; does nothing when already announced so."""
        ...

    async def set_weights(self, weights: Mapping[Uid, int], *, version_key: int) -> WeightsReceipt:
        """Send one vector of u16 weights, signed by this hotkey."""
        ...

    async def weights(self, uid: Uid) -> dict[Uid, int]:
        """The u16 vector that a UID has on chain, in the form of `as_stored` (revealed only)."""
        ...

    async def commit(self, data: bytes) -> None:
        """Store up to 128 bytes under this hotkey."""
        ...

    async def commitment(self, hotkey: Hotkey) -> ChainCommitment | None:
        """What a hotkey has stored, or None."""
        ...

    async def close(self) -> None:
        """Close the connection; idempotent."""
        ...
