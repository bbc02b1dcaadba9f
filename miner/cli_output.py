"""What the commands of the miner print and write."""

import json
import os
import tempfile
from pathlib import Path

from protocol.errors import ConfigurationError


def refuse_unwritable(output: Path) -> None:
    """Say before a run that its result could not be written.

    Raises:
        ConfigurationError: If the file's folder takes no file.
    """
    if not os.access(output.parent, os.W_OK) or output.is_dir():
        raise ConfigurationError(
            f"cannot write {output}", hint="Choose a file in a folder that you may write to."
        )


def write_whole(path: Path, content: str) -> None:
    """Write a file whole or not at all.

    Raises:
        ConfigurationError: If the disk does not take it.
    """
    scratch: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as partial:
            scratch = Path(partial.name)
            partial.write(content)
        scratch.replace(path)
    except OSError as error:
        if scratch is not None:
            scratch.unlink(missing_ok=True)
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}",
            hint="Make room on the disk, or choose another folder.",
        ) from error


def print_json(content: object) -> None:
    """Print JSON that a person can read too."""
    print(json.dumps(content, indent=2))
