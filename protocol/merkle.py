"""Merkle trees as RFC 6962 section 2.1 defines them (SHA-256, domain-separated).

Leaf hash is SHA-256(0x00 | data), node hash SHA-256(0x01 | left | right), the empty tree's
root is SHA-256 of nothing. Verification needs this file alone, so that a third party can
check a log without any package.
"""

import hashlib
from collections.abc import Iterable, Sequence

from protocol.errors import ProtocolError, RejectionCode
from protocol.ids import Digest

EMPTY_ROOT = hashlib.sha256(b"").digest()
_HASH_BYTES = 32


class MerkleProofError(ProtocolError):
    """A proof that does not lead to the stated root."""

    code = RejectionCode.COMMITMENT_MISMATCH


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf (32 bytes)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node (32 bytes)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree that keeps the hash of every complete subtree.

    Appending and proving cost O(log n) hashes; memory is 64 bytes a leaf.
    """

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for hashed in leaf_hashes:
            self.append_hash(hashed)

    @classmethod
    def of(cls, leaves: Iterable[bytes]) -> "MerkleTree":
        """The tree over leaf data (not yet hashed)."""
        return cls(leaf_hash(data) for data in leaves)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, data: bytes) -> None:
        """Add one leaf."""
        self.append_hash(leaf_hash(data))

    def append_hash(self, hashed: bytes) -> None:
        """Add one leaf by its leaf hash."""
        level = 0
        self._levels[0].append(hashed)
        while len(self._levels[level]) % 2 == 0:
            if level + 1 == len(self._levels):
                self._levels.append([])
            left, right = self._levels[level][-2:]
            self._levels[level + 1].append(node_hash(left, right))
            level += 1

    def root(self, size: int | None = None) -> bytes:
        """Root over the first `size` leaves; all of them by default.

        Raises:
            ValueError: If the tree is smaller than `size`.
        """
        size = self._checked(len(self) if size is None else size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Audit path of leaf `index` in the tree of `size` leaves (RFC 6962 2.1.1).

        Raises:
            ValueError: If there is no such leaf.
        """
        size = self._checked(len(self) if size is None else size)
        if not 0 <= index < size:
            raise ValueError(f"leaf {index} is not in a tree of {size}")
        return tuple(self._path(index, 0, size))

    def consistency_proof(self, old_size: int, size: int | None = None) -> tuple[bytes, ...]:
        """Proof that the first `old_size` leaves are a prefix (RFC 6962 2.1.2).

        Raises:
            ValueError: If `old_size` is not within 1 and `size`.
        """
        size = self._checked(len(self) if size is None else size)
        if not 0 < old_size <= size:
            raise ValueError(f"no consistency proof from {old_size} to {size}")
        return tuple(self._subproof(old_size, 0, size, whole=True))

    def _checked(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise ValueError(f"tree has {len(self)} leaves, asked for {size}")
        return size

    def _subtree(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1) == 0 and start % width == 0:
            return self._levels[width.bit_length() - 1][start // width]
        middle = start + _split(width)
        return node_hash(self._subtree(start, middle), self._subtree(middle, end))

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + _split(end - start)
        if index < middle:
            return [*self._path(index, start, middle), self._subtree(middle, end)]
        return [*self._path(index, middle, end), self._subtree(start, middle)]

    def _subproof(self, old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if old == end:
            return [] if whole else [self._subtree(start, end)]
        middle = start + _split(end - start)
        if old <= middle:
            return [
                *self._subproof(old, start, middle, whole=whole),
                self._subtree(middle, end),
            ]
        return [*self._subproof(old, middle, end, whole=False), self._subtree(start, middle)]


def merkle_root(leaves: Sequence[bytes]) -> Digest:
    """Root over leaf data, as hex."""
    return Digest(MerkleTree.of(leaves).root().hex())


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check an audit path (RFC 9162 section 2.1.3.2).

    Args:
        leaf: The leaf's hash (32 bytes).
        index: Its position, from 0.
        size: Leaves in the tree.
        proof: Sibling hashes, lowest first.
        root: The root that the path must lead to (32 bytes).

    Raises:
        MerkleProofError: If it does not.
    """
    _require_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise MerkleProofError(f"leaf {index} is not in a tree of {size}")
    node, last, hashed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise MerkleProofError("inclusion proof is too long")
        if node & 1 or node == last:
            hashed = node_hash(sibling, hashed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        node, last = node >> 1, last >> 1
    if last or hashed != root:
        raise MerkleProofError("inclusion proof does not lead to the root")


def verify_consistency(
    *, old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that one tree is a prefix of another (RFC 9162 section 2.1.4.2).

    Args:
        old_size: Leaves of the smaller tree; 0 is a prefix of everything.
        old_root: Its root (32 bytes).
        size: Leaves of the larger tree.
        root: Its root (32 bytes).
        proof: The consistency proof.

    Raises:
        MerkleProofError: If the larger tree is not an extension of the smaller one.
    """
    _require_hashes(old_root, root, *proof)
    if not 0 <= old_size <= size:
        raise MerkleProofError(f"the tree has shrunk from {old_size} to {size} leaves")
    if old_size in {0, size}:
        expected = EMPTY_ROOT if old_size == 0 else root
        if old_root != expected or proof:
            raise MerkleProofError("consistency proof does not lead to the old root")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise MerkleProofError("consistency proof is too short")
    if _folded(path, old_size - 1, size - 1) != (old_root, root):
        raise MerkleProofError("the larger tree is not an extension of the smaller one")


def _require_hashes(*hashes: bytes) -> None:
    """Two pieces of other lengths could join to the same 64 bytes."""
    if any(len(hashed) != _HASH_BYTES for hashed in hashes):
        raise MerkleProofError(f"every hash of a proof has {_HASH_BYTES} bytes")


def _folded(path: Sequence[bytes], node: int, last: int) -> tuple[bytes, bytes]:
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise MerkleProofError("consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise MerkleProofError("consistency proof is too short")
    return old, new


def _split(width: int) -> int:
    """The largest power of two smaller than `width` (RFC 6962's k)."""
    return 1 << ((width - 1).bit_length() - 1)
