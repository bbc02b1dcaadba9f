"""The records of the chain port."""

from protocol.chain import Metagraph, Neuron
from protocol.ids import BlockNumber, Coldkey, Hotkey, Netuid, Uid


def neuron(uid: int, hotkey: str) -> Neuron:
    return Neuron(
        uid=Uid(uid),
        hotkey=Hotkey(hotkey),
        coldkey=Coldkey("coldkey"),
        axon=None,
        validator_permit=False,
        stake_tao=0.0,
        last_update_block=BlockNumber(0),
        registration_block=BlockNumber(0),
    )


def metagraph(owner: str | None) -> Metagraph:
    return Metagraph(
        netuid=Netuid(2),
        block=BlockNumber(9),
        tempo_blocks=360,
        owner_hotkey=Hotkey(owner) if owner else None,
        neurons=(neuron(0, "owner"), neuron(5, "miner")),
    )


def test_a_neuron_is_found_by_its_hotkey() -> None:
    found = metagraph("owner").by_hotkey(Hotkey("miner"))

    assert found is not None
    assert found.uid == 5


def test_a_hotkey_without_a_uid_has_no_neuron() -> None:
    assert metagraph("owner").by_hotkey(Hotkey("stranger")) is None


def test_the_owner_burns_only_when_it_holds_a_uid() -> None:
    assert metagraph("owner").owner_uid() == 0
    assert metagraph("stranger").owner_uid() is None
    assert metagraph(None).owner_uid() is None
