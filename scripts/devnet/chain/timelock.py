"""Timelocked weights (commit-reveal version 4): kept closed, and opened after their period.

A commit is encrypted to a round of the public drand beacon, which nobody can open without that
beacon. So whoever plays with this chain deposits what a commit holds (`dev_escrowWeights`); the
node keeps it closed until the epoch in which the real chain would open the commit, and stores
it then, as the real chain does. A commit without deposit is lost, as is one on the real chain
that does not decrypt.
"""

from dataclasses import dataclass, field

from protocol.chain import as_stored
from protocol.ids import Uid
from scripts.devnet.chain.subnet import Subnet

_Key = tuple[int, str]


@dataclass(slots=True)
class Escrow:
    """What the commits of each hotkey hold, by subnet."""

    _deposits: dict[_Key, dict[Uid, int]] = field(default_factory=dict)

    def deposit(self, netuid: int, hotkey: str, weights: dict[Uid, int]) -> None:
        """Say what a hotkey's commits hold until another deposit."""
        self._deposits[netuid, hotkey] = weights

    def open_due(self, subnet: Subnet) -> None:
        """Open the commits whose period ends with the subnet's current epoch."""
        period = max(1, int(subnet.get("RevealPeriodEpochs")))
        due = int(subnet.get("SubnetEpochIndex")) - period
        for epoch in range(max(0, due - period), due + 1):
            for hotkey, *_ in subnet.get("TimelockedWeightCommits", epoch):
                self._open(subnet, str(hotkey))
            subnet.put("TimelockedWeightCommits", epoch, value=[])

    def _open(self, subnet: Subnet, hotkey: str) -> None:
        weights, uid = self._deposits.get((subnet.netuid, hotkey)), subnet.uid(hotkey)
        if weights is None or uid is None:
            return
        stored = as_stored({target: value for target, value in weights.items() if value})
        subnet.put("Weights", uid, value=sorted(stored.items()))
