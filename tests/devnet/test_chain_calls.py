"""What each call does, and the names of its refusals."""

from typing import Any

import pytest

from protocol.ids import Hotkey
from protocol.units import RAO_PER_TAO
from protocol.wallet import HotkeySigner
from scripts.devnet.chain.calls import dispatch
from scripts.devnet.chain.metadata import load_runtime
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.refusal import RefusalError
from scripts.devnet.chain.subnet import SUBTENSOR, Subnet, balance_rao, set_balance
from tests.support.devnet import MINER, NETUID, STRANGER, VALIDATOR, seat, seated_node

LOOPBACK = 0x7F000001


@pytest.fixture
def node() -> Node:
    return seated_node()


def call(node: Node, who: Hotkey, function: str, **args: Any) -> Any:  # noqa: ANN401
    pallet = "Commitments" if function == "set_commitment" else SUBTENSOR
    arguments = [{"name": name, "value": value} for name, value in args.items()]
    named = {"call_module": pallet, "call_function": function, "call_args": arguments}
    return dispatch(node.ledger, who, named)


def refusal(node: Node, who: Hotkey, function: str, **args: Any) -> str:  # noqa: ANN401
    with pytest.raises(RefusalError) as caught:
        call(node, who, function, **args)
    return caught.value.name


def axon(**changes: int) -> dict[str, int]:
    fields = {"ip": LOOPBACK, "port": 8091, "ip_type": 4, "protocol": 4, "version": 1}
    return {"netuid": NETUID, **fields, "placeholder1": 0, "placeholder2": 0, **changes}


def vector(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"netuid": NETUID, "dests": [0, 2], "weights": [1, 2], "version_key": 0, **changes}


def commit(size: int) -> dict[str, Any]:
    fields = [{f"Raw{size}": "0x" + "ab" * size}]
    return {"netuid": NETUID, "info": {"fields": fields}}


def test_a_refusal_has_the_metadatas_indices() -> None:
    error = load_runtime().module_error(SUBTENSOR, "SettingWeightsTooFast")

    assert error == {"Module": {"index": 7, "error": "0x1d000000"}}
    with pytest.raises(KeyError):
        load_runtime().module_error(SUBTENSOR, "NoSuchError")


def test_a_call_that_the_devnet_lacks_is_filtered(node: Node) -> None:
    assert refusal(node, VALIDATOR.hotkey, "dissolve_network", netuid=2) == "CallFiltered"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mecid": 1}, "MechanismDoesNotExist"),
        ({"weights": [1]}, "WeightVecNotEqualSize"),
        ({"dests": [0, 1, 2, 3], "weights": [1, 1, 1, 1]}, "UidsLengthExceedUidsInSubNet"),
        ({"dests": [2, 2]}, "DuplicateUids"),
        ({"dests": [0, 3]}, "UidVecContainInvalidOne"),
    ],
)
def test_a_wrong_vector_is_refused(node: Node, changes: dict[str, Any], reason: str) -> None:
    assert refusal(node, VALIDATOR.hotkey, "set_weights", **vector(**changes)) == reason


def test_plain_weights_are_refused_under_commit_reveal(node: Node) -> None:
    Subnet(node.ledger, NETUID).put("CommitRevealWeightsEnabled", value=True)

    assert refusal(node, VALIDATOR.hotkey, "set_weights", **vector()) == "CommitRevealEnabled"


def test_a_vector_to_oneself_needs_no_permit(node: Node) -> None:
    subnet = Subnet(node.ledger, NETUID)
    subnet.set_stake(MINER.hotkey, 10**13)

    call(node, MINER.hotkey, "set_weights", **vector(dests=[2], weights=[7]))

    assert subnet.weights(2) == [(2, 65_535)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"commit_reveal_version": 3}, "IncorrectCommitRevealVersion"),
        ({"netuid": 9}, "CommitRevealDisabled"),
    ],
)
def test_a_wrong_timelocked_commit_is_refused(
    node: Node, changes: dict[str, int], reason: str
) -> None:
    Subnet(node.ledger, NETUID).put("CommitRevealWeightsEnabled", value=True)
    Subnet(node.ledger, 9).put("CommitRevealWeightsEnabled", value=False)
    args = {"netuid": NETUID, "commit": "0xab", "reveal_round": 1, "commit_reveal_version": 4}

    function = "commit_timelocked_weights"
    assert refusal(node, VALIDATOR.hotkey, function, **{**args, **changes}) == reason


def test_ten_commits_may_be_unrevealed(node: Node) -> None:
    subnet = Subnet(node.ledger, NETUID)
    subnet.put("CommitRevealWeightsEnabled", value=True)
    subnet.put("WeightsSetRateLimit", value=0)
    subnet.put("Tempo", value=1_000)
    args = {"netuid": NETUID, "commit": "0xab", "reveal_round": 1, "commit_reveal_version": 4}
    for _ in range(10):
        call(node, VALIDATOR.hotkey, "commit_timelocked_weights", **args)

    reason = refusal(node, VALIDATOR.hotkey, "commit_timelocked_weights", **args)

    assert reason == "TooManyUnrevealedCommits"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ip_type": 5}, "InvalidIpType"),
        ({"ip": 0}, "InvalidIpAddress"),
        ({"ip": 2**32 - 1}, "InvalidIpAddress"),
        ({"ip": 2**32}, "InvalidIpAddress"),
        ({"ip": 0xE0000001}, "InvalidIpAddress"),
        ({"ip_type": 6, "ip": 0}, "InvalidIpAddress"),
        ({"port": 0}, "InvalidPort"),
    ],
)
def test_a_wrong_axon_is_refused(node: Node, changes: dict[str, int], reason: str) -> None:
    assert refusal(node, MINER.hotkey, "serve_axon", **axon(**changes)) == reason


def test_a_stranger_may_not_serve(node: Node) -> None:
    reason = refusal(node, STRANGER.hotkey, "serve_axon", **axon())

    assert reason == "HotKeyNotRegisteredInNetwork"


def test_registration_costs_its_price(node: Node) -> None:
    set_balance(node.ledger, STRANGER.hotkey, 3 * RAO_PER_TAO)
    newcomer = HotkeySigner.from_uri("//Newcomer").hotkey

    events = call(node, STRANGER.hotkey, "burned_register", netuid=NETUID, hotkey=newcomer)

    assert events == [{SUBTENSOR: {"NeuronRegistered": (NETUID, 3, newcomer)}}]
    assert balance_rao(node.ledger, STRANGER.hotkey) == 2 * RAO_PER_TAO
    subnet = Subnet(node.ledger, NETUID)
    assert (subnet.uid(newcomer), subnet.coldkey(newcomer)) == (3, STRANGER.hotkey)


def test_registration_is_refused_by_name(node: Node) -> None:
    who, subnet = STRANGER.hotkey, Subnet(node.ledger, NETUID)
    newcomer = HotkeySigner.from_uri("//Newcomer").hotkey

    def attempt(hotkey: Hotkey, netuid: int = NETUID) -> str:
        return refusal(node, who, "burned_register", netuid=netuid, hotkey=hotkey)

    assert attempt(newcomer) == "NotEnoughBalanceToStake"
    assert attempt(newcomer, netuid=9) == "SubnetNotExists"
    assert attempt(MINER.hotkey) == "HotKeyAlreadyRegisteredInSubNet"
    limited = {"netuid": NETUID, "hotkey": newcomer, "limit_price": 1}
    assert refusal(node, who, "register_limit", **limited) == "RegistrationPriceLimitExceeded"
    subnet.put("NetworkRegistrationAllowed", value=False)
    assert attempt(newcomer) == "SubNetRegistrationDisabled"


def test_a_full_subnet_evicts_the_weakest_that_is_not_immune(node: Node) -> None:
    subnet = Subnet(node.ledger, NETUID)
    other = HotkeySigner.from_uri("//Other").hotkey
    seat(subnet, other)
    subnet.put("MaxAllowedUids", value=4)
    subnet.put("Emission", value=[0, 5, 9, 7])
    set_balance(node.ledger, STRANGER.hotkey, 10 * RAO_PER_TAO)
    args = {"netuid": NETUID, "hotkey": STRANGER.hotkey}
    assert refusal(node, STRANGER.hotkey, "burned_register", **args) == "NoNeuronIdAvailable"

    node.mine(100)
    subnet.put("Emission", value=[0, 5, 9, 7])
    call(node, STRANGER.hotkey, "burned_register", **args)

    assert subnet.uid(STRANGER.hotkey) == 1
    assert subnet.uid(VALIDATOR.hotkey) is None
    assert subnet.column("ValidatorPermit")[1] is False
    assert subnet.size == 4
    assert subnet.owner_uid() == 0


def test_an_evicted_neuron_leaves_nothing_behind(node: Node) -> None:
    subnet = Subnet(node.ledger, NETUID)
    call(node, MINER.hotkey, "serve_axon", **axon())
    call(node, VALIDATOR.hotkey, "set_weights", **vector())

    subnet.replace(1, STRANGER.hotkey, STRANGER.hotkey)
    subnet.replace(2, VALIDATOR.hotkey, STRANGER.hotkey)

    assert subnet.get("Axons", MINER.hotkey) is None
    assert subnet.weights(1) == []
    assert subnet.column("LastUpdate") == [0, 0, 0]


def test_commitments_have_a_space_for_each_epoch(node: Node) -> None:
    call(node, MINER.hotkey, "set_commitment", **commit(0))
    for _ in range(23):
        call(node, MINER.hotkey, "set_commitment", **commit(128))
    assert refusal(node, MINER.hotkey, "set_commitment", **commit(128)) == "SpaceLimitExceeded"

    node.mine(20)

    call(node, MINER.hotkey, "set_commitment", **commit(128))


def test_a_commitment_of_too_many_fields_is_refused(node: Node) -> None:
    most = int(node.ledger.runtime.core.constant("Commitments", "MaxFields"))
    fields = [{"Raw1": "0xab"}] * (most + 1)
    args = {"netuid": NETUID, "info": {"fields": fields}}

    reason = refusal(node, MINER.hotkey, "set_commitment", **args)

    assert reason == "TooManyFieldsInCommitmentInfo"
