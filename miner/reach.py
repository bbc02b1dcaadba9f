"""Whether validators could call this miner, as far as this machine can tell."""

import asyncio
import socket

import httpx

from miner.validator_logs import axon_url
from protocol.chain import Axon, Chain
from protocol.errors import ConfigurationError
from protocol.ids import Hotkey

_TIMEOUT_SECONDS = 5.0
_HINT = (
    "Some routers do not lead a machine back to its own public address, so this proves nothing:"
    " try `curl {url}/healthz` from elsewhere."
)


async def trouble_at(axon: Axon, hotkey: Hotkey) -> str:
    """What goes wrong when the announced address is called; empty when this miner answers there.

    Args:
        axon: What is announced on chain.
        hotkey: Who must answer.
    """
    url = axon_url(axon)
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
            answer = await http.get(f"{url}/v1/status")
            found = answer.json()["hotkey"]
    except httpx.HTTPError as error:
        return f"no answer at {url}: {type(error).__name__}. {_HINT.format(url=url)}"
    except (ValueError, KeyError, TypeError):
        return f"something else than a miner answers at {url}"
    return "" if found == hotkey else f"another miner answers at {url}: {found}"


async def refuse_twin(chain: Chain, axon: Axon, hotkey: Hotkey) -> None:
    """Refuse to start where a miner of the same hotkey answers elsewhere.

    Two of them would sign two commitments to one round, which validators take for fraud.

    Args:
        chain: Says where this hotkey has been announced.
        axon: Where this miner is going to serve.
        hotkey: Who both are.

    Raises:
        ChainError: If the chain is away.
        ConfigurationError: If so.
    """
    neuron = (await chain.metagraph()).by_hotkey(hotkey)
    own = neuron.axon if neuron else None
    if own is not None and own != axon and not await trouble_at(own, hotkey):
        raise ConfigurationError(
            f"a miner of this hotkey is running at {axon_url(own)}",
            hint="Stop that one first: two signatures of one hotkey are punished as fraud.",
        )


async def knock(axon: Axon, listener: socket.socket) -> str:
    """What goes wrong when the announced address is connected to; empty when that arrives here.

    Args:
        axon: What will be announced on chain.
        listener: The socket that it should lead to; nobody else may accept on it.
    """
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    arrival = asyncio.ensure_future(loop.sock_accept(listener))
    url = axon_url(axon)
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(axon.ip, axon.port)
            writer.close()
            accepted, _ = await arrival
            accepted.close()
    except (OSError, TimeoutError):
        return f"no way from here to {url}. {_HINT.format(url=url)}"
    finally:
        arrival.cancel()
    return ""
