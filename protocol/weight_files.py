"""What weight files say of themselves: how many parameters, how many bytes.

Reads the headers of safetensors files only: eight bytes of length, then JSON with the shape of
each tensor (safetensors format, "Format").
"""

import json
from math import prod
from pathlib import Path

from protocol.errors import WorkloadError

_LENGTH_BYTES = 8
_HEADER_MAX_BYTES = 100_000_000
"""The format's own limit."""


def parameter_count(folder: Path) -> int:
    """Numbers in all tensors of a folder's safetensors files; shared tensors are stored once.

    Of weights that are packed several to a byte, the bytes are counted.

    Raises:
        WorkloadError: If there are no weights, or a file is damaged.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WorkloadError(f"no weights in {folder}", hint="Fetch the model first.")
    return sum(map(_numbers, files))


def _numbers(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            if not 0 < length <= min(_HEADER_MAX_BYTES, file.stat().st_size):
                raise ValueError("its header has no sensible length")
            header = json.loads(stream.read(length))
        tensors = [row for name, row in header.items() if name != "__metadata__"]
        return sum(prod(row["shape"]) for row in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkloadError(
            f"the weights {file.name} in {file.parent} are damaged: {error}",
            hint="Fetch the model again, then verify it.",
        ) from error
