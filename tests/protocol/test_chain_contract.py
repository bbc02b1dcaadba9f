"""What holds for every `Chain`: the fake that other tests use, and the adapter on the SDK."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import pytest

from protocol.chain import Axon, CallRefusedError, Chain, as_stored
from protocol.errors import ChainError
from protocol.ids import BlockNumber, Uid
from protocol.wallet import HotkeySigner
from tests.support.chain import FakeChain, FakeLedger
from tests.support.devnet import COLDKEY, MINER, STRANGER, VALIDATOR, Devnet, running_devnet

OWNER_UID, VALIDATOR_UID, MINER_UID = Uid(0), Uid(1), Uid(2)
VECTOR = {OWNER_UID: 20_000, MINER_UID: 45_535}
AXON = Axon(ip="203.0.113.7", port=8091)


class World(Protocol):
    """A chain with an owner, `VALIDATOR` and `MINER`, as a test moves it."""

    async def connect(self, signer: HotkeySigner) -> Chain: ...

    def mine(self, blocks: int) -> None: ...

    def demand(self, version_key: int) -> None: ...

    def take_permit(self) -> None: ...


@dataclass
class FakeWorld:
    """On the fake."""

    ledger: FakeLedger = field(default_factory=FakeLedger)

    def __post_init__(self) -> None:
        self.ledger.register(VALIDATOR.hotkey, COLDKEY, stake_tao=5_000, permit=True)
        self.ledger.register(MINER.hotkey, COLDKEY)

    async def connect(self, signer: HotkeySigner) -> Chain:
        return FakeChain(self.ledger, signer.hotkey)

    def mine(self, blocks: int) -> None:
        self.ledger.advance(blocks)

    def demand(self, version_key: int) -> None:
        rules = replace(self.ledger.hyperparameters, weights_version_key=version_key)
        self.ledger.hyperparameters = rules

    def take_permit(self) -> None:
        self.ledger.change(VALIDATOR.hotkey, validator_permit=False)


@dataclass
class DevnetWorld:
    """On the SDK and the devnet node."""

    devnet: Devnet

    async def connect(self, signer: HotkeySigner) -> Chain:
        return await self.devnet.chain(signer)

    def mine(self, blocks: int) -> None:
        self.devnet.node.mine(blocks)

    def demand(self, version_key: int) -> None:
        self.devnet.subnet.put("WeightsVersionKey", value=version_key)

    def take_permit(self) -> None:
        self.devnet.subnet.set_cell("ValidatorPermit", VALIDATOR_UID, value=False)


@pytest.fixture(params=["fake", "devnet"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    async with running_devnet() as devnet:
        yield DevnetWorld(devnet)


@pytest.fixture
async def validator(world: World) -> AsyncIterator[Chain]:
    chain = await world.connect(VALIDATOR)
    yield chain
    await chain.close()


@pytest.fixture
async def miner(world: World) -> AsyncIterator[Chain]:
    chain = await world.connect(MINER)
    yield chain
    await chain.close()


async def refusal(chain: Chain, vector: dict[Uid, int], version_key: int = 0) -> str:
    with pytest.raises(CallRefusedError) as caught:
        await chain.set_weights(vector, version_key=version_key)
    return caught.value.reason


async def test_the_head_moves_with_the_chain(world: World, validator: Chain) -> None:
    first = await validator.head()
    world.mine(2)
    second = await validator.head()

    assert second.number == first.number + 2
    assert second.hash != first.hash
    assert await validator.block_hash(first.number) == first.hash
    assert str(await validator.block_hash(BlockNumber(0))) == await validator.genesis_hash()


async def test_a_block_to_come_is_an_error(validator: Chain) -> None:
    with pytest.raises(ChainError):
        await validator.block_hash(BlockNumber(1_000))


async def test_two_connections_see_one_chain(validator: Chain, miner: Chain) -> None:
    assert await validator.genesis_hash() == await miner.genesis_hash()
    assert await validator.head() == await miner.head()


async def test_the_metagraph_holds_the_three(validator: Chain) -> None:
    graph = await validator.metagraph()

    assert graph.owner_uid() == OWNER_UID
    assert [n.hotkey for n in graph.neurons][1:] == [VALIDATOR.hotkey, MINER.hotkey]
    assert [n.validator_permit for n in graph.neurons] == [False, True, False]
    assert [n.stake_tao for n in graph.neurons] == [0.0, 5_000.0, 0.0]


async def test_hyperparameters_are_the_devnets(validator: Chain) -> None:
    assert await validator.hyperparameters() == FakeLedger().hyperparameters


async def test_weights_are_stored_scaled_up(validator: Chain) -> None:
    receipt = await validator.set_weights({**VECTOR, VALIDATOR_UID: 0}, version_key=0)

    head = await validator.head()
    assert receipt.block_hash == head.hash
    assert await validator.weights(VALIDATOR_UID) == as_stored(VECTOR)
    graph = await validator.metagraph()
    assert graph.neurons[VALIDATOR_UID].last_update_block == head.number


async def test_the_rate_limit_is_kept(world: World, validator: Chain) -> None:
    limit = (await validator.hyperparameters()).weights_rate_limit_blocks
    await validator.set_weights(VECTOR, version_key=0)

    assert await refusal(validator, VECTOR) == "SettingWeightsTooFast"

    world.mine(limit)
    await validator.set_weights(VECTOR, version_key=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda world: world.demand(version_key=3), "IncorrectWeightVersionKey"),
        (lambda world: world.take_permit(), "NeuronNoValidatorPermit"),
    ],
)
async def test_a_vector_is_refused_by_name(
    world: World, validator: Chain, change: Callable[[World], None], reason: str
) -> None:
    change(world)

    assert await refusal(validator, VECTOR, version_key=2) == reason
    assert await validator.weights(VALIDATOR_UID) == {}


async def test_a_vector_to_nobody_is_refused(validator: Chain) -> None:
    assert await refusal(validator, {Uid(2): 1, Uid(77): 1}) == "UidVecContainInvalidOne"


async def test_an_axon_shows(validator: Chain, miner: Chain) -> None:
    await miner.serve_axon(AXON)
    await miner.serve_axon(AXON)

    seen = (await validator.metagraph()).by_hotkey(MINER.hotkey)
    assert seen is not None
    assert seen.axon == AXON


async def test_a_commitment_shows_with_its_block(validator: Chain, miner: Chain) -> None:
    await miner.commit(b"first")
    await miner.commit(b"second")

    found = await validator.commitment(MINER.hotkey)
    assert found is not None
    assert found.data == b"second"
    assert found.block == (await validator.head()).number
    assert await validator.commitment(VALIDATOR.hotkey) is None


async def test_a_stranger_is_refused_by_name(world: World) -> None:
    stranger = await world.connect(STRANGER)

    assert await refusal(stranger, VECTOR) == "HotKeyNotRegisteredInSubNet"
    with pytest.raises(CallRefusedError) as axon:
        await stranger.serve_axon(AXON)
    with pytest.raises(CallRefusedError) as commitment:
        await stranger.commit(b"x")
    await stranger.close()

    assert axon.value.reason == "HotKeyNotRegisteredInNetwork"
    assert commitment.value.reason == "AccountNotAllowedCommit"


async def test_a_closed_connection_answers_no_more(validator: Chain) -> None:
    await validator.close()
    await validator.close()

    with pytest.raises(ChainError):
        await validator.head()
