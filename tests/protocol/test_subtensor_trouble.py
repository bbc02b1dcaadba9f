"""The chain adapter when things go wrong: lost connections, silence, other runtimes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bittensor_core import Keypair
from websockets.asyncio.server import ServerConnection, serve

from protocol import connection, subtensor
from protocol.chain import CallRefusedError, as_stored
from protocol.errors import ChainError
from protocol.ids import Uid
from protocol.subtensor import SubtensorChain
from protocol.wallet import HotkeySigner
from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.metadata import Runtime, load_raw_metadata
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.subnet import Subnet
from tests.support.devnet import (
    COLDKEY,
    MINER,
    NETUID,
    VALIDATOR,
    Devnet,
    running_devnet,
    seat,
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


async def test_a_cut_connection_is_opened_anew(devnet: Devnet, validator: SubtensorChain) -> None:
    await validator.head()
    devnet.node.faults.cut()

    assert (await validator.head()).number == 1
    await validator.set_weights(VECTOR, version_key=0)


async def test_a_connection_used_after_closing_is_an_error(devnet: Devnet) -> None:
    chain = await devnet.chain()
    await chain.close()
    await chain.close()

    with pytest.raises(ChainError, match="closed by its owner"):
        await chain.head()


async def test_no_chain_at_the_endpoint_is_an_error_that_names_it() -> None:
    with pytest.raises(ChainError) as caught:
        await SubtensorChain.connect(endpoint="ws://127.0.0.1:9", netuid=NETUID, signer=None)

    assert "ws://127.0.0.1:9" in caught.value.hint


async def test_a_chain_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 0.2)
    async with serve(silent, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(ChainError, match="does not answer"):
            await SubtensorChain.connect(
                endpoint=f"ws://127.0.0.1:{port}", netuid=NETUID, signer=None
            )
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "rpc-session"]


async def test_an_endpoint_that_is_none_is_an_error() -> None:
    with pytest.raises(ChainError):
        await SubtensorChain.connect(endpoint="no such network", netuid=NETUID, signer=None)


async def test_a_call_cut_off_in_flight_has_an_unknown_fate(
    devnet: Devnet, validator: SubtensorChain
) -> None:
    devnet.node.block_seconds = 3_600
    attempt = asyncio.create_task(validator.set_weights(VECTOR, version_key=0))
    while not devnet.node.next_nonce(VALIDATOR.hotkey):
        await asyncio.sleep(0.01)

    devnet.node.faults.cut()

    with pytest.raises(ChainError, match="connection was lost") as caught:
        await attempt
    assert not isinstance(caught.value, CallRefusedError)
    devnet.node.seal()
    assert await validator.weights(VALIDATOR_UID) == as_stored(VECTOR)


async def test_a_call_that_no_block_takes_is_given_up(
    devnet: Devnet, validator: SubtensorChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    devnet.node.block_seconds = 3_600

    with monkeypatch.context() as short:  # long enough for the call to reach the node
        short.setattr(subtensor, "WRITE_TIMEOUT_SECONDS", 2)
        with pytest.raises(ChainError, match="no answer in time"):
            await validator.commit(b"x")

    devnet.node.seal()
    devnet.node.block_seconds = 0
    await validator.commit(b"y")
    assert devnet.node.next_nonce(VALIDATOR.hotkey) == 2


async def test_a_chain_that_goes_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_devnet() as devnet:
        chain = await devnet.chain(VALIDATOR)
        await chain.head()

    monkeypatch.setattr(subtensor, "READ_TIMEOUT_SECONDS", 0.5)
    with pytest.raises(ChainError, match="does not answer"):
        await chain.head()
    await chain.close()


async def test_another_subnet_is_an_error(devnet: Devnet) -> None:
    chain = await SubtensorChain.connect(
        endpoint=devnet.endpoint, netuid=type(NETUID)(7), signer=None
    )

    with pytest.raises(ChainError, match="no subnet 7"):
        await chain.metagraph()
    await chain.close()


async def test_a_runtime_of_the_sdks_age_is_compatible(validator: SubtensorChain) -> None:
    probes = await validator.compatibility()

    assert [probe.name for probe in probes if not probe.ok] == []
    assert "spec 461, bittensor 11." in probes[0].detail


async def test_a_runtime_that_lacks_an_item_is_named() -> None:
    old = Runtime(load_raw_metadata())  # spec 461 as it was, without SubnetEpochConsensus
    node = Node(ledger=Ledger(old))
    node.create_subnet(NETUID, owner_hotkey=VALIDATOR.hotkey, owner_coldkey=COLDKEY)
    async with running_devnet(node) as devnet:
        chain = await devnet.chain(VALIDATOR)
        probes = await chain.compatibility()
        await chain.close()

    (missing,) = [probe for probe in probes if not probe.ok]
    assert (missing.kind, missing.name) == ("storage", "SubtensorModule.SubnetEpochConsensus")
    assert "11.1.0" in missing.hint
    assert "spec 461" in missing.detail


async def test_two_chains_share_no_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITTENSOR_RUNTIME_CACHE_DIR", str(tmp_path))

    async with running_devnet() as one, running_devnet() as other:
        chains = [await devnet.chain() for devnet in (one, other)]
        genesis = {await chain.genesis_hash() for chain in chains}
        for chain in chains:
            await chain.close()

    assert len(genesis) == 2
    assert len(list(tmp_path.glob("*.bin"))) == 2


async def test_a_uid_that_changes_hands_is_seen(devnet: Devnet, validator: SubtensorChain) -> None:
    newcomer = HotkeySigner(keypair=Keypair.create_from_uri("//Newcomer"))
    Subnet(devnet.node.ledger, NETUID).replace(MINER_UID, newcomer.hotkey, COLDKEY)

    graph = await validator.metagraph()

    assert graph.by_hotkey(MINER.hotkey) is None
    seen = graph.by_hotkey(newcomer.hotkey)
    assert seen is not None
    assert seen.uid == MINER_UID


async def test_256_neurons_are_read_in_one_go(devnet: Devnet, validator: SubtensorChain) -> None:
    for number in range(3, 256):
        seat(devnet.subnet, HotkeySigner.from_uri(f"//n{number}").hotkey)

    assert len((await validator.metagraph()).neurons) == 256
