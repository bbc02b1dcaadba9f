"""The chain's records, and what it makes of a weight vector."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.chain import Metagraph, Neuron, as_stored
from protocol.ids import BlockNumber, Coldkey, Hotkey, Netuid, Uid
from protocol.units import U16_MAX

VECTORS = st.dictionaries(
    st.integers(0, 255).map(Uid), st.integers(0, U16_MAX), min_size=1, max_size=32
)


def test_a_vector_is_stored_with_its_peak_at_the_top() -> None:
    stored = as_stored({Uid(0): 30_000, Uid(2): 35_535})

    assert stored == {Uid(0): 55_327, Uid(2): 65_535}


def test_halves_round_away_from_zero() -> None:
    assert as_stored({Uid(0): 2, Uid(1): 1}) == {Uid(0): 65_535, Uid(1): 32_768}


def test_a_vector_of_zeros_stays_so() -> None:
    assert as_stored({Uid(0): 0, Uid(3): 0}) == {Uid(0): 0, Uid(3): 0}
    assert as_stored({}) == {}


@given(vector=VECTORS)
def test_scaling_twice_changes_nothing(vector: dict[Uid, int]) -> None:
    assert as_stored(as_stored(vector)) == as_stored(vector)


@given(vector=VECTORS.filter(lambda vector: any(vector.values())))
def test_scaling_keeps_proportions_within_a_unit(vector: dict[Uid, int]) -> None:
    peak = max(vector.values())

    for uid, stored in as_stored(vector).items():
        assert abs(stored - vector[uid] * U16_MAX / peak) <= 0.5 + 1e-4
        assert 0 <= stored <= U16_MAX


def neuron(uid: int, hotkey: str) -> Neuron:
    return Neuron(
        uid=Uid(uid),
        hotkey=Hotkey(hotkey),
        coldkey=Coldkey("cold"),
        axon=None,
        validator_permit=False,
        stake_tao=0.0,
        last_update_block=BlockNumber(0),
        registration_block=BlockNumber(0),
    )


def graph(owner: str | None) -> Metagraph:
    return Metagraph(
        netuid=Netuid(2),
        block=BlockNumber(1),
        tempo_blocks=20,
        owner_hotkey=None if owner is None else Hotkey(owner),
        neurons=(neuron(0, "a"), neuron(1, "b")),
    )


def test_the_owners_uid_is_found_by_hotkey() -> None:
    assert graph("b").owner_uid() == 1
    assert graph("gone").owner_uid() is None
    assert graph(None).owner_uid() is None
