"""Further processes that answer on the same port, from what the first one tells them.

The first process alone asks sources and writes releases. It starts the others, tells each of
every refresh, starts again what ends, and stops all with itself. A worker hears pickles on its
standard input: its `Duty`, then a `Told` for each refresh. The end of that stream means that the
first process is gone. Each runs in a session of its own, so that a terminal's Ctrl-C reaches the
first one only, which lets the others finish.
"""

import asyncio
import contextlib
import os
import pickle
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import structlog

from api.release import Holder, Release
from api.schemas import SourceState
from api.serving import GRACE_SECONDS
from api.settings import Settings

FIRST_PAUSE_SECONDS = 1.0
"""Before a worker that ended is started again; twice that the next time, and so on."""
LONGEST_PAUSE_SECONDS = 60.0
Heard = TypeVar("Heard")
_COMMAND = (sys.executable, "-m", "api.cli_worker")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What a worker is for."""

    worker: int
    """Its number; the first process is 0."""
    port: int
    counts: Path
    """Folder where requests are counted (`api.metrics.share_counts`)."""
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the first process holds after a refresh."""

    release: bytes | None
    """Pickled; None where the figures are those that the worker holds."""
    sources: tuple[SourceState, ...]
    refreshed_at: datetime | None
    failure: str

    def put_into(self, holder: Holder) -> None:
        """Hold the same here."""
        release = pickle.loads(self.release) if self.release else holder.release  # noqa: S301 - our own process's
        if release is not None and release.sources != self.sources:
            release = release.with_sources(self.sources)
        if release is not None:
            holder.swap(release)
        if self.refreshed_at is not None:
            holder.succeeded(self.refreshed_at)
        if self.failure:
            holder.failed(self.failure)


def hear_for_ever(stream: BinaryIO, holder: Holder) -> None:
    """Hold what the first process tells, until it is gone. For a thread: it waits and unpickles."""
    while (told := heard(stream, Told)) is not None:
        told.put_into(holder)


def heard(stream: BinaryIO, kind: type[Heard]) -> Heard | None:
    """What comes next; None when the first process is gone, also in the middle of it."""
    try:
        found = pickle.load(stream)  # noqa: S301 - our own process's
    except (EOFError, pickle.UnpicklingError):
        return None
    return found if isinstance(found, kind) else None


def next_pause_seconds(pause_seconds: float, ran_seconds: float) -> float:
    """The pause after the one before: longer, unless the worker ran for long in between."""
    if ran_seconds >= LONGEST_PAUSE_SECONDS:
        return FIRST_PAUSE_SECONDS
    return min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)


class Workers:
    """The `Others` of the first process."""

    def __init__(self, holder: Holder, settings: Settings, port: int, counts: Path) -> None:
        """They are started by `keep`.

        Args:
            holder: What it holds is told to each.
            settings: How they answer, and how many processes there are with the first one.
            port: Port that all listen on.
            counts: Folder where all count their requests.
        """
        self._holder = holder
        self._duties = [
            Duty(worker=number, port=port, counts=counts, settings=settings)
            for number in range(1, settings.workers)
        ]
        self._running: dict[int, Process] = {}
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._pickling = asyncio.Lock()
        self._pickled: tuple[tuple[str, datetime], bytes] | None = None

    def tell(self) -> None:
        """Wake those that tell; each then tells of the newest state."""
        self._news.set()
        self._news = asyncio.Event()

    async def keep(self) -> None:
        """Have one worker for each duty; returns when they were stopped and have ended."""
        await asyncio.gather(*map(self._keep_one, self._duties))

    def stop(self) -> None:
        """Let them finish the requests under way, for a while."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self.kill)
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    def kill(self) -> None:
        """End them at once."""
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _keep_one(self, duty: Duty) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS / 2
        while not self._stopping.is_set():
            started = time.monotonic()
            ended = await self._run(duty)
            if self._stopping.is_set():
                return
            pause_seconds = next_pause_seconds(pause_seconds, time.monotonic() - started)
            log.error(
                "worker ended",
                worker=duty.worker,
                detail=ended,
                hint="The lines above say why; a kill without any is often for want of memory.",
                again_after_seconds=pause_seconds,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_seconds)

    async def _run(self, duty: Duty) -> str:
        """One process from start to end; how it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=PIPE, start_new_session=True, env=_environment()
            )
        except OSError as fault:
            return f"not started: {fault.strerror}"
        self._running[duty.worker] = process
        if self._stopping.is_set():
            process.terminate()
        telling = asyncio.create_task(self._tell_for_ever(process, duty))
        telling.add_done_callback(_complain)
        code = await process.wait()
        telling.cancel()
        del self._running[duty.worker]
        return f"process {process.pid} ended with {_named(code)}"

    async def _tell_for_ever(self, process: Process, duty: Duty) -> None:
        pipe = cast(asyncio.StreamWriter, process.stdin)
        pipe.write(pickle.dumps(duty))
        known = None
        while True:
            news, release = self._news, self._holder.release
            figures = _figures(release) if release else None
            told = Told(
                release=await self._bytes_of(release) if release and figures != known else None,
                sources=release.sources if release else (),
                refreshed_at=self._holder.refreshed_at,
                failure=self._holder.failure,
            )
            if pipe.is_closing():
                return
            pipe.write(pickle.dumps(told))
            await pipe.drain()
            known = figures
            await news.wait()

    async def _bytes_of(self, release: Release) -> bytes:
        """The release pickled, once for all workers."""
        async with self._pickling:
            figures = _figures(release)
            if self._pickled is None or self._pickled[0] != figures:
                self._pickled = (figures, await asyncio.to_thread(pickle.dumps, release))
            return self._pickled[1]


def _figures(release: Release) -> tuple[str, datetime]:
    """Names the figures, whatever the states of the sources."""
    return release.inputs_digest, release.computed_at


def _complain(telling: asyncio.Task[None]) -> None:
    """A fault of ours must not leave a worker with old figures and nobody the wiser."""
    fault = None if telling.cancelled() else telling.exception()
    if fault is not None and not isinstance(fault, ConnectionError):
        hint = "It answers from what it was told before: serve with one worker, and report this."
        log.error("worker not told", detail=repr(fault), hint=hint)


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _environment() -> dict[str, str]:
    """Ours, and the same modules: what lies in the working directory is not looked at."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
