"""A private PostgreSQL server from the programs on this machine, for as long as it is needed.

The server refuses to run as root, so under root its programs run as an unprivileged user. It
listens on a socket in its own folder and on no network.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import need_postgres, need_program

_UNPRIVILEGED = ("postgres", "nobody")
_START_SECONDS = "60"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running server."""

    programs: Path
    folder: Path
    user: str

    def create_database(self, name: str) -> str:
        """A new, empty database; its URL."""
        options = ["--host", str(self.folder), "--username", "test"]
        run(self.user, [str(self.programs / "createdb"), *options, name])
        return f"postgresql://test@/{name}?host={self.folder}"


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server with fresh data; skips the test where there is none to run."""
    programs = need_postgres()
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="cb-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        server = PostgresServer(programs=programs, folder=folder, user=user)
        data = folder / "data"
        initdb = [str(programs / "initdb"), "--pgdata", str(data), "--username", "test"]
        run(user, [*initdb, "--auth", "trust", "--no-sync", "--encoding", "UTF8"])
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        control = [str(programs / "pg_ctl"), "--pgdata", str(data)]
        log = ["--log", str(folder / "log"), "--timeout", _START_SECONDS]
        run(user, [*control, *log, "--wait", "--options", options, "start"])
        try:
            yield server
        finally:
            run(user, [*control, "--wait", "--mode", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(user: str, command: Sequence[str]) -> None:
    """Run one of the server's programs as that user."""
    prefix = []
    if os.geteuid() == 0:
        prefix = [str(need_program("setpriv")), f"--reuid={user}", "--clear-groups", "--"]
    done = subprocess.run(
        [*prefix, *command],
        cwd="/",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}")


def _user() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)
