"""The runtime's metadata: types, storage keys, calls and error indices.

The bytes are the real chain's (`data/NOTICE`). One storage entry that SDK 11.3.0 reads and
that spec 461 lacks, `SubtensorModule.SubnetEpochConsensus`, is cloned from an entry of the
same shape, so that the unmodified SDK can set weights.
"""

import json
import lzma
from functools import cache
from importlib.resources import files
from typing import Any

import bittensor_core

SPEC_VERSION = 461
TRANSACTION_VERSION = 1
SS58_FORMAT = 42

_SUBTENSOR = "SubtensorModule"


class Runtime:
    """One runtime: SCALE encoding and decoding by the names of its metadata."""

    def __init__(self, metadata: bytes, *, spec_version: int = SPEC_VERSION) -> None:
        self.metadata = metadata
        self.spec_version = spec_version
        self.core = bittensor_core.Runtime(metadata, spec_version, TRANSACTION_VERSION, SS58_FORMAT)
        self.apis: dict[str, Any] = self.core.runtime_api_map()
        self._types = {
            entry["id"]: entry["type"] for entry in json.loads(self.core.registry_json())["types"]
        }
        self._pallets = {pallet["name"]: pallet for pallet in self.core.metadata_ir()["pallets"]}

    def module_error(self, pallet: str, name: str) -> dict[str, Any]:
        """A `DispatchError.Module` with the indices that the metadata gives to an error.

        Raises:
            KeyError: If the pallet has no error of that name.
        """
        entry = self._pallets[pallet]
        for error in entry["errors"]:
            if error["name"] == name:
                return {
                    "Module": {"index": entry["index"], "error": f"0x{error['index']:02x}000000"}
                }
        raise KeyError(f"{pallet}.{name}")

    def zero(self, type_name: str) -> bytes:
        """SCALE bytes of a type's smallest value: zeros, empty lists, first variants."""
        return self._zero(int(type_name.rsplit("::", 1)[1]))

    def zero_value(self, type_name: str) -> Any:
        """The same, decoded."""
        return self.core.decode(type_name, self.zero(type_name), True)

    def some_type(self, option_type: str) -> str:
        """The inner type of an `Option`."""
        variants = self._types[int(option_type.rsplit("::", 1)[1])]["def"]["variant"]["variants"]
        fields = next(variant["fields"] for variant in variants if variant["name"] == "Some")
        return f"scale_info::{fields[0]['type']}"

    def _zero(self, type_id: int) -> bytes:
        ((kind, shape),) = self._types[type_id]["def"].items()
        if kind in ("sequence", "compact", "bitsequence"):
            return b"\0"
        if kind == "primitive":
            return _zero_primitive(shape)
        if kind == "array":
            return self._zero(shape["type"]) * int(shape["len"])
        if kind == "tuple":
            return b"".join(self._zero(item) for item in shape)
        if kind == "composite":
            return b"".join(self._zero(field["type"]) for field in shape.get("fields", []))
        first = min(shape["variants"], key=lambda variant: int(variant["index"]))
        fields = b"".join(self._zero(field["type"]) for field in first.get("fields", []))
        return bytes([first["index"]]) + fields


def load_raw_metadata() -> bytes:
    """The metadata as the chain published it (V15, spec 461)."""
    packed = files("scripts.devnet.chain").joinpath("data/metadata-v15-spec461.xz").read_bytes()
    return lzma.decompress(packed)


@cache
def load_runtime() -> Runtime:
    """The runtime that every devnet chain of this process shares (it is immutable)."""
    metadata = load_raw_metadata()
    return Runtime(_clone_entry(metadata, _SUBTENSOR, "Yuma3On", "SubnetEpochConsensus"))


def upgraded_runtime(spec_version: int, *, complete: bool = True) -> Runtime:
    """The runtime under another version number, as after an upgrade of the chain.

    Args:
        spec_version: Its number.
        complete: Whether it has the storage item that SDK 11.3 needs for timelocked weights.
    """
    metadata = load_runtime().metadata if complete else load_raw_metadata()
    return Runtime(metadata, spec_version=spec_version)


def compact(value: int) -> bytes:
    """SCALE compact encoding of an integer below 2^30."""
    if value < 1 << 6:
        return bytes([value << 2])
    if value < 1 << 14:
        return (value << 2 | 1).to_bytes(2, "little")
    return (value << 2 | 2).to_bytes(4, "little")


def _zero_primitive(name: str) -> bytes:
    if name in ("bool", "str"):
        return b"\0"
    if name == "char":
        return b"\0" * 4
    return b"\0" * (int(name[1:]) // 8)


def _read_compact(data: bytes, at: int) -> tuple[int, int]:
    mode = data[at] & 3
    if mode == 0:
        return data[at] >> 2, at + 1
    size = 2 if mode == 1 else 4
    return int.from_bytes(data[at : at + size], "little") >> 2, at + size


def _skip_bytes(data: bytes, at: int) -> int:
    length, at = _read_compact(data, at)
    return at + length


def _skip_entry(data: bytes, at: int) -> int:
    """Offset after one `StorageEntryMetadata` (frame-metadata V15)."""
    at = _skip_bytes(data, at) + 1  # name, modifier
    is_map = data[at]
    at += 1
    if is_map:
        at = _skip_bytes(data, at)  # one byte for each hasher
        _, at = _read_compact(data, at)  # key type
    _, at = _read_compact(data, at)  # value type
    at = _skip_bytes(data, at)  # default value
    lines, at = _read_compact(data, at)
    for _ in range(lines):
        at = _skip_bytes(data, at)
    return at


def _clone_entry(metadata: bytes, pallet: str, source: str, name: str) -> bytes:
    """The metadata with one storage entry copied under a new name."""
    label = compact(len(pallet)) + pallet.encode()
    # A pallet is its name, Some(storage), and the storage prefix: the name again.
    start = metadata.index(label + b"\x01" + label) + 2 * len(label) + 1
    count, at = _read_compact(metadata, start)
    entries = at
    for _ in range(count):
        length, text = _read_compact(metadata, at)
        end = _skip_entry(metadata, at)
        if metadata[text : text + length].decode() == source:
            copy = compact(len(name)) + name.encode() + metadata[text + length : end]
            return metadata[:start] + compact(count + 1) + copy + metadata[entries:]
        at = end
    raise KeyError(f"{pallet}.{source}")
