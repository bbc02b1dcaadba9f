"""What a subnet's owner does: creates it, starts it, sets its hyperparameters.

Unlike on a real chain, the price of a subnet does not decay, there is no limit to how many
there are, and no limit to how often an owner changes something.
"""

from collections.abc import Callable, Mapping
from typing import Any

from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.refusal import RefusalError
from scripts.devnet.chain.subnet import SUBTENSOR, Subnet, balance_rao, set_balance

ADMIN = "AdminUtils"

_Events = list[dict[str, Any]]

_ITEMS = {
    "sudo_set_activity_cutoff_factor": "ActivityCutoffFactorMilli",
    "sudo_set_adjustment_alpha": "AdjustmentAlpha",
    "sudo_set_bonds_moving_average": "BondsMovingAverage",
    "sudo_set_bonds_penalty": "BondsPenalty",
    "sudo_set_bonds_reset_enabled": "BondsResetOn",
    "sudo_set_commit_reveal_weights_enabled": "CommitRevealWeightsEnabled",
    "sudo_set_commit_reveal_weights_interval": "RevealPeriodEpochs",
    "sudo_set_immunity_period": "ImmunityPeriod",
    "sudo_set_liquid_alpha_enabled": "LiquidAlphaOn",
    "sudo_set_max_allowed_uids": "MaxAllowedUids",
    "sudo_set_max_burn": "MaxBurn",
    "sudo_set_min_allowed_weights": "MinAllowedWeights",
    "sudo_set_min_burn": "MinBurn",
    "sudo_set_network_registration_allowed": "NetworkRegistrationAllowed",
    "sudo_set_rho": "Rho",
    "sudo_set_serving_rate_limit": "ServingRateLimit",
    "sudo_set_tempo": "Tempo",
    "sudo_set_toggle_transfer": "TransferToggle",
    "sudo_set_weights_version_key": "WeightsVersionKey",
    "sudo_set_yuma3_enabled": "Yuma3On",
}
"""The call of AdminUtils and the storage item that it writes: what an owner may set."""


def creation_cost_rao(ledger: Ledger) -> int:
    """What the next subnet costs: it doubles with each."""
    return int(ledger.get(SUBTENSOR, "NetworkLastLockCost"))


def register_network(ledger: Ledger, who: str, args: Mapping[str, Any]) -> _Events:
    """`SubtensorModule.register_network`: a new subnet, not started yet."""
    cost_rao, free_rao = creation_cost_rao(ledger), balance_rao(ledger, who)
    if free_rao < cost_rao:
        raise RefusalError("CannotAffordLockCost")
    netuid = 1
    while Subnet(ledger, netuid).exists:
        netuid += 1
    subnet = Subnet(ledger, netuid)
    subnet.create(owner_hotkey=str(args["hotkey"]), owner_coldkey=who)
    subnet.put("SubtokenEnabled", value=False)
    ledger.remove(SUBTENSOR, "FirstEmissionBlockNumber", netuid)
    subnet.put("SubnetLocked", value=cost_rao)
    ledger.put(SUBTENSOR, "NetworkLastLockCost", value=2 * cost_rao)
    set_balance(ledger, who, free_rao - cost_rao)
    return [{SUBTENSOR: {"NetworkAdded": (netuid, 0)}}]


def start_call(ledger: Ledger, who: str, args: Mapping[str, Any]) -> _Events:
    """`SubtensorModule.start_call`: from now on the subnet has a token and emission."""
    subnet = Subnet(ledger, int(args["netuid"]))
    if not subnet.exists:
        raise RefusalError("SubnetNotExists")
    if subnet.get("SubnetOwner") != who:
        raise RefusalError("BadOrigin", pallet="")
    if subnet.get("FirstEmissionBlockNumber") is not None:
        raise RefusalError("FirstEmissionBlockNumberAlreadySet")
    waited = ledger.block - int(subnet.get("NetworkRegisteredAt"))
    if waited < int(ledger.get(SUBTENSOR, "StartCallDelay")):
        raise RefusalError("NeedWaitingMoreBlocksToStarCall")
    first = ledger.block + 1
    subnet.put("FirstEmissionBlockNumber", value=first)
    subnet.put("SubtokenEnabled", value=True)
    return [{SUBTENSOR: {"FirstEmissionBlockNumberSet": (subnet.netuid, first)}}]


def _setter(item: str) -> Callable[[Ledger, str, Mapping[str, Any]], _Events]:
    def write(ledger: Ledger, who: str, args: Mapping[str, Any]) -> _Events:
        subnet = Subnet(ledger, int(args["netuid"]))
        if not subnet.exists:
            raise RefusalError("SubnetDoesNotExist", pallet=ADMIN)
        if subnet.get("SubnetOwner") != who:
            raise RefusalError("BadOrigin", pallet="")
        (value,) = (value for name, value in args.items() if name != "netuid")
        subnet.put(item, value=value)
        return []

    return write


OWNER_CALLS: dict[tuple[str, str], Callable[[Ledger, str, Mapping[str, Any]], _Events]] = {
    (SUBTENSOR, "register_network"): register_network,
    (SUBTENSOR, "start_call"): start_call,
    **{(ADMIN, call): _setter(item) for call, item in _ITEMS.items()},
}
