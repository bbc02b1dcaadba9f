"""The nonce store on disk: atomic over processes, over restarts, and bounded."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import StoreError
from protocol.nonce_store import RETENTION_SECONDS, SqliteNonceStore

NS = 1_000_000_000
_RACER = """
import sys
from pathlib import Path
from protocol.nonce_store import SqliteNonceStore
store = SqliteNonceStore(Path(sys.argv[1]))
sys.stdin.readline()
print(sum(store.check_and_store("5F", nonce) for nonce in range(300)))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nonces.sqlite3"


def test_a_pair_is_taken_once(path: Path) -> None:
    store = SqliteNonceStore(path)

    assert store.check_and_store("5F", 1)
    assert not store.check_and_store("5F", 1)
    assert store.check_and_store("5F", 2)
    assert store.check_and_store("5G", 1)
    store.close()


def test_a_restart_forgets_nothing(path: Path) -> None:
    first = SqliteNonceStore(path)
    first.check_and_store("5F", 1)
    first.close()

    second = SqliteNonceStore(path)
    assert not second.check_and_store("5F", 1)
    second.close()


def test_processes_share_one_memory(path: Path) -> None:
    SqliteNonceStore(path).close()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    taken = [int(racer.communicate("go\n", timeout=60)[0]) for racer in racers]

    assert sum(taken) == 300


def test_what_has_expired_is_forgotten(path: Path) -> None:
    clock = [0]
    store = SqliteNonceStore(path, now_ns=lambda: clock[0])
    for nonce in range(1_000):
        store.check_and_store("5F", nonce)
    clock[0] = (RETENTION_SECONDS + 1) * NS
    for nonce in range(1_000, 1_256):
        store.check_and_store("5F", nonce)
    store.close()

    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT count(*) FROM btauth_nonces").fetchone()
    database.close()
    assert count <= 256


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot remember requests"):
        SqliteNonceStore(tmp_path / "nowhere" / "nonces.sqlite3")
