"""The transparency log: an append-only RFC 6962 tree over the validator's signed entries.

The entries lie in the database; the tree over their leaf hashes is kept in memory (64 bytes a
leaf) and built anew at each start. Readers on other threads always see a whole state.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from protocol.errors import StoreError
from protocol.ids import Digest
from protocol.merkle import MerkleTree
from validator.database import store_errors
from validator.tables import EntryRow, HeadRow

PAGE_MAX_ENTRIES = 500
PAGE_MAX_BYTES = 8 * 1024 * 1024
"""A page ends early rather than grow beyond this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """That a leaf is in the tree of one size."""

    leaf: Digest
    root: Digest
    proof: tuple[str, ...]


class TransparencyLog:
    """The log as its readers see it.

    Args:
        engine: The database.

    Raises:
        StoreError: If the entries do not fit the newest tree head.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._leaves = self._leaf_hashes()
        self._tree = MerkleTree(self._leaves)
        self._ahead = MerkleTree(self._leaves)
        """The same tree, with what a round is about to append."""

    @property
    def size(self) -> int:
        """Entries in the log."""
        return len(self._tree)

    def grown(self, entries: Sequence[bytes]) -> tuple[int, Digest]:
        """Size and root with these entries appended; readers see nothing of it yet."""
        if len(self._ahead) != self.size:  # an earlier attempt did not reach the database
            self._ahead = MerkleTree(self._leaves)
        for data in entries:
            self._ahead.append(data)
        return len(self._ahead), Digest(self._ahead.root().hex())

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Append leaves that are in the database now."""
        with self._lock:
            for hashed in leaf_hashes:
                self._leaves.append(hashed)
                self._tree.append_hash(hashed)

    def head(self) -> bytes | None:
        """The newest signed tree head, as canonical bytes; None while the log is empty."""
        with store_errors(), Session(self._engine) as session:
            return session.scalar(select(HeadRow.data).order_by(HeadRow.size.desc()).limit(1))

    def entries(self, start: int, limit: int) -> list[bytes]:
        """Entries from a position on, as canonical bytes; fewer where they are large."""
        found = (
            select(EntryRow.data)
            .where(EntryRow.position >= start, EntryRow.position < start + limit)
            .order_by(EntryRow.position)
        )
        page: list[bytes] = []
        with store_errors(), Session(self._engine) as session:
            total = 0
            for data in session.scalars(found):
                total += len(data)
                if page and total > PAGE_MAX_BYTES:
                    break
                page.append(data)
        return page

    def inclusion(self, index: int, size: int) -> Inclusion:
        """Proof that a leaf is in the tree of that size.

        Raises:
            ValueError: If there is no such leaf or size.
        """
        with self._lock:
            proof = self._tree.inclusion_proof(index, size)
            return Inclusion(
                leaf=Digest(self._leaves[index].hex()),
                root=Digest(self._tree.root(size).hex()),
                proof=tuple(node.hex() for node in proof),
            )

    def consistency(self, old: int, new: int) -> tuple[str, ...]:
        """Proof that the tree of size `old` is a prefix of the one of size `new`.

        Raises:
            ValueError: If there are no such sizes.
        """
        with self._lock:
            return tuple(node.hex() for node in self._tree.consistency_proof(old, new))

    def _leaf_hashes(self) -> list[bytes]:
        found = (
            select(EntryRow.position, EntryRow.leaf_hash)
            .where(EntryRow.position.is_not(None))
            .order_by(EntryRow.position)
        )
        with store_errors(), Session(self._engine) as session:
            rows = session.execute(found).all()
            heads = session.scalar(select(HeadRow.size).order_by(HeadRow.size.desc()).limit(1))
        if [position for position, _ in rows] != list(range(heads or 0)):
            raise StoreError(
                f"the log has {len(rows)} entries, its newest head says {heads or 0}",
                hint="The database was changed by hand: restore it from a backup.",
            )
        return [hashed for _, hashed in rows]
