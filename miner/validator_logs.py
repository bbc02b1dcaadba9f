"""Reads what validators' public logs say about this miner.

A log's address is a setting, or what a validator has announced on chain; neither is trusted:
addresses are guarded, answers bounded, entries believed only under their validator's signature.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from miner.verdicts import Judgement, OwnRounds
from protocol.addresses import address_refusal
from protocol.chain import Axon, Metagraph
from protocol.errors import ProtocolError
from protocol.ids import Hotkey
from protocol.networks import Network

_PAGE_ENTRIES = 500
_PAGE_MAX_BYTES = 64 * 2**20
_READ_ENTRIES = 2_000
"""Newest entries that are read: some ten rounds of a full subnet."""
_TIMEOUT_SECONDS = 10.0
_LONGEST_SECONDS = 60.0
"""For a whole log: one that trickles must not keep the others waiting."""
_NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAddress:
    """Where a validator's log may be."""

    url: str
    validator: Hotkey | None
    """Who must have signed it; None for a setting, which names no hotkey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """One log, as far as it could be read."""

    url: str
    validator: Hotkey | None
    problem: str
    """Why it could not be read; empty when it was."""
    entries: int
    """Size of the log; 0 when unknown."""
    judgements: tuple[Judgement, ...]
    """Of this miner's rounds, newest first."""


def announced_logs(metagraph: Metagraph, network: Network) -> tuple[LogAddress, ...]:
    """The addresses that validators with a permit have put on chain.

    Args:
        metagraph: The subnet.
        network: Says whether private addresses are called.
    """
    return tuple(
        LogAddress(url=axon_url(neuron.axon), validator=neuron.hotkey)
        for neuron in metagraph.neurons
        if neuron.validator_permit and neuron.axon and _may_be_called(neuron.axon, network)
    )


def addresses(urls: Sequence[str], announced: Iterable[LogAddress]) -> tuple[LogAddress, ...]:
    """The operator's own addresses first, then those announced that are not among them."""
    named = {url.rstrip("/"): LogAddress(url=url.rstrip("/"), validator=None) for url in urls}
    found = {address.url: address for address in announced}
    return tuple((named | found).values())


async def read_logs(
    miner: Hotkey,
    logs: Sequence[LogAddress],
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> tuple[LogView, ...]:
    """What each log says about a miner; a log that cannot be read says why.

    Args:
        miner: Whose rounds.
        logs: Where to look.
        transport: Replaces the network in tests.
    """
    async with httpx.AsyncClient(
        timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False, transport=transport
    ) as http:
        return tuple(await asyncio.gather(*(_read(miner, log, http) for log in logs)))


async def _read(miner: Hotkey, log: LogAddress, http: httpx.AsyncClient) -> LogView:
    own, size, problem = OwnRounds(miner, validator=log.validator), 0, ""
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            size = await _read_entries(own, log.url, http)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        problem = f"{_NO_ANSWER}: {error!r}"
    except ProtocolError as error:
        problem = f"an entry is not to be believed: {error}"
    except (ValueError, KeyError, TypeError, RecursionError):
        problem = "this is no validator's log"
    return LogView(
        url=log.url,
        validator=own.validator,
        problem=problem,
        entries=size,
        judgements=() if problem else own.judgements(),
    )


async def _read_entries(own: OwnRounds, url: str, http: httpx.AsyncClient) -> int:
    """Take the newest entries; the log's size."""
    size = int((await _page(http, url, start=0, limit=1))["size"])
    start = max(0, size - _READ_ENTRIES)
    while start < size:
        page = await _page(http, url, start=start, limit=min(_PAGE_ENTRIES, size - start))
        entries = page["entries"]
        if not entries:
            break
        own.take(entries)
        start += len(entries)
    return size


async def _page(http: httpx.AsyncClient, url: str, *, start: int, limit: int) -> dict[str, Any]:
    parameters = {"start": start, "limit": limit}
    async with http.stream("GET", f"{url}/v1/log/entries", params=parameters) as answer:
        answer.raise_for_status()
        data = bytearray()
        async for chunk in answer.aiter_bytes():
            data += chunk
            if len(data) > _PAGE_MAX_BYTES:
                raise ValueError("the page is too long")
    content = json.loads(data)
    if not isinstance(content, dict):
        raise TypeError("no object")
    return content


def axon_url(axon: Axon) -> str:
    """The address of what serves at an axon."""
    host = f"[{axon.ip}]" if ":" in axon.ip else axon.ip
    return f"http://{host}:{axon.port}"


def _may_be_called(axon: Axon, network: Network) -> bool:
    return address_refusal(axon, allow_private=network.allows_private_addresses) is None
