"""The demo's child processes: started together, watched, and surely ended.

Each child runs in its own process group and asks the kernel to be ended with its parent
(`PR_SET_PDEATHSIG`), so that even a killed demo leaves no process and no port behind.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocol.errors import Error

_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 8.0
_TAIL_LINES = 12
_SETTINGS_PREFIXES = ("MINER_", "VALIDATOR_", "API_", "DATABASE_URL")
"""The user's own settings, which must not leak into the demo's parts."""


class ChildError(Error):
    """A child process ended before its time."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One running part of the network."""

    name: str
    process: asyncio.subprocess.Process
    log_path: Path

    def check_alive(self) -> None:
        """Raise if the process has ended.

        Raises:
            ChildError: With the last lines of its log.
        """
        if self.process.returncode is not None:
            tail = "\n".join(self._tail()) or "(no output)"
            message = f"{self.name} ended with status {self.process.returncode}:\n{tail}"
            raise ChildError(message, hint=f"Its whole log is {self.log_path}.")

    def _tail(self) -> list[str]:
        return self.log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]


@dataclass(slots=True)
class Fleet:
    """All children of one demo; leaving the context ends them, last started first."""

    log_folder: Path
    children: list[Child] = field(default_factory=list)

    async def __aenter__(self) -> "Fleet":
        self.log_folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> Child:
        """Start one part in the log folder, its output in `<name>.log` there."""
        log_path = self.log_folder / f"{name}.log"
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log_folder,
                env={**_inherited(), **environment},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        child = Child(name=name, process=process, log_path=log_path)
        self.children.append(child)
        return child

    def check_alive(self) -> None:
        """Raise `ChildError` if any part has ended."""
        for child in self.children:
            child.check_alive()

    async def stop(self) -> None:
        """Ask every part to end, and end what does not within the grace time."""
        for child in reversed(self.children):
            _signal(child, signal.SIGTERM)
        waits = [asyncio.create_task(child.process.wait()) for child in self.children]
        if waits:
            await asyncio.wait(waits, timeout=_GRACE_SECONDS)
        for child in self.children:
            _signal(child, signal.SIGKILL)
        if waits:
            await asyncio.wait(waits, timeout=_GRACE_SECONDS)
        self.children.clear()


def free_port(preferred: int = 0) -> int:
    """A free loopback port: the preferred one if it is free, else any.

    The port is free now; the part that is told to use it says so if it no longer is.
    """
    for port in (preferred, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ChildError("no free port on 127.0.0.1", hint="Close some programs and try again.")


def _inherited() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS_PREFIXES)
    }


def _signal(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
