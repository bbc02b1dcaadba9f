"""A hotkey takes a UID: what that costs now, and doing it with the coldkey.

Registration is the one thing for which the coldkey has to be at hand. The price floats: it
decays, and jumps with each registration. Where the chain has a shield against front-runners
(`MevShield`), the SDK's shielded intent is sent; elsewhere the plain call with the limit in it.
"""

from dataclasses import dataclass
from pathlib import Path

import bittensor as bt
from bittensor_core import Keypair

from protocol.chain import Metagraph
from protocol.errors import ChainError, ConfigurationError
from protocol.ids import Hotkey, Uid
from protocol.subtensor import SubtensorChain
from protocol.units import rao_from_tao, tao_from_rao


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a registration costs at one moment."""

    price_tao: float
    balance_tao: float
    """Free balance of the coldkey."""
    is_shielded: bool
    """Whether the chain hides the call until it is in a block."""
    free_uids: int
    """UIDs that nobody holds; with 0 somebody is evicted."""


def load_coldkey(name: str, path: Path) -> Keypair:
    """The coldkey of a wallet made by `btcli`; asks for its password on the terminal.

    Raises:
        ConfigurationError: If it is missing or its password is wrong.
    """
    from bittensor.sp_core import KeyfileError  # noqa: PLC0415 - as `protocol.wallet` does

    wallet = bt.Wallet(name=name, path=str(path.expanduser()))
    try:
        return wallet.coldkey
    except (KeyfileError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"cannot use the coldkey of wallet {name}: {error}",
            hint="Register where the coldkey is, or move it here for as long as it takes.",
        ) from error


async def quote(chain: SubtensorChain, coldkey: str) -> Quote:
    """What a registration costs now.

    Raises:
        ChainError: If the chain is away.
    """
    price_rao = int(await chain.query("SubtensorModule", "Burn", [chain.netuid]) or 0)
    account = await chain.query("System", "Account", [coldkey])
    size = int(await chain.query("SubtensorModule", "SubnetworkN", [chain.netuid]) or 0)
    limit = int(await chain.query("SubtensorModule", "MaxAllowedUids", [chain.netuid]) or 0)
    shield = await chain.query("MevShield", "NextKey", [])
    return Quote(
        price_tao=tao_from_rao(price_rao),
        balance_tao=tao_from_rao(int(account["data"]["free"])),
        is_shielded=shield is not None,
        free_uids=max(0, limit - size),
    )


async def register(
    chain: SubtensorChain, *, coldkey: Keypair, hotkey: Hotkey, max_cost_tao: float
) -> Uid:
    """Give a UID to a hotkey; does nothing when it holds one.

    Args:
        chain: The chain.
        coldkey: Keypair that pays.
        hotkey: Who is registered.
        max_cost_tao: Most that it may cost.

    Raises:
        ChainError: If it costs more, the balance is too small, or the chain refuses.
    """
    held = _uid(await chain.metagraph(), hotkey)
    if held is not None:
        return held
    now = await quote(chain, coldkey.ss58_address)
    _check(now, max_cost_tao)
    if now.is_shielded:
        intent = bt.BurnedRegister(netuid=chain.netuid, hotkey_ss58=hotkey)
        await chain.execute(intent, coldkey, "registering")
    else:
        call = {
            "netuid": chain.netuid,
            "hotkey": hotkey,
            "limit_price": rao_from_tao(max_cost_tao),
        }
        await chain.submit(("SubtensorModule", "register_limit", call), coldkey, "registering")
    held = _uid(await chain.metagraph(), hotkey)
    if held is None:
        raise ChainError(
            f"the chain took the call, but {hotkey} holds no UID",
            hint="Somebody may have been quicker for the last UID; look, and try again.",
        )
    return held


def _check(now: Quote, max_cost_tao: float) -> None:
    if now.price_tao > max_cost_tao:
        raise ChainError(
            f"a registration costs {now.price_tao:g} TAO now, more than {max_cost_tao:g}",
            hint="The price decays: wait, or raise --max-cost.",
        )
    if now.balance_tao < now.price_tao:
        raise ChainError(
            f"the coldkey holds {now.balance_tao:g} TAO, a registration costs {now.price_tao:g}",
            hint="Send it some; on testnet ask for test TAO.",
        )


def _uid(metagraph: Metagraph, hotkey: Hotkey) -> Uid | None:
    neuron = metagraph.by_hotkey(hotkey)
    return neuron.uid if neuron else None
