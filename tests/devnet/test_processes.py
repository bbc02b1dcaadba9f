"""The demo's children end with it, whatever ends it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.devnet.processes import ChildError, Fleet, Program, free_port

_SLEEPS = "import time\ntime.sleep(600)\n"
_DEAF = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\n"
    "time.sleep(600)\n"
)
_PARENT = """
import asyncio, sys
from pathlib import Path
from scripts.devnet.processes import Fleet, Program

async def main():
    async with Fleet(Path(sys.argv[1])) as fleet:
        child = await fleet.start("sleeper", Program(module="sleeper"))
        print(child.pid, flush=True)
        await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


def _program(folder: Path, name: str, text: str, **environment: str) -> Program:
    """A module in the fleet's folder, as a program."""
    folder.joinpath(f"{name}.py").write_text(text)
    return Program(module=name, environment=environment)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _gone_within(pid: int, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while _is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


async def test_children_end_when_the_context_is_left(tmp_path: Path) -> None:
    async with Fleet(tmp_path) as fleet:
        program = _program(tmp_path, "sleeper", _SLEEPS)
        pids = [(await fleet.start(name, program)).pid for name in ("a", "b")]

        assert all(_is_running(pid) for pid in pids)

    assert not any(_is_running(pid) for pid in pids)


async def test_a_child_that_is_deaf_to_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.devnet.processes._GRACE_SECONDS", 0.3)
    async with Fleet(tmp_path) as fleet:
        child = await fleet.start("deaf", _program(tmp_path, "deaf", _DEAF))
        while not child.log_path.exists() or "deaf" not in child.log_path.read_text():
            await asyncio.sleep(0.05)

    assert not _is_running(child.pid)


async def test_a_child_that_ends_early_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with Fleet(tmp_path) as fleet:
        program = _program(tmp_path, "short", "raise SystemExit('no disk')\n")
        child = await fleet.start("short", program)
        await child.wait()

        with pytest.raises(
            ChildError, match=r"short ended with status 1:\n(.*\n)*no disk"
        ) as caught:
            fleet.check_alive()

    assert "short.log" in caught.value.hint


async def test_settings_of_the_user_do_not_reach_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINER_PORT", "1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    show = "import os; print(sorted(n for n in os.environ if n.startswith(('MINER_', 'DATABASE'))))"
    async with Fleet(tmp_path) as fleet:
        child = await fleet.start("show", _program(tmp_path, "show", show, MINER_DTYPE="float32"))
        await child.wait()

    assert child.log_path.read_text().strip() == "['MINER_DTYPE']"


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    _program(tmp_path, "sleeper", _SLEEPS)
    (tmp_path / "parent.py").write_text(_PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        stdout = parent.stdout
        pid = int(stdout.readline()) if stdout else 0
        os.kill(parent.pid, signal.SIGKILL)

    assert _gone_within(pid, 10)


def test_the_preferred_port_is_taken_when_it_is_free_and_another_when_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1]

        other = free_port(taken)

    assert other != taken
    assert free_port(other) == other


def test_no_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(1_000)]

    assert len(set(ports)) == len(ports)


def test_a_preferred_port_is_given_again() -> None:
    port = free_port()

    assert free_port(port) == port
