"""Faults on command: what clients of the node see, and that it recovers with its state."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from protocol.chain import as_stored
from protocol.errors import ChainError
from protocol.ids import Uid
from scripts.devnet.chain.control import DevnetControl
from scripts.devnet.chain.subnet import Subnet
from tests.support.devnet import COLDKEY, MINER, NETUID, VALIDATOR, Devnet, running_devnet

PATIENCE_SECONDS = 0.2
OWNER, VALIDATOR_UID, MINER_UID = Uid(0), Uid(1), Uid(2)
VECTOR = {MINER_UID: 43_690, OWNER: 21_845}


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with running_devnet() as running:
        yield running


@pytest.fixture
async def control(devnet: Devnet) -> AsyncIterator[DevnetControl]:
    async with DevnetControl(devnet.endpoint) as opened:
        yield opened


@pytest.fixture
async def client(devnet: Devnet) -> AsyncIterator[ClientConnection]:
    async with connect(devnet.endpoint) as opened:
        yield opened


async def ask(client: ClientConnection, method: str = "chain_getHead") -> object:
    await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}))
    async with asyncio.timeout(PATIENCE_SECONDS):
        return json.loads(await client.recv())["result"]


async def test_a_cut_connection_ends_without_a_word(
    control: DevnetControl, client: ClientConnection
) -> None:
    assert await control.cut() == 1
    with pytest.raises(ConnectionClosedError):
        await client.recv()

    assert (await control.head()).number == 1


async def test_a_polite_close_says_so(control: DevnetControl, client: ClientConnection) -> None:
    assert await control.hang_up() == 1
    with pytest.raises(ConnectionClosedOK):
        await client.recv()


async def test_a_frozen_node_answers_nobody_until_it_thaws(
    devnet: Devnet, control: DevnetControl, client: ClientConnection
) -> None:
    await control.freeze()
    with pytest.raises(TimeoutError):
        await ask(client)
    with pytest.raises(TimeoutError):
        await connect(devnet.endpoint, open_timeout=PATIENCE_SECONDS)
    await control.thaw()

    assert json.loads(await client.recv())["result"] == devnet.node.head.hash


async def test_a_half_open_connection_stays_silent_and_a_new_one_works(
    devnet: Devnet, control: DevnetControl, client: ClientConnection
) -> None:
    assert await control.half_open() == 1
    with pytest.raises(TimeoutError):
        await ask(client)

    async with connect(devnet.endpoint) as fresh:
        assert await ask(fresh) == devnet.node.head.hash


async def test_answers_can_be_delayed(control: DevnetControl, client: ClientConnection) -> None:
    await control.delay(2 * PATIENCE_SECONDS)
    with pytest.raises(TimeoutError):
        await ask(client)
    await client.recv()

    await control.delay(0)
    assert await ask(client)


async def test_a_restarted_node_keeps_its_state_and_its_port(
    devnet: Devnet, control: DevnetControl, client: ClientConnection
) -> None:
    await control.mine(5)
    await control.restart(0.1)

    with pytest.raises(ConnectionClosed):
        await ask(client)
    async with connect(devnet.endpoint) as fresh:
        assert await ask(fresh) == devnet.node.head.hash
    head = await control.head()
    assert (head.number, head.genesis) == (6, devnet.node.genesis)


@pytest.mark.parametrize(("depth", "kept"), [(1, True), (3, False)])
async def test_a_fork_replaces_hashes_and_loses_what_was_anchored_to_them(
    devnet: Devnet, control: DevnetControl, depth: int, *, kept: bool
) -> None:
    chain = await devnet.chain(VALIDATOR)
    await control.mine(3)
    await chain.set_weights(VECTOR, version_key=0)
    before = [block.hash for block in devnet.node.blocks]

    head = await control.fork(depth)

    after = [block.hash for block in devnet.node.blocks]
    assert head.number == len(before)
    assert after[: len(before) - depth] == before[:-depth]
    assert not set(after[len(before) - depth :]) & set(before)
    assert await chain.weights(VALIDATOR_UID) == (as_stored(VECTOR) if kept else {})
    assert devnet.node.next_nonce(VALIDATOR.hotkey) == int(kept)
    await chain.close()


@pytest.mark.parametrize("depth", [0, 99])
async def test_a_fork_before_the_first_block_is_refused(control: DevnetControl, depth: int) -> None:
    with pytest.raises(ChainError, match="cannot replace"):
        await control.fork(depth)


async def test_an_upgraded_runtime_is_followed_and_what_it_lacks_is_named(
    devnet: Devnet, control: DevnetControl
) -> None:
    chain = await devnet.chain(VALIDATOR)
    await control.upgrade(475, complete=False)
    await control.mine()

    await chain.set_weights(VECTOR, version_key=0)  # signed for the old one, then anew
    probes = await chain.compatibility()

    assert "spec 475" in probes[0].detail
    assert [probe.name for probe in probes if not probe.ok] == [
        "SubtensorModule.SubnetEpochConsensus"
    ]
    assert await chain.weights(VALIDATOR_UID) == as_stored(VECTOR)
    await chain.close()


@pytest.mark.parametrize("period", [1, 2])
async def test_timelocked_weights_open_after_their_period(
    devnet: Devnet, control: DevnetControl, period: int
) -> None:
    await control.set_hyperparameter("CommitRevealWeightsEnabled", value=True)
    await control.set_hyperparameter("RevealPeriodEpochs", period)
    await control.escrow_weights(VALIDATOR.hotkey, {int(u): w for u, w in VECTOR.items()})
    chain = await devnet.chain(VALIDATOR)
    await chain.set_weights(VECTOR, version_key=0)
    tempo = (await chain.hyperparameters()).tempo_blocks

    await control.mine(tempo)
    for _ in range(period - 1):
        assert await chain.weights(VALIDATOR_UID) == {}
        await control.mine(tempo)
    await control.mine(tempo)

    assert await chain.weights(VALIDATOR_UID) == as_stored(VECTOR)
    await chain.close()


async def test_subnets_know_nothing_of_each_other(devnet: Devnet) -> None:
    async with DevnetControl(devnet.endpoint, netuid=7) as other:
        await other.create_subnet(owner_hotkey=MINER.hotkey, owner_coldkey=COLDKEY)
        await other.set_hyperparameter("Tempo", 5)
        await other.mine(7)

    first, second = devnet.subnet, Subnet(devnet.node.ledger, 7)
    assert (first.netuid, first.size, second.size) == (NETUID, 3, 1)
    assert second.uid(MINER.hotkey) == 0
    assert int(second.get("SubnetEpochIndex")) == 1
    assert int(first.get("SubnetEpochIndex")) == 0


async def test_an_unknown_fault_is_refused(devnet: Devnet) -> None:
    async with DevnetControl(devnet.endpoint) as control:
        with pytest.raises(ChainError, match="unknown fault"):
            await control._call("dev_fault", "earthquake")
