"""The long run: HTTP server and scheduled refresh in one event loop, with a graceful stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import structlog
import uvicorn
from fastapi import FastAPI

from api.refresh import Sources, refresh
from api.release import Holder
from protocol.errors import ConfigurationError, Error

GRACE_SECONDS = 5

log = structlog.get_logger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything slow is done.

    Raises:
        ConfigurationError: If the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's delay off only where the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as fault:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {fault.strerror}",
            hint="Stop the other program, or choose another port with --port or API_PORT.",
        ) from fault
    return listener


async def serve(
    app: FastAPI,
    listener: socket.socket,
    sources: Sources,
    holder: Holder,
    *,
    refresh_seconds: float,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; the first refresh is done before the first answer.

    Args:
        app: The application over `holder`.
        listener: Where to listen.
        sources: What a refresh reads.
        holder: Where releases are put.
        refresh_seconds: Pause between two refreshes.
        announce: Told the base URL once answers are served.
    """
    await refresh_once(sources, holder)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="off",
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    repeating = asyncio.create_task(_repeat(sources, holder, refresh_seconds))
    host, port = listener.getsockname()[:2]
    announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    try:
        await server.serve(sockets=[listener])
    finally:
        repeating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await repeating
        listener.close()


class _Server(uvicorn.Server):
    """A server that leaves signals to us: uvicorn's own way ends by killing the process."""

    def stop(self) -> None:
        """Stop taking requests, finish those under way; a second call does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


async def refresh_once(sources: Sources, holder: Holder) -> None:
    """One refresh; a fault of ours is logged and shown in `/readyz`, and answers go on."""
    now = datetime.now(UTC)
    try:
        await refresh(sources, holder, now)
    except Error as fault:
        log.error("refresh failed", detail=str(fault), hint=fault.hint)
        holder.failed(str(fault))
    else:
        holder.succeeded(now)


async def _repeat(sources: Sources, holder: Holder, pause_seconds: float) -> None:
    while True:
        await asyncio.sleep(pause_seconds)
        await refresh_once(sources, holder)
