"""Which requests were taken, on disk: one memory for all worker processes of a node.

A request that one worker has taken is refused by every other, and after a restart too. SQLite
serialises the writers; entries are forgotten once their signature has expired.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from protocol.errors import StoreError

RETENTION_SECONDS = 60
"""Five times as long as btauth/1 lets a request live (12 s, clocks' skew included)."""
_LOCK_SECONDS = 5.0
_FORGET_EVERY = 256
_NS_PER_SECOND = 1_000_000_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS btauth_nonces (
    hotkey TEXT NOT NULL,
    nonce_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    PRIMARY KEY (hotkey, nonce_ns)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS btauth_expiry ON btauth_nonces (expires_ns);
"""


class SqliteNonceStore:
    """A `protocol.auth.NonceStore` in a file that several processes open.

    Args:
        path: The file, made if need be, on a local disk.
        now_ns: Wall clock (ns).

    Raises:
        StoreError: If it cannot be opened.
    """

    def __init__(self, path: Path, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._path, self._now_ns = path, now_ns
        self._lock = threading.Lock()
        self._taken = 0
        with self._errors():
            self._database = sqlite3.connect(
                path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_SCHEMA)

    def check_and_store(self, hotkey: str, nonce_ns: int) -> bool:
        """Keep a pair for a minute; False if it was there already. Atomic over all processes.

        Raises:
            StoreError: If the disk does not take it; then the request must not be taken either.
        """
        now = self._now_ns()
        row = (hotkey, nonce_ns, now + RETENTION_SECONDS * _NS_PER_SECOND)
        with self._lock, self._errors():
            if self._taken % _FORGET_EVERY == 0:
                self._database.execute("DELETE FROM btauth_nonces WHERE expires_ns <= ?", (now,))
            self._taken += 1
            done = self._database.execute(
                "INSERT OR IGNORE INTO btauth_nonces VALUES (?, ?, ?)", row
            )
            return done.rowcount == 1

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot remember requests in {self._path}: {error}",
                hint="The file must lie on a local disk that is not full.",
            ) from error
