"""What miners offer, noted before a round's first block can be known."""

import asyncio

from protocol.chain import Axon
from protocol.errors import ProtocolError, Rejection
from protocol.ids import Hotkey, RoundNumber
from protocol.signing import verify
from validator.ports import Ports
from validator.verdicts import Judge


async def note_profiles(number: RoundNumber, judge: Judge, ports: Ports) -> None:
    """Keep the profile that every miner serves now, for a round that is about to begin.

    Raises:
        ChainError: If the chain is away.
    """
    metagraph = await ports.chain.metagraph()
    others = {judge.hotkey, metagraph.owner_hotkey}
    async with asyncio.TaskGroup() as group:
        for neuron in metagraph.neurons:
            axon = neuron.axon
            if axon is None or neuron.hotkey in others or ports.miners.refusal(axon):
                continue
            group.create_task(_note(number, neuron.hotkey, axon, judge, ports))


async def _note(
    number: RoundNumber, hotkey: Hotkey, axon: Axon, judge: Judge, ports: Ports
) -> None:
    answer = await ports.miners.profile(hotkey, axon)
    if isinstance(answer, Rejection):
        return
    try:
        profile = verify(answer, hotkey=hotkey)
    except ProtocolError:
        return
    here = (judge.genesis_hash, judge.netuid, hotkey)
    if (profile.genesis_hash, profile.netuid, profile.hotkey) == here:
        ports.ledger.keep_announcement(number, hotkey, answer)
