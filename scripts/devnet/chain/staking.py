"""A coldkey stakes TAO on a hotkey. There is no pool here: alpha costs 1 TAO on every subnet."""

from collections.abc import Mapping
from typing import Any

from protocol.units import RAO_PER_TAO
from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.refusal import RefusalError
from scripts.devnet.chain.subnet import SUBTENSOR, Subnet, balance_rao, set_balance

PRICE_RAO = RAO_PER_TAO
"""Price of one alpha."""
MIN_STAKE_RAO = 2_000_000
"""Least that may be staked at once (pallet-subtensor, `DefaultMinStake`)."""


def add_stake(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`SubtensorModule.add_stake`: TAO of the coldkey becomes stake of the hotkey."""
    subnet, hotkey = Subnet(ledger, int(args["netuid"])), str(args["hotkey"])
    amount_rao, free_rao = int(args["amount_staked"]), balance_rao(ledger, who)
    if not subnet.exists:
        raise RefusalError("SubnetNotExists")
    if not subnet.get("SubtokenEnabled"):
        raise RefusalError("SubtokenDisabled")
    if ledger.read_raw(ledger.key(SUBTENSOR, "Owner", hotkey)) is None:
        raise RefusalError("HotKeyAccountNotExists")
    if amount_rao < MIN_STAKE_RAO:
        raise RefusalError("AmountTooLow")
    if free_rao < amount_rao:
        raise RefusalError("NotEnoughBalanceToStake")
    set_balance(ledger, who, free_rao - amount_rao)
    subnet.set_stake(hotkey, subnet.stake_rao(hotkey) + amount_rao)
    staked = (who, hotkey, amount_rao, amount_rao, subnet.netuid, 0)
    return [{SUBTENSOR: {"StakeAdded": staked}}]


def add_stake_limit(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`SubtensorModule.add_stake_limit`: the same, up to a price of alpha."""
    if int(args["limit_price"]) < PRICE_RAO:
        raise RefusalError("SlippageTooHigh")
    return add_stake(ledger, who, args)
