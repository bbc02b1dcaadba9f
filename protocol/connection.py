"""One connection of the SDK to a Subtensor node, opened anew after each failure.

The SDK's transport reconnects by itself after a cut. What it leaves out is here: it can die
without failing the requests that wait on it, a node may be silent on an open connection, or
be stuck at a block, and many clients that come back at once knock a node down again. So:
each failure drops the connection, the next endpoint is tried first, repeated failures wait
longer and longer with jitter, and whatever answers must be the same chain as before.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import bittensor as bt
from bittensor import settings

from protocol.subtensor_errors import SDK_ERRORS

T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 20.0
_END_SECONDS = 1.0
"""Longest that cancelled work or a broken connection may take to end."""
BACKOFF_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Longest wait before an attempt, by the number of failures since one worked."""

_ODD_ERRORS: tuple[type[Exception], ...] = (AssertionError, *SDK_ERRORS)
"""What the SDK raises, and what websockets 16 trips over beneath it."""

Chance = Callable[[], float]
"""Gives a number in [0, 1)."""


class Connection:
    """The connection to one of several endpoints of one chain.

    Args:
        endpoint: `ws://` or `wss://` URLs, comma-separated, the best first; or a network name
            that the SDK knows, whose fallbacks it knows too.
        chance: Where jitter comes from.
        now: Monotonic clock (s).
    """

    def __init__(
        self,
        endpoint: str,
        *,
        chance: Chance = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self.opened_count = 0
        """Connections that were opened so far."""
        self._substrate: _Substrate | None = None
        self._closed = False
        self._opening = asyncio.Lock()
        self._genesis: str | None = None
        self._failures = 0
        self._first = 0
        self._not_before = 0.0
        self._last_error = ""
        self._ending: set[asyncio.Future[Any]] = set()
        self._chance, self._now = chance, now

    async def live(self) -> "_Substrate":
        """The open connection, opened anew after a drop.

        Raises:
            ConnectionError: If it was closed, or the next attempt is not due yet.
            Exception: One of `SDK_ERRORS`, if nothing answers as this chain does.
        """
        async with self._opening:
            if self._closed:
                raise ConnectionError("this connection was closed by its owner")
            if self._substrate is None:
                self._substrate = await self._opened()
            return self._substrate

    async def drop(self, broken: "_Substrate") -> None:
        """Give up a connection, unless another task has done so already."""
        if self._substrate is not broken:
            return
        self._substrate = None
        self._failed()
        await _abandon(broken)

    async def renew(self) -> None:
        """Leave the present endpoint for the next one: its chain stands still."""
        if self._substrate is not None:
            await self.drop(self._substrate)

    async def close(self) -> None:
        """Close for good; idempotent."""
        self._closed = True
        broken, self._substrate = self._substrate, None
        if broken is not None:
            await _abandon(broken)

    def worked(self) -> None:
        """Note an answer: the next failure is the first one again."""
        self._failures = 0

    async def run(
        self, substrate: "_Substrate", operation: Callable[[bt.RpcSubstrate], Awaitable[T]]
    ) -> T:
        """The operation's result, or an error as soon as the transport under it has died.

        Raises:
            ConnectionError: If it died first.
        """
        work = asyncio.ensure_future(operation(substrate))
        receiver = substrate.receiver
        try:
            await asyncio.wait({work, receiver or work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ConnectionError("the node has hung up")
            return self._result(work, substrate)
        finally:
            await self._end(work)

    def _result(self, work: "asyncio.Future[T]", substrate: "_Substrate") -> T:
        try:
            return work.result()
        except SDK_ERRORS as error:
            if self._substrate is substrate:
                raise
            raise ConnectionError(f"another task gave the connection up: {error}") from error

    async def _end(self, work: "asyncio.Future[Any]") -> None:
        """Cancel work that goes on, and leave it alone if it does not end.

        The SDK tidies up after a cancelled call by asking the node once more; on a dead line that
        lasts until the connection is dropped.
        """
        work.cancel()
        self._ending.add(work)
        work.add_done_callback(self._ended)
        await asyncio.wait({work}, timeout=_END_SECONDS)

    def _ended(self, work: "asyncio.Future[Any]") -> None:
        self._ending.discard(work)
        if not work.cancelled():
            work.exception()  # seen, so that nobody is told of it again

    async def _opened(self) -> "_Substrate":
        wait_seconds = self._not_before - self._now()
        if wait_seconds > 0:
            raise ConnectionError(
                f"{self._last_error or 'no answer in time'} ({self._failures} failures in a row; "
                f"the next attempt is in {wait_seconds:.0f} s)"
            )
        try:
            fresh = await _connected(self.endpoint, self._first)
        except _ODD_ERRORS as error:
            self._last_error = str(error)
            self._failed()
            raise
        try:
            await self._check_chain(fresh)
        except BaseException as error:
            self._last_error = str(error)
            self._failed()
            await _abandon(fresh)
            raise
        self.opened_count += 1
        return fresh

    async def _check_chain(self, fresh: "_Substrate") -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            genesis = await self.run(fresh, lambda substrate: substrate.block_hash(0))
        if self._genesis is not None and genesis != self._genesis:
            raise ConnectionError(f"{fresh.endpoint} serves another chain: genesis {genesis}")
        self._genesis = genesis

    def _failed(self) -> None:
        self._failures += 1
        self._first += 1
        longest = BACKOFF_SECONDS[min(self._failures - 1, len(BACKOFF_SECONDS) - 1)]
        self._not_before = self._now() + longest * (0.5 + 0.5 * self._chance())


class _Substrate(bt.RpcSubstrate):
    """The SDK's transport, which remembers a connection that it failed to open.

    The SDK forgets it when the attempt is cut short, and its task and socket live on.
    """

    opened: Any = None

    @property
    def receiver(self) -> "asyncio.Task[Any] | None":
        """The SDK's task that receives answers, where this version of it has one."""
        return getattr(getattr(self.opened, "_session", None), "_supervisor", None)

    def _interface(self, endpoint: str, fallbacks: list[str]) -> Any:  # noqa: ANN401 - private
        self.opened = super()._interface(endpoint, fallbacks)
        return self.opened


def endpoints_of(endpoint: str) -> list[str]:
    """The URLs behind an operator's words: a list of URLs, or a network's name."""
    urls = []
    for part in endpoint.split(","):
        network, url = settings.resolve_endpoint(part.strip())
        urls += [url, *(settings.default_fallback_endpoints(network) or [])]
    return list(dict.fromkeys(urls))


async def _connected(endpoint: str, first: int) -> _Substrate:
    urls = endpoints_of(endpoint)
    start = first % len(urls)
    best, *others = urls[start:] + urls[:start]
    network, _ = settings.resolve_endpoint(endpoint.split(",", maxsplit=1)[0].strip())
    fresh = _Substrate(
        best,
        fallback_endpoints=others,
        archive_endpoints=settings.default_archive_endpoints(network),
    )
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await fresh.connect()
    except BaseException:  # cancellation too
        if fresh.opened is not None:
            await _abandon(fresh.opened)
        raise
    return fresh


async def _abandon(broken: Any) -> None:  # noqa: ANN401 - a transport, or its connection
    # SDK 11.3 trips over an assertion of websockets 16 when the server hangs up politely during
    # a request: its receiver dies, the request hangs, and closing raises the same again.
    with contextlib.suppress(*_ODD_ERRORS):
        async with asyncio.timeout(_END_SECONDS):
            await broken.close()
