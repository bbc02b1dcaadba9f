"""The JSON-RPC methods over a websocket, and what a bad request gets."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from protocol.errors import ChainError
from scripts.devnet.chain.control import DevnetControl
from scripts.devnet.chain.subnet import Subnet
from tests.support.devnet import COLDKEY, MINER, NETUID, STRANGER, Devnet, running_devnet


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with running_devnet() as running:
        yield running


@pytest.fixture
async def control(devnet: Devnet) -> AsyncIterator[DevnetControl]:
    async with DevnetControl(devnet.endpoint) as client:
        yield client


async def ask(devnet: Devnet, text: str) -> Any:  # noqa: ANN401
    async with connect(devnet.endpoint) as connection:
        await connection.send(text)
        return json.loads(await connection.recv())


async def call(devnet: Devnet, method: str, *params: object) -> Any:  # noqa: ANN401
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await ask(devnet, json.dumps(request))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -32700),
        ("[1]", -32600),
        ("7", -32600),
        ('{"id": 1, "method": 7}', -32600),
        ('{"id": 1, "method": "no_such"}', -32601),
        ('{"id": 1, "method": "chain_getBlockHash", "params": ["x"]}', -32602),
        ('{"id": 1, "method": "chain_getBlockHash", "params": {"a": 1}}', -32602),
        ('{"id": 1, "method": "state_getStorageAt", "params": []}', -32602),
        ('{"id": 1, "method": "state_getStorageAt", "params": ["0x00", "0x12"]}', -32000),
        ('{"id": 1, "method": "state_call", "params": ["No_such", "0x"]}', -32602),
        ('{"id": 1, "method": "author_submitExtrinsic", "params": ["0x00"]}', 1002),
        ('{"id": 1, "method": "dev_mine", "params": [0]}', -32602),
        ('{"id": 1, "method": "dev_mine", "params": [1000000]}', -32602),
        (
            '{"id": 1, "method": "dev_register", "params": [2, "nobody", "nobody", 0, false]}',
            -32602,
        ),
    ],
)
async def test_a_bad_request_gets_an_error_object(devnet: Devnet, text: str, code: int) -> None:
    answer = await ask(devnet, text)

    error = (answer[0] if isinstance(answer, list) else answer)["error"]
    assert error["code"] == code
    assert (await call(devnet, "chain_getHead"))["result"] == devnet.node.head.hash


async def test_a_batch_is_answered_as_one(devnet: Devnet) -> None:
    requests = [{"id": n, "method": "chain_getBlockHash", "params": [n]} for n in (0, 1, 9)]

    answers = await ask(devnet, json.dumps(requests))

    assert [(answer["id"], answer["result"]) for answer in answers] == [
        (0, devnet.node.genesis),
        (1, devnet.node.head.hash),
        (9, None),
    ]


async def test_new_heads_are_told_to_who_subscribed(devnet: Devnet) -> None:
    async with connect(devnet.endpoint) as connection:
        await connection.send('{"id": 1, "method": "chain_subscribeNewHeads"}')
        name = json.loads(await connection.recv())["result"]
        devnet.node.mine(2)
        heads = [json.loads(await connection.recv())["params"] for _ in range(3)]
        await connection.send(
            json.dumps({"id": 2, "method": "chain_unsubscribeNewHeads", "params": [name]})
        )
        assert json.loads(await connection.recv())["result"] is True

    assert {head["subscription"] for head in heads} == {name}
    assert [head["result"]["number"] for head in heads] == ["0x1", "0x2", "0x3"]
    assert not devnet.node.head_listeners


async def test_a_closed_connection_leaves_no_listener(devnet: Devnet) -> None:
    async with connect(devnet.endpoint) as connection:
        await connection.send('{"id": 1, "method": "chain_subscribeNewHeads"}')
        await connection.recv()
        assert devnet.node.head_listeners
    await call(devnet, "chain_getHead")

    assert not devnet.node.head_listeners


async def test_keys_come_in_pages(devnet: Devnet) -> None:
    prefix = devnet.node.ledger.key("SubtensorModule", "Keys", NETUID)

    first = (await call(devnet, "state_getKeysPaged", prefix, 2, prefix, None))["result"]
    second = (await call(devnet, "state_getKeysPaged", prefix, 2, first[-1], None))["result"]

    assert (len(first), len(second)) == (2, 1)
    assert sorted({*first, *second}) == sorted([*first, *second])


async def test_control_moves_the_chain(devnet: Devnet, control: DevnetControl) -> None:
    mined = await control.mine(3)

    assert mined.number == 4
    assert mined.hash == devnet.node.head.hash
    assert mined.genesis == devnet.node.genesis
    assert await control.head() == mined


async def test_control_registers_and_funds(devnet: Devnet, control: DevnetControl) -> None:
    uid = await control.register(STRANGER.hotkey, COLDKEY, stake_tao=1.5, permit=True)
    await control.fund(STRANGER.hotkey, 2.5)
    await control.set_stake(MINER.hotkey, 0.25)

    subnet = Subnet(devnet.node.ledger, NETUID)
    assert subnet.uid(STRANGER.hotkey) == uid == 3
    assert subnet.stake_rao(STRANGER.hotkey) == 1_500_000_000
    assert subnet.stake_rao(MINER.hotkey) == 250_000_000
    assert subnet.column("ValidatorPermit")[uid] is True
    account = devnet.node.ledger.get("System", "Account", STRANGER.hotkey)
    assert account["data"]["free"] == 2_500_000_000


async def test_control_says_why_it_was_refused(control: DevnetControl) -> None:
    with pytest.raises(ChainError, match="HotKeyAlreadyRegisteredInSubNet"):
        await control.register(MINER.hotkey, COLDKEY)
    with pytest.raises(ChainError, match="unknown hyperparameter 'Speed'"):
        await control.set_hyperparameter("Speed", 1)
    with pytest.raises(ChainError, match="exists already"):
        await control.create_subnet(owner_hotkey=MINER.hotkey, owner_coldkey=COLDKEY)
    with pytest.raises(ChainError, match="no unrevealed weights"):
        await control.reveal_weights(MINER.hotkey, {0: 1})


async def test_control_sets_the_rules(devnet: Devnet, control: DevnetControl) -> None:
    await control.set_hyperparameter("Tempo", 7)
    await control.set_hyperparameter("StakeThreshold", 5)

    assert Subnet(devnet.node.ledger, NETUID).get("Tempo") == 7
    assert devnet.node.ledger.get("SubtensorModule", "StakeThreshold") == 5


async def test_control_sets_the_clock(devnet: Devnet, control: DevnetControl) -> None:
    await control.set_block_seconds(30)
    assert devnet.node.block_seconds == 30

    with pytest.raises(ChainError, match="must not be negative"):
        await control.set_block_seconds(-1)


async def test_control_returns_to_a_snapshot(devnet: Devnet, control: DevnetControl) -> None:
    name = await control.snapshot()
    await control.mine(5)

    assert await control.rewind(name) == 1


async def test_control_makes_another_subnet(devnet: Devnet) -> None:
    async with DevnetControl(devnet.endpoint, netuid=5) as control:
        await control.create_subnet(owner_hotkey=STRANGER.hotkey, owner_coldkey=COLDKEY)
        assert await control.register(MINER.hotkey, COLDKEY) == 1
        await control.mine(40)

    other = Subnet(devnet.node.ledger, 5)
    assert other.get("SubnetEpochIndex") == 2
    assert other.owner_uid() == 0


async def test_control_survives_cutting_itself_off(control: DevnetControl) -> None:
    await control.cut()

    assert (await control.head()).number == 1


async def test_control_without_a_chain_is_an_error() -> None:
    with pytest.raises(ChainError, match="no devnet chain at"):
        async with DevnetControl("ws://127.0.0.1:9"):
            pass
