"""The chain adapter: the unmodified SDK against the devnet node."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol.chain import Axon, CallRefusedError, Chain, ChainCommitment, as_stored
from protocol.errors import ChainError, ConfigurationError
from protocol.ids import BlockNumber, Uid
from protocol.subtensor import SubtensorChain
from scripts.devnet.chain import calls
from scripts.devnet.chain.control import DevnetControl
from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.subnet import SUBTENSOR
from tests.support.devnet import (
    COLDKEY,
    MINER,
    NETUID,
    STRANGER,
    VALIDATOR,
    Devnet,
    running_devnet,
)

OWNER, VALIDATOR_UID, MINER_UID = Uid(0), Uid(1), Uid(2)
VECTOR = {MINER_UID: 43_690, OWNER: 21_845}


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with running_devnet() as running:
        yield running


@pytest.fixture
async def validator(devnet: Devnet) -> AsyncIterator[SubtensorChain]:
    chain = await devnet.chain(VALIDATOR)
    yield chain
    await chain.close()


@pytest.fixture
async def miner(devnet: Devnet) -> AsyncIterator[SubtensorChain]:
    chain = await devnet.chain(MINER)
    yield chain
    await chain.close()


def sent_call(node: Node) -> dict[str, Any]:
    """Name and arguments of the last extrinsic of the newest block."""
    raw = bytes.fromhex(node.head.extrinsics[-1][2:])
    call = node.ledger.runtime.core.decode_extrinsic(raw)["call"]
    return {
        "function": call["call_function"],
        **{a["name"]: a["value"] for a in call["call_args"]},
    }


def test_the_adapter_is_a_chain() -> None:
    def takes(chain: Chain) -> None: ...

    takes(SubtensorChain(endpoint="ws://127.0.0.1:1", netuid=NETUID, signer=None))


async def test_blocks_are_those_of_the_node(devnet: Devnet, validator: SubtensorChain) -> None:
    first = await validator.head()
    devnet.node.mine(3)
    second = await validator.head()

    assert (first.number, second.number) == (1, 4)
    assert second.hash == devnet.node.head.hash
    assert await validator.block_hash(BlockNumber(1)) == first.hash
    assert await validator.genesis_hash() == devnet.node.genesis


async def test_a_block_to_come_is_an_error(validator: SubtensorChain) -> None:
    with pytest.raises(ChainError, match="no block at height 99"):
        await validator.block_hash(BlockNumber(99))


async def test_the_metagraph_shows_who_is_registered(
    devnet: Devnet, validator: SubtensorChain
) -> None:
    devnet.node.mine(3)

    graph = await validator.metagraph()

    assert graph.block == 4
    assert graph.netuid == NETUID
    assert graph.owner_uid() == OWNER
    assert [neuron.uid for neuron in graph.neurons] == [0, 1, 2]
    seen = graph.by_hotkey(VALIDATOR.hotkey)
    assert seen is not None
    assert (seen.uid, seen.coldkey, seen.stake_tao) == (VALIDATOR_UID, COLDKEY, 5_000.0)
    assert seen.validator_permit
    assert seen.axon is None
    assert seen.registration_block == 1
    other = graph.by_hotkey(MINER.hotkey)
    assert other is not None
    assert not other.validator_permit
    assert graph.by_hotkey(STRANGER.hotkey) is None


async def test_hyperparameters_are_read_as_set(devnet: Devnet, validator: SubtensorChain) -> None:
    for name, value in (
        ("Tempo", 30),
        ("WeightsSetRateLimit", 7),
        ("WeightsVersionKey", 3),
        ("MinAllowedWeights", 2),
        ("MaxWeightsLimit", 40_000),
        ("CommitRevealWeightsEnabled", True),
        ("ImmunityPeriod", 11),
        ("ServingRateLimit", 4),
        ("ActivityCutoffFactorMilli", 2_000),
    ):
        devnet.subnet.put(name, value=value)

    found = await validator.hyperparameters()

    assert found.tempo_blocks == 30
    assert found.weights_rate_limit_blocks == 7
    assert found.weights_version_key == 3
    assert found.min_allowed_weights == 2
    assert found.max_weight_limit_u16 == 40_000
    assert found.commit_reveal_enabled
    assert found.immunity_period_blocks == 11
    assert found.serving_rate_limit_blocks == 4
    assert found.activity_cutoff_blocks == 60


@pytest.mark.parametrize("ip", ["203.0.113.7", "127.0.0.1", "2001:db8::7"])
async def test_an_axon_is_announced(miner: SubtensorChain, ip: str) -> None:
    axon = Axon(ip=ip, port=8091)

    await miner.serve_axon(axon)

    seen = (await miner.metagraph()).by_hotkey(MINER.hotkey)
    assert seen is not None
    assert seen.axon == axon


async def test_an_axon_is_announced_once(devnet: Devnet, miner: SubtensorChain) -> None:
    await miner.serve_axon(Axon(ip="203.0.113.7", port=8091))
    await miner.serve_axon(Axon(ip="203.0.113.7", port=8091))
    assert devnet.node.next_nonce(MINER.hotkey) == 1

    await miner.serve_axon(Axon(ip="203.0.113.7", port=8092))
    assert devnet.node.next_nonce(MINER.hotkey) == 2


async def test_serving_too_often_is_refused(devnet: Devnet, miner: SubtensorChain) -> None:
    devnet.subnet.put("ServingRateLimit", value=50)
    await miner.serve_axon(Axon(ip="203.0.113.7", port=8091))

    with pytest.raises(CallRefusedError) as caught:
        await miner.serve_axon(Axon(ip="203.0.113.7", port=8092))

    assert caught.value.reason == "ServingRateLimitExceeded"


@pytest.mark.parametrize(
    "vector",
    [
        {MINER_UID: 43_690, OWNER: 21_845},
        {OWNER: 65_535},
        {OWNER: 1, VALIDATOR_UID: 2, MINER_UID: 65_532},
        {OWNER: 21_845, VALIDATOR_UID: 21_845, MINER_UID: 21_845},
    ],
)
async def test_the_exact_vector_is_sent_and_stored_scaled_up(
    devnet: Devnet, validator: SubtensorChain, vector: dict[Uid, int]
) -> None:
    receipt = await validator.set_weights({**vector, Uid(2): vector.get(Uid(2), 0)}, version_key=9)

    call = sent_call(devnet.node)
    assert call["function"] == "set_weights"
    assert dict(zip(call["dests"], call["weights"], strict=True)) == vector
    assert call["dests"] == sorted(vector)
    assert call["version_key"] == 9
    assert receipt.block_hash == devnet.node.head.hash
    assert receipt.reveal_round is None
    assert await validator.weights(VALIDATOR_UID) == as_stored(vector)


async def test_nobody_has_weights_at_first(validator: SubtensorChain) -> None:
    assert await validator.weights(MINER_UID) == {}


@pytest.mark.parametrize(
    ("hyperparameter", "value", "reason"),
    [
        ("WeightsVersionKey", 8, "IncorrectWeightVersionKey"),
        ("MinAllowedWeights", 3, "WeightVecLengthIsLow"),
        ("MaxWeightsLimit", 30_000, "MaxWeightExceeded"),
    ],
)
async def test_weights_against_a_hyperparameter_are_refused(
    devnet: Devnet, validator: SubtensorChain, hyperparameter: str, value: int, reason: str
) -> None:
    devnet.subnet.put(hyperparameter, value=value)

    with pytest.raises(CallRefusedError) as caught:
        await validator.set_weights(VECTOR, version_key=7)

    assert caught.value.reason == reason
    assert devnet.endpoint in caught.value.hint
    assert await validator.weights(VALIDATOR_UID) == {}


async def test_weights_set_too_fast_are_refused(devnet: Devnet, validator: SubtensorChain) -> None:
    await validator.set_weights(VECTOR, version_key=0)
    with pytest.raises(CallRefusedError) as caught:
        await validator.set_weights(VECTOR, version_key=0)
    devnet.node.mine(5)

    await validator.set_weights(VECTOR, version_key=0)

    assert caught.value.reason == "SettingWeightsTooFast"


async def test_weights_without_stake_are_refused(miner: SubtensorChain) -> None:
    with pytest.raises(CallRefusedError) as caught:
        await miner.set_weights(VECTOR, version_key=0)

    assert caught.value.reason == "NotEnoughStakeToSetWeights"
    assert "stake" in caught.value.hint


async def test_weights_without_a_permit_are_refused(devnet: Devnet, miner: SubtensorChain) -> None:
    devnet.subnet.set_stake(MINER.hotkey, 10**13)

    with pytest.raises(CallRefusedError) as caught:
        await miner.set_weights(VECTOR, version_key=0)

    assert caught.value.reason == "NeuronNoValidatorPermit"


async def test_weights_of_a_stranger_are_refused(devnet: Devnet) -> None:
    chain = await devnet.chain(STRANGER)

    with pytest.raises(CallRefusedError) as caught:
        await chain.set_weights(VECTOR, version_key=0)
    await chain.close()

    assert caught.value.reason == "HotKeyNotRegisteredInSubNet"


@pytest.mark.parametrize("vector", [{}, {OWNER: 0}, {OWNER: -1}, {OWNER: 65_536}])
async def test_a_vector_that_is_none_is_not_sent(
    devnet: Devnet, validator: SubtensorChain, vector: dict[Uid, int]
) -> None:
    with pytest.raises(ChainError):
        await validator.set_weights(vector, version_key=0)

    assert devnet.node.next_nonce(VALIDATOR.hotkey) == 0


async def test_weights_that_the_chain_does_not_hold_are_an_error(
    validator: SubtensorChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(ledger: Ledger, who: str, args: dict[str, Any]) -> list[calls.Event]:
        return []

    monkeypatch.setitem(calls.CALLS, (SUBTENSOR, "set_weights"), lose)

    with pytest.raises(ChainError, match="other weights than were sent"):
        await validator.set_weights(VECTOR, version_key=0)


async def test_timelocked_weights_show_once_revealed(
    devnet: Devnet, validator: SubtensorChain
) -> None:
    devnet.subnet.put("CommitRevealWeightsEnabled", value=True)

    receipt = await validator.set_weights(VECTOR, version_key=0)

    assert sent_call(devnet.node)["function"] == "commit_timelocked_mechanism_weights"
    assert receipt.reveal_round is not None
    assert receipt.reveal_round > 34_000_000  # drand quicknet, three seconds a round since 2023
    assert await validator.weights(VALIDATOR_UID) == {}

    async with DevnetControl(devnet.endpoint) as control:
        await control.reveal_weights(VALIDATOR.hotkey, {int(uid): w for uid, w in VECTOR.items()})
    assert await validator.weights(VALIDATOR_UID) == as_stored(VECTOR)


async def test_timelocked_weights_too_fast_are_refused(
    devnet: Devnet, validator: SubtensorChain
) -> None:
    devnet.subnet.put("CommitRevealWeightsEnabled", value=True)
    await validator.set_weights(VECTOR, version_key=0)

    with pytest.raises(CallRefusedError) as caught:
        await validator.set_weights(VECTOR, version_key=0)

    assert caught.value.reason == "rate_limited"  # the SDK looks before it signs


@pytest.mark.parametrize("size", [0, 1, 32, 33, 127, 128])
async def test_a_commitment_is_kept(devnet: Devnet, miner: SubtensorChain, size: int) -> None:
    data = bytes(range(0x20, 0x20 + size))
    devnet.node.mine(4)

    await miner.commit(data)

    assert await miner.commitment(MINER.hotkey) == ChainCommitment(data=data, block=BlockNumber(6))
    assert await miner.commitment(VALIDATOR.hotkey) is None


async def test_a_commitment_over_128_bytes_is_refused(miner: SubtensorChain) -> None:
    with pytest.raises(ChainError, match="at most 128 bytes"):
        await miner.commit(bytes(129))


async def test_a_stranger_may_not_commit(devnet: Devnet) -> None:
    chain = await devnet.chain(STRANGER)

    with pytest.raises(CallRefusedError) as caught:
        await chain.commit(b"x")
    await chain.close()

    assert caught.value.reason == "AccountNotAllowedCommit"


async def test_a_commitment_of_another_kind_is_none_of_ours(
    devnet: Devnet, validator: SubtensorChain
) -> None:
    info = {"fields": [{"Sha256": "0x" + "ab" * 32}]}
    record = {"deposit": 0, "block": 1, "info": info}
    devnet.node.ledger.put("Commitments", "CommitmentOf", NETUID, MINER.hotkey, value=record)

    assert await validator.commitment(MINER.hotkey) is None


async def test_a_reader_cannot_write(devnet: Devnet) -> None:
    reader = await devnet.chain()

    with pytest.raises(ConfigurationError, match="only reads"):
        await reader.commit(b"x")
    await reader.close()


async def test_calls_at_once_follow_each_other(devnet: Devnet, miner: SubtensorChain) -> None:
    await asyncio.gather(*(miner.commit(b"%d" % number) for number in range(5)))

    assert devnet.node.next_nonce(MINER.hotkey) == 5
