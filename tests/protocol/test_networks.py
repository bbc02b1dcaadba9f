"""Network profiles: what devnet may and the real networks may not."""

import pytest

from protocol.constants import SAMPLE_COUNT
from protocol.errors import ConfigurationError
from protocol.networks import DEVNET, MAINNET, NETWORKS, TESTNET, Network, network_named
from protocol.workload import FULL_TAGGED, WorkloadForm

REAL = (TESTNET, MAINNET)


@pytest.mark.parametrize("name", ["devnet", "test", "finney"])
def test_a_network_is_found_by_its_name(name: str) -> None:
    assert network_named(name).name == name


def test_an_unknown_network_is_named_with_the_ones_to_choose_from() -> None:
    with pytest.raises(ConfigurationError, match="'mainnet'") as caught:
        network_named("mainnet")

    assert all(name in caught.value.hint for name in NETWORKS)


@pytest.mark.parametrize("network", REAL)
def test_a_real_network_takes_real_devices_and_public_addresses_only(network: Network) -> None:
    assert not network.accepts_simulated
    assert not network.allows_private_addresses


@pytest.mark.parametrize("network", REAL)
def test_a_real_network_runs_the_full_tagged_workload(network: Network) -> None:
    assert network.workload == FULL_TAGGED
    assert network.sample_count == SAMPLE_COUNT


def test_the_devnet_is_on_loopback_and_never_ranks_with_the_full_workload() -> None:
    assert DEVNET.endpoint.startswith("ws://127.0.0.1:")
    assert DEVNET.workload.name != FULL_TAGGED.name


@pytest.mark.parametrize("network", NETWORKS.values())
def test_every_network_scores_runs_that_cannot_be_replayed(network: Network) -> None:
    assert network.workload.form is WorkloadForm.TAGGED


@pytest.mark.parametrize("network", NETWORKS.values())
def test_a_sample_is_no_larger_than_the_run(network: Network) -> None:
    assert 0 < network.sample_count <= network.workload.prompt_count
