"""What a subnet holds: hyperparameters, neurons, stake, weights.

Names follow the storage items of pallet-subtensor. `Subnet` is a view on the ledger and
keeps nothing itself.
"""

from dataclasses import dataclass
from typing import Any

from protocol.units import RAO_PER_TAO, U16_MAX
from scripts.devnet.chain.ledger import Ledger

SUBTENSOR = "SubtensorModule"

HYPERPARAMETERS: dict[str, object] = {
    "Tempo": 20,
    "MaxAllowedUids": 256,
    "MaxAllowedValidators": 64,
    "ImmunityPeriod": 100,
    "MinAllowedWeights": 1,
    "MaxWeightsLimit": U16_MAX,
    "WeightsVersionKey": 0,
    "WeightsSetRateLimit": 5,
    "ServingRateLimit": 1,
    "CommitRevealWeightsEnabled": False,
    "RevealPeriodEpochs": 1,
    "Burn": RAO_PER_TAO,
    "NetworkRegistrationAllowed": True,
    "SubtokenEnabled": True,
    "ActivityCutoffFactorMilli": 13_889,
}
"""A new devnet subnet. Short periods for a chain with sub-second blocks; commit-reveal is off."""

_MILLI = 1_000
"""The activity cutoff is given in thousandths of a tempo."""
_VECTORS = {
    "Active": True,
    "ValidatorPermit": False,
    "LastUpdate": 0,
    "Incentive": 0,
    "Dividends": 0,
    "Consensus": 0,
    "ValidatorTrust": 0,
    "Emission": 0,
}
"""Per-UID columns that the runtime stores as one vector, and a new neuron's value."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet of a ledger."""

    ledger: Ledger
    netuid: int

    @property
    def exists(self) -> bool:
        """Whether the subnet was created."""
        return bool(self.get("NetworksAdded"))

    @property
    def size(self) -> int:
        """Number of UIDs taken."""
        return int(self.get("SubnetworkN"))

    def get(self, item: str, *params: object) -> Any:
        """A storage item of this subnet."""
        return self.ledger.get(SUBTENSOR, item, self.netuid, *params)

    def put(self, item: str, *params: object, value: object) -> None:
        """Write a storage item of this subnet."""
        self.ledger.put(SUBTENSOR, item, self.netuid, *params, value=value)

    def create(self, *, owner_hotkey: str, owner_coldkey: str) -> None:
        """Create the subnet with devnet hyperparameters; the owner takes UID 0."""
        for item, value in {"NetworksAdded": True, "SubnetworkN": 0, **HYPERPARAMETERS}.items():
            self.put(item, value=value)
        self.put("SubnetOwner", value=owner_coldkey)
        self.put("SubnetOwnerHotkey", value=owner_hotkey)
        self.put("NetworkRegisteredAt", value=self.ledger.block)
        self.put("FirstEmissionBlockNumber", value=self.ledger.block)
        self.put("LastEpochBlock", value=self.ledger.block)
        self.put("TokenSymbol", value=b"\xce\xb2")
        networks = int(self.ledger.get(SUBTENSOR, "TotalNetworks")) + 1
        self.ledger.put(SUBTENSOR, "TotalNetworks", value=networks)
        self.append(owner_hotkey, owner_coldkey)

    def uid(self, hotkey: str) -> int | None:
        """The UID of a hotkey, or None."""
        return self.get("Uids", hotkey)  # type: ignore[no-any-return]

    def hotkey(self, uid: int) -> str:
        """The hotkey that holds a UID."""
        return str(self.get("Keys", uid))

    def activity_cutoff_blocks(self) -> int:
        """Blocks after its last weights from which a validator counts as inactive."""
        return int(self.get("ActivityCutoffFactorMilli")) * int(self.get("Tempo")) // _MILLI

    def hotkeys(self) -> list[str]:
        """All hotkeys, by UID."""
        return [self.hotkey(uid) for uid in range(self.size)]

    def coldkey(self, hotkey: str) -> str:
        """The coldkey that owns a hotkey."""
        return str(self.ledger.get(SUBTENSOR, "Owner", hotkey))

    def owner_uid(self) -> int | None:
        """The UID of the subnet owner's hotkey, or None."""
        return self.uid(str(self.get("SubnetOwnerHotkey")))

    def column(self, item: str) -> list[Any]:
        """A per-UID column, padded to the subnet's size."""
        values = list(self.get(item))
        return values + [_VECTORS[item]] * (self.size - len(values))

    def set_cell(self, item: str, uid: int, value: object) -> None:
        """Write one UID's value in a column."""
        values = self.column(item)
        values[uid] = value
        self.put(item, value=values)

    def stake_rao(self, hotkey: str) -> int:
        """Stake of a hotkey, in RAO of alpha."""
        return int(self.ledger.get(SUBTENSOR, "TotalHotkeyAlpha", hotkey, self.netuid))

    def set_stake(self, hotkey: str, stake_rao: int) -> None:
        """Set the stake of a hotkey, in RAO of alpha."""
        self.ledger.put(SUBTENSOR, "TotalHotkeyAlpha", hotkey, self.netuid, value=stake_rao)

    def weights(self, uid: int) -> list[tuple[int, int]]:
        """The weights that a UID has set, as stored."""
        return [(int(target), int(value)) for target, value in self.get("Weights", uid)]

    def append(self, hotkey: str, coldkey: str) -> int:
        """Give the next free UID to a hotkey."""
        uid = self.size
        self.put("SubnetworkN", value=uid + 1)
        self._seat(uid, hotkey, coldkey)
        return uid

    def replace(self, uid: int, hotkey: str, coldkey: str) -> int:
        """Give a taken UID to another hotkey; what the old one had there is gone."""
        old = self.hotkey(uid)
        for item in ("Uids", "Axons"):
            self.ledger.remove(SUBTENSOR, item, self.netuid, old)
        self.ledger.remove(SUBTENSOR, "IsNetworkMember", old, self.netuid)
        self.put("Weights", uid, value=[])
        for item, value in _VECTORS.items():
            self.set_cell(item, uid, value)
        self._seat(uid, hotkey, coldkey)
        return uid

    def _seat(self, uid: int, hotkey: str, coldkey: str) -> None:
        self.put("Uids", hotkey, value=uid)
        self.put("Keys", uid, value=hotkey)
        self.put("BlockAtRegistration", uid, value=self.ledger.block)
        self.ledger.put(SUBTENSOR, "IsNetworkMember", hotkey, self.netuid, value=True)
        self.ledger.put(SUBTENSOR, "Owner", hotkey, value=coldkey)
        for item in _VECTORS:
            self.put(item, value=self.column(item))


def stake_threshold_rao(ledger: Ledger) -> int:
    """Stake below which nobody sets weights, in RAO."""
    return int(ledger.get(SUBTENSOR, "StakeThreshold"))


def balance_rao(ledger: Ledger, address: str) -> int:
    """Free balance of an account, in RAO."""
    return int(ledger.get("System", "Account", address)["data"]["free"])


def set_balance(ledger: Ledger, address: str, free_rao: int) -> None:
    """Set the free balance of an account, in RAO."""
    account = dict(ledger.get("System", "Account", address))
    account["providers"] = max(1, int(account["providers"]))
    account["data"] = {**account["data"], "free": free_rao}
    ledger.put("System", "Account", address, value=account)


def account_nonce(ledger: Ledger, address: str) -> int:
    """Number of extrinsics that an account has on chain."""
    return int(ledger.get("System", "Account", address)["nonce"])


def bump_nonce(ledger: Ledger, address: str) -> None:
    """Count one more extrinsic of an account."""
    account = dict(ledger.get("System", "Account", address))
    account["nonce"] = int(account["nonce"]) + 1
    ledger.put("System", "Account", address, value=account)
