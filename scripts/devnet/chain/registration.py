"""A hotkey takes a UID, and on a full subnet takes it from another."""

from collections.abc import Mapping
from typing import Any

from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.refusal import RefusalError
from scripts.devnet.chain.subnet import SUBTENSOR, Subnet, balance_rao, set_balance


def register(subnet: Subnet, hotkey: str, coldkey: str) -> int:
    """Give a UID to a hotkey; the UID.

    On a full subnet the neuron with the lowest emission goes, older first, but none that is
    immune and never the owner's.

    Raises:
        RefusalError: If the hotkey is registered already, or nobody can go.
    """
    if subnet.uid(hotkey) is not None:
        raise RefusalError("HotKeyAlreadyRegisteredInSubNet")
    if subnet.size < int(subnet.get("MaxAllowedUids")):
        return subnet.append(hotkey, coldkey)
    emission = subnet.column("Emission")
    registered = [int(subnet.get("BlockAtRegistration", uid)) for uid in range(subnet.size)]
    immune_since = subnet.ledger.block - int(subnet.get("ImmunityPeriod"))
    owner = subnet.owner_uid()
    evictable = [
        uid for uid in range(subnet.size) if uid != owner and registered[uid] <= immune_since
    ]
    if not evictable:
        raise RefusalError("NoNeuronIdAvailable")
    weakest = min(evictable, key=lambda uid: (int(emission[uid]), registered[uid], uid))
    return subnet.replace(weakest, hotkey, coldkey)


def burned_register(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`SubtensorModule.burned_register`: the coldkey pays the registration price."""
    subnet = Subnet(ledger, int(args["netuid"]))
    hotkey = str(args["hotkey"])
    if not subnet.exists:
        raise RefusalError("SubnetNotExists")
    if not subnet.get("NetworkRegistrationAllowed"):
        raise RefusalError("SubNetRegistrationDisabled")
    if subnet.uid(hotkey) is not None:
        raise RefusalError("HotKeyAlreadyRegisteredInSubNet")
    price_rao, free_rao = int(subnet.get("Burn")), balance_rao(ledger, who)
    if free_rao < price_rao:
        raise RefusalError("NotEnoughBalanceToStake")
    uid = register(subnet, hotkey, who)
    set_balance(ledger, who, free_rao - price_rao)
    return [{SUBTENSOR: {"NeuronRegistered": (subnet.netuid, uid, hotkey)}}]


def register_limit(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`SubtensorModule.register_limit`: the same, up to a price."""
    price_rao = int(Subnet(ledger, int(args["netuid"])).get("Burn"))
    if price_rao > int(args["limit_price"]):
        raise RefusalError("RegistrationPriceLimitExceeded")
    return burned_register(ledger, who, args)
