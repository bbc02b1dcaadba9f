"""The long run: HTTP server and scheduled refresh in one event loop, with a graceful stop.

Further processes may answer beside this one (`api.workers`): it tells them of each refresh, and
stops them with itself.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from granian.constants import Interfaces
from granian.server.embed import Server
from starlette.types import ASGIApp

from api.app import Application
from api.callers import Callers
from api.keys import KeyRing
from api.metrics import Metrics
from api.refresh import Sources, refresh
from api.release import Holder
from protocol.errors import ConfigurationError, Error

GRACE_SECONDS = 5
START_SECONDS = 10
KEYS_SECONDS = 10.0
"""From giving or revoking a key to its effect, at most."""

_COLLECT_AFTER = (5_000, 20, 1_000)
"""Allocations, young and middle collections; Python's own numbers are 700, 10 and 10."""
_SWITCH_SECONDS = 0.001
"""Python's own value is 5 ms, which an answer waits for several times."""

log = structlog.get_logger(__name__)


def free_port(host: str, port: int) -> int:
    """The port to serve on, found free before anything slow is done; 0 picks one.

    The server shares its port with others that ask for that (SO_REUSEPORT), so that a second
    start would silently take half of the requests: this asks without sharing.

    Raises:
        ConfigurationError: If the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
            return int(probe.getsockname()[1])
    except OSError as fault:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {fault.strerror}",
            hint="Stop the other program, or choose another port with --port or API_PORT.",
        ) from fault


def build_server(app: ASGIApp, host: str, port: int) -> Server:
    """The HTTP server: parsing and sockets in granian's own threads, answers in this loop."""
    logging.getLogger("_granian").setLevel(logging.ERROR)
    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
    )


class Others(Protocol):
    """Further processes that answer on the same port."""

    def tell(self) -> None:
        """Let them know that a refresh has ended; returns at once."""
        ...

    async def keep(self) -> None:
        """Have them run until they are stopped, and return when all have ended."""
        ...

    def stop(self) -> None:
        """Let them finish the requests under way, for a while."""
        ...

    def kill(self) -> None:
        """End them at once."""
        ...


class Alone:
    """`Others` of a process that answers by itself."""

    def tell(self) -> None:
        """Nobody is told."""

    async def keep(self) -> None:
        """Nobody is kept."""

    def stop(self) -> None:
        """Nobody is stopped."""

    def kill(self) -> None:
        """Nobody is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may ask, as the keys say that are given and revoked meanwhile."""

    callers: Callers
    keys: KeyRing

    async def read_keys_once(self) -> None:
        """Learn of keys that were given or revoked; the known ones hold while that fails."""
        try:
            self.callers.replace_keys(await asyncio.to_thread(self.keys.all_keys))
        except Error as fault:
            log.error("keys not read", detail=str(fault), hint=fault.hint)

    async def read_keys_for_ever(self) -> None:
        """Pause, read the keys, and so on."""
        while True:
            await asyncio.sleep(KEYS_SECONDS)
            await self.read_keys_once()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep(Admission):
    """What is renewed while the server answers."""

    sources: Sources
    holder: Holder
    metrics: Metrics
    refresh_seconds: float
    others: Others = field(default_factory=Alone)

    async def refresh_once(self) -> None:
        """One refresh; a fault of ours is logged and shown in `/readyz`, and answers go on."""
        now, started = self.holder.now(), time.perf_counter()
        try:
            await refresh(self.sources, self.holder, now)
        except Error as fault:
            log.error("refresh failed", detail=str(fault), hint=fault.hint)
            self.holder.failed(str(fault))
            outcome = "failed"
        else:
            self.holder.succeeded(now)
            outcome = "ok"
        self.metrics.refreshed(outcome=outcome, seconds=time.perf_counter() - started)
        self.others.tell()

    async def refresh_for_ever(self) -> None:
        """Pause, refresh, and so on."""
        while True:
            await asyncio.sleep(self.refresh_seconds)
            await self.refresh_once()


async def serve(
    app: Application, host: str, port: int, upkeep: Upkeep, announce: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; the first refresh is done before the first answer.

    Args:
        app: The application over the upkeep's holder.
        host: Address to listen on.
        port: Port to listen on, free (`free_port`).
        upkeep: What is renewed meanwhile.
        announce: Told the base URL once answers are served.
    """
    await upkeep.read_keys_once()
    await upkeep.refresh_once()
    repeating = (upkeep.refresh_for_ever(), upkeep.read_keys_for_ever())
    await answer(app, host, port, repeating, announce, upkeep.others)


async def answer(
    app: Application,
    host: str,
    port: int,
    repeating: Sequence[Coroutine[Any, Any, None]],
    announce: Callable[[str], None],
    others: Others,
) -> None:
    """Answer until SIGINT or SIGTERM, beside what is repeated meanwhile."""
    _spare_answers()
    server = build_server(app.front, host, port)
    serving = asyncio.create_task(server.serve())
    _stop_on_signals(server, serving, others)
    tasks = [asyncio.create_task(each) for each in repeating]
    keeping = asyncio.create_task(others.keep())
    try:
        await _until_it_answers(host, port, serving)
        announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        for task in tasks:
            task.cancel()
        others.stop()
        await asyncio.gather(*tasks, keeping, return_exceptions=True)


def _spare_answers() -> None:
    """Keep what is done beside the answers from holding them up.

    A full collection looks at every row there is and stops all threads meanwhile: what is loaded
    by now stays for good and is left out, and what refreshes leave behind is rarely looked at, as
    releases hold no cycles. A refresh hands the interpreter over every millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    sys.setswitchinterval(_SWITCH_SECONDS)


def _stop_on_signals(server: Server, serving: asyncio.Task[None], others: Others) -> None:
    """The first signal lets requests under way finish, for a while; a second does not."""
    loop = asyncio.get_running_loop()

    def stop_now() -> None:
        # The server's own thread may still report its end to a task that waits no more.
        loop.set_exception_handler(lambda _loop, _context: None)
        serving.cancel()
        others.kill()

    def stop() -> None:
        if server.interrupt_signal:
            stop_now()
            return
        server.interrupt_signal = True
        server.main_loop_interrupt.set()
        others.stop()
        loop.call_later(GRACE_SECONDS, stop_now)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


async def _until_it_answers(host: str, port: int, serving: asyncio.Task[None]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not serving.done() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(_reachable(host), port)
            writer.close()
            return
        await asyncio.sleep(0.02)


def _reachable(host: str) -> str:
    """Where this machine finds what listens on all of its addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
