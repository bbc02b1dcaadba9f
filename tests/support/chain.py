"""An in-memory chain, advanced by hand.

`FakeLedger` is the world that all participants share; `FakeChain` is one participant's
connection to it and implements `protocol.chain.Chain`. Refusals carry the runtime's own names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from protocol.chain import (
    Axon,
    Block,
    CallRefusedError,
    ChainCommitment,
    Hyperparameters,
    Metagraph,
    Neuron,
    WeightsReceipt,
    as_stored,
)
from protocol.errors import ChainError
from protocol.ids import BlockHash, BlockNumber, Coldkey, GenesisHash, Hotkey, Netuid, Uid

OWNER_HOTKEY = Hotkey("5HbW7VdqbckN4rag2r6BHFgF6sZEMsdDjdBa1fhoPCvgb9Hu")
"""//Owner//hotkey, who holds UID 0 as on the devnet."""
OWNER_COLDKEY = Coldkey("5FTyuyEQQZs8tCcPTUFqotkm2SYfDnpefn9FitRgmTHnFDBD")
NETUID = Netuid(2)
DEVNET_HYPERPARAMETERS = Hyperparameters(
    tempo_blocks=20,
    weights_rate_limit_blocks=5,
    weights_version_key=0,
    min_allowed_weights=1,
    max_weight_limit_u16=65_535,
    commit_reveal_enabled=False,
    activity_cutoff_blocks=277,
    immunity_period_blocks=100,
    serving_rate_limit_blocks=1,
    stake_threshold_tao=1_000.0,
)


@dataclass(slots=True)
class FakeLedger:
    """The chain that several `FakeChain`s look at."""

    netuid: Netuid = NETUID
    seed: bytes = b"fake"
    number: int = 1
    hyperparameters: Hyperparameters = DEVNET_HYPERPARAMETERS
    neurons: dict[Uid, Neuron] = field(default_factory=dict)
    weights: dict[Uid, dict[Uid, int]] = field(default_factory=dict)
    commitments: dict[Hotkey, ChainCommitment] = field(default_factory=dict)
    down: bool = False
    """Whether nobody answers."""

    def __post_init__(self) -> None:
        if not self.neurons:
            self.register(OWNER_HOTKEY, OWNER_COLDKEY)

    @property
    def genesis(self) -> GenesisHash:
        return GenesisHash(self.hash_of(0))

    def hash_of(self, number: int) -> BlockHash:
        """Hash of a block, unknown to whoever lacks the seed."""
        return BlockHash("0x" + sha256(self.seed + number.to_bytes(8, "big")).hexdigest())

    def advance(self, blocks: int = 1) -> BlockNumber:
        """Make blocks; the new head."""
        self.number += blocks
        return BlockNumber(self.number)

    def register(
        self,
        hotkey: Hotkey,
        coldkey: Coldkey,
        *,
        stake_tao: float = 0.0,
        permit: bool = False,
        uid: Uid | None = None,
    ) -> Uid:
        """Give a UID to a hotkey: the next one, or a taken one, whose holder loses it."""
        seat = Uid(len(self.neurons)) if uid is None else uid
        self.weights.pop(seat, None)
        self.neurons[seat] = Neuron(
            uid=seat,
            hotkey=hotkey,
            coldkey=coldkey,
            axon=None,
            validator_permit=permit,
            stake_tao=stake_tao,
            last_update_block=BlockNumber(0),
            registration_block=BlockNumber(self.number),
        )
        return seat

    def neuron(self, hotkey: Hotkey) -> Neuron | None:
        return next((n for n in self.neurons.values() if n.hotkey == hotkey), None)

    def change(self, hotkey: Hotkey, **changes: object) -> None:
        """Change fields of a neuron, such as its stake or permit."""
        neuron = self.neuron(hotkey)
        if neuron is None:
            raise KeyError(hotkey)
        self.neurons[neuron.uid] = replace(neuron, **changes)  # type: ignore[arg-type]


@dataclass(slots=True)
class FakeChain:
    """One hotkey's connection to a `FakeLedger`."""

    ledger: FakeLedger
    hotkey: Hotkey | None = None
    closed: bool = False
    served: list[Axon] = field(default_factory=list)
    """Axons that were really sent."""
    sent: list[tuple[dict[Uid, int], int]] = field(default_factory=list)
    """Vectors that were accepted, as sent, with their version key."""

    async def genesis_hash(self) -> GenesisHash:
        self._answer()
        return self.ledger.genesis

    async def head(self) -> Block:
        self._answer()
        number = BlockNumber(self.ledger.number)
        return Block(number=number, hash=self.ledger.hash_of(number))

    async def block_hash(self, number: BlockNumber) -> BlockHash:
        self._answer()
        if not 0 <= number <= self.ledger.number:
            raise ChainError(f"no block at height {number}")
        return self.ledger.hash_of(number)

    async def metagraph(self) -> Metagraph:
        self._answer()
        return Metagraph(
            netuid=self.ledger.netuid,
            block=BlockNumber(self.ledger.number),
            tempo_blocks=self.ledger.hyperparameters.tempo_blocks,
            owner_hotkey=OWNER_HOTKEY,
            neurons=tuple(self.ledger.neurons[uid] for uid in sorted(self.ledger.neurons)),
        )

    async def hyperparameters(self) -> Hyperparameters:
        self._answer()
        return self.ledger.hyperparameters

    async def serve_axon(self, axon: Axon) -> None:
        neuron = self._own("HotKeyNotRegisteredInNetwork")
        if neuron.axon != axon:
            self.served.append(axon)
            self.ledger.change(neuron.hotkey, axon=axon)

    async def set_weights(self, weights: Mapping[Uid, int], *, version_key: int) -> WeightsReceipt:
        neuron = self._own("HotKeyNotRegisteredInSubNet")
        vector = {uid: weight for uid, weight in weights.items() if weight}
        self._check_vector(neuron, vector, version_key)
        self.sent.append((vector, version_key))
        self.ledger.advance()
        self.ledger.weights[neuron.uid] = as_stored(vector)
        self.ledger.change(neuron.hotkey, last_update_block=BlockNumber(self.ledger.number))
        return WeightsReceipt(block_hash=self.ledger.hash_of(self.ledger.number), reveal_round=None)

    async def weights(self, uid: Uid) -> dict[Uid, int]:
        self._answer()
        return dict(self.ledger.weights.get(uid, {}))

    async def commit(self, data: bytes) -> None:
        neuron = self._own("AccountNotAllowedCommit")
        block = self.ledger.advance()
        self.ledger.commitments[neuron.hotkey] = ChainCommitment(data=data, block=block)

    async def commitment(self, hotkey: Hotkey) -> ChainCommitment | None:
        self._answer()
        return self.ledger.commitments.get(hotkey)

    async def close(self) -> None:
        self.closed = True

    def _answer(self) -> None:
        if self.ledger.down or self.closed:
            raise ChainError("the chain does not answer", hint="Is the endpoint reachable?")

    def _own(self, missing: str) -> Neuron:
        self._answer()
        neuron = self.ledger.neuron(self.hotkey) if self.hotkey else None
        if neuron is None:
            raise CallRefusedError(f"{self.hotkey} holds no UID", reason=missing)
        return neuron

    def _check_vector(self, neuron: Neuron, vector: dict[Uid, int], version_key: int) -> None:
        rules = self.ledger.hyperparameters
        waited = self.ledger.number - neuron.last_update_block
        is_too_fast = bool(neuron.last_update_block) and waited < rules.weights_rate_limit_blocks
        checks = (
            ("IncorrectWeightVersionKey", version_key < rules.weights_version_key),
            ("SettingWeightsTooFast", is_too_fast),
            ("NeuronNoValidatorPermit", not neuron.validator_permit),
            ("UidVecContainInvalidOne", any(uid not in self.ledger.neurons for uid in vector)),
            ("WeightVecLengthIsLow", len(vector) < max(1, rules.min_allowed_weights)),
        )
        for reason, is_refused in checks:
            if is_refused:
                raise CallRefusedError(f"setting weights: {reason}", reason=reason)
