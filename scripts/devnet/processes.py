"""The demo's child processes: started together, watched, and surely ended.

Each child is a process of its own, forked from a server that has the heavy imports done
(multiprocessing's forkserver): torch and transformers take seconds of a core, and six parts
would pay them at once. It runs a module as `python -m` would, in its own session, and watches the
demo, so that even a killed one leaves no process and no port behind.
"""

import asyncio
import contextlib
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from protocol.errors import Error

_GRACE_SECONDS = 8.0
_POLL_SECONDS = 0.05
_TAIL_LINES = 12
_PORT_ATTEMPTS = 100
_given_ports: set[int] = set()
_SETTINGS_PREFIXES = ("MINER_", "VALIDATOR_", "API_", "DATABASE_URL")
"""The user's own settings, which must not leak into the demo's parts."""
_CONTEXT = multiprocessing.get_context("forkserver")


class ChildError(Error):
    """A child process ended before its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child runs."""

    module: str
    """Run as `python -m` would."""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the parent's environment, less the user's own settings of the parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One running part of the network."""

    name: str
    program: Program
    process: ForkServerProcess
    log_path: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid or 0

    def check_alive(self) -> None:
        """Raise if the process has ended.

        Raises:
            ChildError: With the last lines of its log.
        """
        if self.process.exitcode is not None:
            tail = "\n".join(self._tail()) or "(no output)"
            message = f"{self.name} ended with status {self.process.exitcode}:\n{tail}"
            raise ChildError(message, hint=f"Its whole log is {self.log_path}.")

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        while self.process.exitcode is None:
            await asyncio.sleep(_POLL_SECONDS)
        return self.process.exitcode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to whatever it has started."""
        if self.process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
                os.killpg(self.pid, number)

    def _tail(self) -> list[str]:
        return self.log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]


@dataclass(slots=True)
class Fleet:
    """All children of one demo; leaving the context ends them."""

    log_folder: Path
    children: list[Child] = field(default_factory=list)

    async def __aenter__(self) -> "Fleet":
        self.log_folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, name: str, program: Program) -> Child:
        """Start one part in the log folder, its output in `<name>.log` there."""
        log_path = self.log_folder / f"{name}.log"
        environment = {**_inherited(), **program.environment}
        process = _CONTEXT.Process(
            target=_run,
            args=(program.module, tuple(program.arguments), environment, log_path),
            name=name,
        )
        await asyncio.to_thread(process.start)
        child = Child(name=name, program=program, process=process, log_path=log_path)
        self.children.append(child)
        return child

    def check_alive(self) -> None:
        """Raise `ChildError` if any part has ended."""
        for child in self.children:
            child.check_alive()

    async def stop(self) -> None:
        """Ask every part to end, and end what does not within the grace time."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in reversed(self.children):
                child.signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_SECONDS):
                    for child in self.children:
                        await child.wait()
        self.children.clear()


def import_early(*modules: str) -> None:
    """Name modules that all children share; counts if no child was started before."""
    _CONTEXT.set_forkserver_preload(list(modules))


def free_port(preferred: int = 0) -> int:
    """A free loopback port: the preferred one if it is free, else one that was not given before.

    The port is free now; the part that is told to use it says so if it no longer is. Parts start
    side by side, so the kernel would give the port of one that does not listen yet once more.
    """
    for port in (preferred, *[0] * _PORT_ATTEMPTS):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found = int(probe.getsockname()[1])
            if port or found not in _given_ports:
                _given_ports.add(found)
                return found
    raise ChildError("no free port on 127.0.0.1", hint="Close some programs and try again.")


def _inherited() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS_PREFIXES)
    }


def _run(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], log_path: Path
) -> None:
    """In the child: become the program."""
    os.setsid()
    threading.Thread(target=_end_with_demo, daemon=True).start()
    _redirect_output(log_path)
    os.chdir(log_path.parent)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(log_path.parent))
    sys.argv = [module, *arguments]
    _see_simulated_gpu()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_demo() -> None:
    demo = multiprocessing.parent_process()
    if demo is not None:
        demo.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)


def _redirect_output(log_path: Path) -> None:
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor, open for good
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - the same
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 - the same


def _see_simulated_gpu() -> None:
    """What `sitecustomize` does in a process that was not forked."""
    from scripts.devnet.gpu.install import (  # noqa: PLC0415 - in the child alone
        ENVIRONMENT_VARIABLE,
        install_from_environment,
    )

    if ENVIRONMENT_VARIABLE in os.environ:
        install_from_environment()
