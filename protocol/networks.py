"""Network profiles: what differs between devnet, testnet and mainnet.

Going from the demo to testnet changes `--network` and nothing else; so everything that
differs hangs on that name, and none of it can be set piece by piece.
"""

from dataclasses import dataclass

from protocol.constants import SAMPLE_COUNT
from protocol.errors import ConfigurationError
from protocol.ids import Netuid
from protocol.rounds import Schedule
from protocol.workload import FULL_TAGGED, SMOKE_TAGGED, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network profile."""

    name: str
    endpoint: str
    """Default websocket URL, or a network name that the chain SDK knows."""
    netuid: Netuid | None
    """The subnet; None where it is not registered yet, then the operator names it."""
    schedule: Schedule
    workload: Workload
    sample_count: int
    """Prompts that are re-scored per report."""
    accepts_simulated: bool
    """Whether simulated GPUs count; their figures stay labelled `simulated`."""
    allows_private_addresses: bool
    """Whether axons on loopback and private addresses are called."""
    block_seconds: float
    """Expected block time, for progress and time-outs only."""


_MAINNET_SCHEDULE = Schedule(round_blocks=360, commit_blocks=200, reveal_blocks=260)

DEVNET = Network(
    name="devnet",
    endpoint="ws://127.0.0.1:9944",
    netuid=Netuid(2),
    schedule=Schedule(round_blocks=240, commit_blocks=160, reveal_blocks=220),
    workload=SMOKE_TAGGED,
    sample_count=3,
    accepts_simulated=True,
    allows_private_addresses=True,
    block_seconds=2.0,
)
TESTNET = Network(
    name="test",
    endpoint="test",
    netuid=None,
    schedule=_MAINNET_SCHEDULE,
    workload=FULL_TAGGED,
    sample_count=SAMPLE_COUNT,
    accepts_simulated=False,
    allows_private_addresses=False,
    block_seconds=12.0,
)
MAINNET = Network(
    name="finney",
    endpoint="finney",
    netuid=None,
    schedule=_MAINNET_SCHEDULE,
    workload=FULL_TAGGED,
    sample_count=SAMPLE_COUNT,
    accepts_simulated=False,
    allows_private_addresses=False,
    block_seconds=12.0,
)
NETWORKS = {network.name: network for network in (DEVNET, TESTNET, MAINNET)}


def network_named(name: str) -> Network:
    """The profile of that name.

    Raises:
        ConfigurationError: If there is none.
    """
    if name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise ConfigurationError(f"unknown network {name!r}", hint=f"Choose one of: {known}.")
    return NETWORKS[name]
