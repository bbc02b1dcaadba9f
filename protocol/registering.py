"""The command `register` of both roles: the price, and with a limit the deed."""

import asyncio
from pathlib import Path

from protocol.ids import Netuid
from protocol.registration import load_coldkey, quote, register
from protocol.subtensor import SubtensorChain
from protocol.wallet import load_wallet


def register_command(
    *,
    endpoint: str,
    netuid: Netuid,
    wallet: tuple[str, str, Path],
    max_cost_tao: float | None,
) -> list[str]:
    """What a registration costs; with a limit, register. Lines to print.

    Args:
        endpoint: Where the chain is.
        netuid: The subnet.
        wallet: Wallet, hotkey, folder of wallets.
        max_cost_tao: Most that it may cost; None only asks.

    Raises:
        ChainError: If the chain is away or refuses.
        ConfigurationError: If a key is missing.
    """
    return asyncio.run(_run(endpoint, netuid, wallet, max_cost_tao))


async def _run(
    endpoint: str, netuid: Netuid, wallet: tuple[str, str, Path], max_cost_tao: float | None
) -> list[str]:
    name, hotkey_name, path = wallet
    signer, coldkey = load_wallet(name, hotkey_name, path), load_coldkey(name, path)
    chain = await SubtensorChain.connect(endpoint=endpoint, netuid=netuid, signer=signer)
    try:
        now = await quote(chain, coldkey.ss58_address)
        lines = [
            f"a UID on subnet {netuid} costs {now.price_tao:g} TAO now; "
            f"the coldkey holds {now.balance_tao:g}",
            "the call is hidden from front-runners" if now.is_shielded else "the call is sent open",
        ]
        if not now.free_uids:
            lines.append("the subnet is full: the neuron with the lowest emission is evicted")
        if max_cost_tao is None:
            return [
                *lines,
                "nothing was sent; to register, give the most that it may cost: --max-cost TAO",
            ]
        uid = await register(
            chain, coldkey=coldkey, hotkey=signer.hotkey, max_cost_tao=max_cost_tao
        )
        return [*lines, f"{signer.hotkey} holds UID {uid} on subnet {netuid}"]
    finally:
        await chain.close()
