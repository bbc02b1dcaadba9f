"""What a tempo brings: permits, consensus, incentive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import Hotkey
from protocol.units import RAO_PER_TAO
from protocol.wallet import HotkeySigner
from scripts.devnet.chain.epoch import Matrix, yuma
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.subnet import Subnet
from tests.support.devnet import MINER, NETUID, STRANGER, VALIDATOR, seat, seated_node

OWNER_UID, VALIDATOR_UID, MINER_UID = 0, 1, 2
TEMPO = 20


def at_epoch(node: Node) -> Subnet:
    """The subnet just after its next epoch."""
    subnet = Subnet(node.ledger, NETUID)
    epoch = subnet.get("SubnetEpochIndex")
    while subnet.get("SubnetEpochIndex") == epoch:
        node.seal()
    return subnet


def set_weights(subnet: Subnet, uid: int, weights: dict[int, int]) -> None:
    subnet.put("Weights", uid, value=list(weights.items()))
    subnet.set_cell("LastUpdate", uid, subnet.ledger.block)


def shares(values: list[int]) -> list[float]:
    return [value / sum(values) for value in values]


MATRICES = st.integers(1, 5).flatmap(
    lambda size: st.tuples(
        st.lists(
            st.lists(st.integers(1, 100), min_size=size, max_size=size).map(shares),
            min_size=size,
            max_size=size,
        ),
        st.lists(st.integers(1, 100), min_size=size, max_size=size).map(shares),
    )
)


@given(case=MATRICES)
def test_incentive_and_dividends_are_shares(case: tuple[Matrix, list[float]]) -> None:
    outcome = yuma(*case)

    assert sum(outcome.incentive) == pytest.approx(1.0)
    assert sum(outcome.dividends) == pytest.approx(1.0)
    assert all(0 <= value <= 1 + 1e-9 for value in outcome.validator_trust)


@given(case=MATRICES)
def test_a_minority_cannot_raise_a_miner_above_what_others_give(
    case: tuple[Matrix, list[float]],
) -> None:
    weights, stake = case
    liar = min(range(len(stake)), key=stake.__getitem__)
    if stake[liar] >= 0.5:
        return
    honest = [row for row in range(len(stake)) if row != liar]

    consensus = yuma(weights, stake).consensus

    for column, agreed in enumerate(consensus):
        assert agreed <= max(weights[row][column] for row in honest)


def test_agreed_weights_become_incentive() -> None:
    row = [0.0, 0.25, 0.75]

    outcome = yuma([row, row, row], [0.5, 0.3, 0.2])

    assert outcome.incentive == pytest.approx(row)
    assert outcome.dividends == pytest.approx([0.5, 0.3, 0.2])


def test_nobody_earns_where_nobody_sets_weights() -> None:
    outcome = yuma([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0])

    assert outcome.incentive == outcome.dividends == [0.0, 0.0]


def test_an_epoch_comes_once_a_tempo() -> None:
    node = seated_node()
    subnet = at_epoch(node)
    assert node.head.number == TEMPO

    node.mine(TEMPO - 1)
    assert subnet.get("SubnetEpochIndex") == 1
    node.mine(1)
    assert subnet.get("SubnetEpochIndex") == 2
    assert subnet.get("LastEpochBlock") == 2 * TEMPO


def test_incentive_follows_weights_and_the_owners_is_burned() -> None:
    node = seated_node()
    subnet = Subnet(node.ledger, NETUID)
    set_weights(subnet, VALIDATOR_UID, {OWNER_UID: 16_384, MINER_UID: 49_151})

    at_epoch(node)

    assert subnet.column("Incentive") == [16_384, 0, 49_151]
    assert subnet.column("Dividends") == [0, 65_535, 0]
    emission = subnet.column("Emission")
    assert emission[OWNER_UID] == 0
    assert emission[MINER_UID] == pytest.approx(TEMPO * RAO_PER_TAO * 0.41 * 0.75, rel=1e-4)


def test_permits_go_to_the_top_by_stake_above_the_threshold() -> None:
    node = seated_node()
    subnet = Subnet(node.ledger, NETUID)
    rich = [seat(subnet, rich_hotkey(i), stake_tao=2_000 + i) for i in range(3)]
    poor = seat(subnet, STRANGER.hotkey, stake_tao=999, permit=True)
    subnet.put("MaxAllowedValidators", value=3)

    at_epoch(node)

    permits = subnet.column("ValidatorPermit")
    assert [uid for uid, permit in enumerate(permits) if permit] == [VALIDATOR_UID, *rich[1:]]
    assert not permits[poor]


def rich_hotkey(number: int) -> Hotkey:
    return HotkeySigner.from_uri(f"//rich{number}").hotkey


def test_weights_for_a_former_holder_of_a_uid_do_not_count() -> None:
    node = seated_node()
    subnet = Subnet(node.ledger, NETUID)
    set_weights(subnet, VALIDATOR_UID, {MINER_UID: 65_535})
    node.mine(1)
    subnet.replace(MINER_UID, STRANGER.hotkey, STRANGER.hotkey)

    at_epoch(node)

    assert subnet.column("Incentive") == [0, 0, 0]


def test_self_weights_do_not_count() -> None:
    node = seated_node()
    subnet = Subnet(node.ledger, NETUID)
    set_weights(subnet, VALIDATOR_UID, {VALIDATOR_UID: 65_535, MINER_UID: 1})

    at_epoch(node)

    assert subnet.column("Incentive") == [0, 0, 65_535]


def test_a_validator_without_weights_for_long_is_inactive() -> None:
    node = seated_node()
    subnet = Subnet(node.ledger, NETUID)
    subnet.put("ActivityCutoffFactorMilli", value=1_000)
    set_weights(subnet, VALIDATOR_UID, {MINER_UID: 1})
    at_epoch(node)
    assert subnet.column("Incentive")[MINER_UID] == 65_535

    at_epoch(node)

    assert not subnet.column("Active")[VALIDATOR_UID]
    assert subnet.column("Incentive")[MINER_UID] == 0
    assert subnet.uid(VALIDATOR.hotkey) == VALIDATOR_UID
    assert subnet.uid(MINER.hotkey) == MINER_UID
