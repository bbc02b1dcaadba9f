"""The weight vector: sums, ties, burn, and what the chain asks for."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from protocol.chain import Metagraph, Neuron
from protocol.ids import BlockNumber, Coldkey, Hotkey, Netuid, Uid
from protocol.messages import MinerScore
from protocol.units import U16_MAX
from tests.support import factories
from tests.support.keys import DevSigner
from validator.weights import chain_vector, shares, weigh

OWNER = DevSigner("//Owner").hotkey
HOTKEYS = [OWNER, *(DevSigner(f"//weighed-{index}").hotkey for index in range(5))]


def metagraph(*, owner: Hotkey | None = OWNER, size: int = 6) -> Metagraph:
    neurons = tuple(
        Neuron(
            uid=Uid(uid),
            hotkey=hotkey,
            coldkey=Coldkey(hotkey),
            axon=None,
            validator_permit=False,
            stake_tao=0.0,
            last_update_block=BlockNumber(0),
            registration_block=BlockNumber(0),
        )
        for uid, hotkey in enumerate(HOTKEYS[:size])
    )
    return Metagraph(
        netuid=Netuid(2),
        block=BlockNumber(9),
        tempo_blocks=20,
        owner_hotkey=owner,
        neurons=neurons,
    )


def score(place: int, average_ppm: int) -> MinerScore:
    return (
        factories.round_record()
        .scores[0]
        .model_copy(update={"miner": HOTKEYS[place], "average_score_ppm": average_ppm})
    )


@given(
    st.dictionaries(st.integers(1, 255).map(Uid), st.integers(1, 2_000_000), max_size=40),
    st.sampled_from([None, Uid(0)]),
)
def test_shares_sum_to_65535_and_follow_the_scores(
    earned: dict[Uid, int], burn_uid: Uid | None
) -> None:
    vector = shares(earned, burn_uid=burn_uid)

    assert sum(vector.values()) == (U16_MAX if vector else 0)
    ranked = sorted(earned, key=lambda uid: earned[uid])
    assert all(vector[low] <= vector[high] + 1 for low, high in pairwise(ranked))


def test_what_nobody_earned_is_burned() -> None:
    assert shares({Uid(3): 250_000}, burn_uid=Uid(0)) == {0: 49_151, 3: 16_384}


def test_scores_beyond_the_target_leave_nothing_to_burn() -> None:
    vector = shares({Uid(3): 1_500_000, Uid(4): 1_500_000}, burn_uid=Uid(0))

    assert vector == {0: 0, 3: 32_768, 4: 32_767}


def test_an_empty_round_burns_everything() -> None:
    assert shares({}, burn_uid=Uid(7)) == {7: U16_MAX}
    assert shares({}, burn_uid=None) == {}


def test_ties_go_to_the_lower_uid() -> None:
    assert shares({Uid(9): 1, Uid(2): 1}, burn_uid=None) == {2: 32_768, 9: 32_767}


def test_zero_scores_and_lost_uids_are_dropped() -> None:
    weights = weigh([score(1, 100_000), score(2, 0), score(5, 100_000)], metagraph(size=4))

    assert [(entry.uid, entry.weight_u16) for entry in weights] == [(0, 58_982), (1, 6_553)]


def test_without_an_owner_on_the_subnet_the_miners_share_everything() -> None:
    weights = weigh([score(1, 100_000)], metagraph(owner=None))

    assert [(entry.uid, entry.weight_u16) for entry in weights] == [(1, U16_MAX)]


def test_the_vector_is_as_long_as_the_chain_wants() -> None:
    subnet = metagraph()
    weights = weigh([score(1, 100_000)], subnet)

    vector = chain_vector(weights, subnet, min_allowed=4)

    assert vector == {0: 58_980, 1: 6_553, 2: 1, 3: 1}
    assert chain_vector(weights, subnet, min_allowed=1) == {0: 58_982, 1: 6_553}


def test_nothing_is_sent_when_there_is_nobody_to_pay_or_burn_to() -> None:
    subnet = metagraph(owner=None)

    assert chain_vector(weigh([], subnet), subnet, min_allowed=1) == {}
