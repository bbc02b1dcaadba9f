"""Blocks, state by block, events, snapshots, clock."""

import asyncio

import pytest

from scripts.devnet.chain.admission import RpcError
from scripts.devnet.chain.ledger import RETAINED_BLOCKS
from scripts.devnet.chain.node import NO_HASH, Node
from tests.support.devnet import MINER, NETUID, seated_node

NOW = ("Timestamp", "Now")


def test_blocks_name_their_parents() -> None:
    node = seated_node()
    node.mine(5)

    assert [block.number for block in node.blocks] == list(range(7))
    assert node.blocks[0].parent == NO_HASH
    for parent, child in zip(node.blocks, node.blocks[1:], strict=False):
        assert child.parent == parent.hash
        assert node.block(child.hash) is child


def test_every_chain_has_its_own_hashes() -> None:
    chains = [seated_node() for _ in range(3)]

    assert len({chain.genesis for chain in chains}) == 3
    assert len({chain.head.hash for chain in chains}) == 3


def test_a_seed_gives_the_genesis() -> None:
    one, same, other = (seated_node("--seed", seed * 32) for seed in ("ab", "ab", "ac"))

    assert one.genesis == same.genesis != other.genesis


def test_time_goes_on_with_each_block() -> None:
    node = seated_node()
    times = []
    for _ in range(20):
        node.seal()
        times.append(node.ledger.get(*NOW))

    assert times == sorted(set(times))


def test_state_is_read_as_it_was_at_a_block() -> None:
    node = seated_node()
    key = node.ledger.key("System", "Number")
    node.mine(10)

    seen = [node.ledger.read_raw(key, number) for number in range(1, 12)]

    assert seen == [number.to_bytes(4, "little") for number in range(1, 12)]
    assert node.ledger.read_raw(key, 0) is None


def test_old_state_is_gone_and_says_so() -> None:
    node = seated_node()
    old = node.head.hash
    node.mine(RETAINED_BLOCKS)
    assert node.state_block(old) == 1

    node.mine(1)

    with pytest.raises(RpcError, match="State already discarded") as caught:
        node.state_block(old)
    assert caught.value.code == 4003
    assert node.block_hash(1) == old


def test_pruning_keeps_what_was_last_written_before_the_horizon() -> None:
    node = seated_node()
    node.mine(2 * RETAINED_BLOCKS)

    assert node.ledger.read_raw(
        node.ledger.key("SubtensorModule", "Keys", NETUID, 0), node.head.number - RETAINED_BLOCKS
    )
    versions = node.ledger._versions[node.ledger.key("System", "Number")]
    assert len(versions) <= RETAINED_BLOCKS + 1


def test_bodies_go_with_the_state_and_hashes_stay() -> None:
    node = seated_node()
    hashes = [block.hash for block in node.blocks]
    node.mine(RETAINED_BLOCKS + 10)

    kept = [block.number for block in node.blocks if block.extrinsics]

    assert kept == list(range(node.head.number - RETAINED_BLOCKS, node.head.number + 1))
    assert [node.block_hash(number) for number in range(len(hashes))] == hashes


def test_an_unknown_block_is_an_error() -> None:
    with pytest.raises(RpcError, match="Header was not found"):
        seated_node().state_block("0x" + "12" * 32)


def test_a_snapshot_is_returned_to_and_the_future_differs() -> None:
    node = seated_node()
    name = node.snapshot()
    first = node.mine(3)
    node.ledger.remove("SubtensorModule", "Uids", NETUID, MINER.hotkey)

    node.rewind(name)
    assert node.head.number == 1
    assert node.ledger.get("SubtensorModule", "Uids", NETUID, MINER.hotkey) == 2
    assert node.block(first.hash) is None

    second = node.mine(3)
    assert second.number == first.number
    assert second.hash != first.hash
    node.rewind(name)
    assert node.head.number == 1


def test_an_unknown_snapshot_is_an_error() -> None:
    with pytest.raises(RpcError, match="no snapshot"):
        seated_node().rewind("snapshot-7")


async def test_a_clock_makes_blocks_and_stops() -> None:
    node = seated_node()
    node.block_seconds = 0.02
    clock = asyncio.create_task(node.run_clock())
    while node.head.number < 4:
        await asyncio.sleep(0.01)

    node.set_block_seconds(0)
    await asyncio.sleep(0)
    stopped_at = node.head.number
    await asyncio.sleep(0.1)

    assert node.head.number == stopped_at
    clock.cancel()


async def test_a_clock_is_set_while_it_waits() -> None:
    node = Node(block_seconds=3_600)
    clock = asyncio.create_task(node.run_clock())
    await asyncio.sleep(0)

    node.set_block_seconds(0.01)

    async with asyncio.timeout(5):
        while node.head.number < 2:
            await asyncio.sleep(0.01)
    clock.cancel()
