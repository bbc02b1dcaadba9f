"""The adapter against any chain that an operator names, and else against the devnet node.

`CARBONBENCH_CHAIN_ENDPOINT` and `CARBONBENCH_CHAIN_NETUID` name it. Nothing is written there
unless `CARBONBENCH_CHAIN_WALLET=NAME/HOTKEY` names a registered hotkey, in the folder
`CARBONBENCH_CHAIN_WALLET_PATH`: then a commitment is.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.errors import ChainError
from protocol.ids import BlockNumber, Netuid
from protocol.subtensor import SubtensorChain
from protocol.wallet import HotkeySigner, load_wallet
from tests.support.devnet import MINER, running_devnet

ENDPOINT = os.environ.get("CARBONBENCH_CHAIN_ENDPOINT")
WALLET = os.environ.get("CARBONBENCH_CHAIN_WALLET")
WALLET_PATH = Path(os.environ.get("CARBONBENCH_CHAIN_WALLET_PATH", "wallets"))
BLOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Reached:
    """A chain, and who may write there."""

    chain: SubtensorChain
    signer: HotkeySigner | None


@pytest.fixture
async def reached() -> AsyncIterator[Reached]:
    if ENDPOINT is None:
        async with running_devnet() as devnet:
            chain = await devnet.chain(MINER)
            yield Reached(chain, MINER)
            await chain.close()
        return
    netuid = Netuid(int(os.environ["CARBONBENCH_CHAIN_NETUID"]))
    signer = None
    if WALLET:
        name, hotkey = WALLET.split("/")
        signer = load_wallet(name, hotkey, WALLET_PATH)
    chain = await SubtensorChain.connect(endpoint=ENDPOINT, netuid=netuid, signer=signer)
    yield Reached(chain, signer)
    await chain.close()


async def test_any_chain_has_what_is_used(reached: Reached) -> None:
    probes = await reached.chain.compatibility()

    assert {f"{probe.kind} {probe.name}": probe.detail for probe in probes if not probe.ok} == {}


async def test_any_chain_shows_blocks_subnet_and_rules(reached: Reached) -> None:
    head = await reached.chain.head()
    graph = await reached.chain.metagraph()
    rules = await reached.chain.hyperparameters()

    assert await reached.chain.block_hash(BlockNumber(head.number)) == head.hash
    genesis = await reached.chain.genesis_hash()
    assert str(await reached.chain.block_hash(BlockNumber(0))) == genesis
    assert graph.block >= head.number
    assert len({neuron.uid for neuron in graph.neurons}) == len(graph.neurons)
    assert rules.tempo_blocks == graph.tempo_blocks > 0
    assert rules.weights_rate_limit_blocks >= 0
    with pytest.raises(ChainError):
        await reached.chain.block_hash(BlockNumber(head.number + 10_000))


async def test_any_chain_shows_weights_and_commitments(reached: Reached) -> None:
    graph = await reached.chain.metagraph()
    for neuron in graph.neurons[:3]:
        weights = await reached.chain.weights(neuron.uid)
        assert all(0 < value <= 65_535 for value in weights.values())
        await reached.chain.commitment(neuron.hotkey)


@pytest.mark.skipif(ENDPOINT is None, reason="the devnet makes blocks on demand")
async def test_any_chain_goes_on(reached: Reached) -> None:
    before = await reached.chain.head()
    async with asyncio.timeout(BLOCK_SECONDS):
        while (await reached.chain.head()).number == before.number:
            await asyncio.sleep(1)


@pytest.mark.skipif(bool(ENDPOINT and not WALLET), reason="no wallet: nothing is written")
async def test_any_chain_keeps_a_commitment(reached: Reached) -> None:
    assert reached.signer is not None
    data = b"carbonbench adapter test"

    await reached.chain.commit(data)

    found = await reached.chain.commitment(reached.signer.hotkey)
    assert found is not None
    assert found.data == data
