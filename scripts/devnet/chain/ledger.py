"""Storage: SCALE values by storage key, versioned by block.

A value read at block n is the newest version written at or before n, so a client that pins
several reads to one block hash sees one state even while blocks go on.
"""

import copy
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from typing import Any

from scripts.devnet.chain.metadata import Runtime

RETAINED_BLOCKS = 256
"""Blocks whose state can be read; Substrate's own default for a node that is no archive."""

_Version = tuple[int, bytes | None]


@dataclass(slots=True)
class Ledger:
    """The chain's key-value state, and its recent past."""

    runtime: Runtime
    block: int = 0
    """The block that writes belong to."""
    _versions: dict[str, list[_Version]] = field(default_factory=dict)
    _keys: list[str] = field(default_factory=list)

    def key(self, pallet: str, item: str, *params: object) -> str:
        """Storage key (`0x` hex) of an item, or the prefix when parameters are left out."""
        return "0x" + bytes(self.runtime.core.storage_key(pallet, item, list(params))).hex()

    def put(self, pallet: str, item: str, *params: object, value: object) -> None:
        """Write one item at the current block."""
        entry = self.runtime.core.storage_entry(pallet, item)
        encoded = bytes(self.runtime.core.encode(entry.value_type, value))
        self.put_raw(self.key(pallet, item, *params), encoded)

    def put_raw(self, key: str, value: bytes | None) -> None:
        """Write encoded bytes, or remove the key with None."""
        versions = self._versions.get(key)
        if versions is None:
            versions = self._versions[key] = []
            insort(self._keys, key)
        if versions and versions[-1][0] == self.block:
            versions.pop()
        versions.append((self.block, value))
        oldest = bisect_right(versions, self.block - RETAINED_BLOCKS, key=lambda v: v[0]) - 1
        if oldest > 0:
            del versions[:oldest]

    def remove(self, pallet: str, item: str, *params: object) -> None:
        """Delete one item at the current block."""
        self.put_raw(self.key(pallet, item, *params), None)

    def get(self, pallet: str, item: str, *params: object) -> Any:
        """One item now; its default, or None where it is optional, when nothing is stored."""
        entry = self.runtime.core.storage_entry(pallet, item)
        raw = self.read_raw(self.key(pallet, item, *params))
        if raw is None:
            if entry.modifier == "Optional":
                return None
            raw = bytes(entry.default_bytes)
        return self.runtime.core.decode(entry.value_type, raw, True)

    def read_raw(self, key: str, block: int | None = None) -> bytes | None:
        """Encoded bytes of a key at a block (now by default), or None."""
        versions = self._versions.get(key)
        if not versions:
            return None
        if block is None:
            return versions[-1][1]
        index = bisect_right(versions, block, key=lambda version: version[0]) - 1
        return versions[index][1] if index >= 0 else None

    def keys(self, prefix: str, *, after: str | None, count: int, block: int) -> list[str]:
        """Up to `count` existing keys under a prefix, in order, after a given key."""
        found: list[str] = []
        start = after if after is not None and after > prefix else prefix
        for key in self._keys[bisect_left(self._keys, start) :]:
            if not key.startswith(prefix) or len(found) >= count:
                break
            if key != after and self.read_raw(key, block) is not None:
                found.append(key)
        return found

    def return_to(self, block: int) -> None:
        """Forget what was written after a block."""
        for key, history in list(self._versions.items()):
            del history[bisect_right(history, block, key=lambda version: version[0]) :]
            if not history:
                del self._versions[key]
                del self._keys[bisect_left(self._keys, key)]
        self.block = block

    def copied(self) -> "Ledger":
        """An independent copy, for a snapshot."""
        versions = {key: copy.copy(history) for key, history in self._versions.items()}
        return Ledger(self.runtime, self.block, versions, list(self._keys))
