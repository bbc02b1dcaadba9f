"""A lock per GPU, so that two miners on one machine never meter the same board.

Two runs at once would each find the other's process on the GPU and refuse their windows, round
after round. The lock says so at the start, with a hint, and the kernel frees it when its holder
ends, however it ends.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from protocol.errors import ConfigurationError

_SHARED_FOLDER = Path("/run/lock")
"""Where the Filesystem Hierarchy Standard 3.0 (3.15.1) puts locks; any user may write there."""


def lock_folder(wanted: Path | None = None) -> Path:
    """The folder of the locks: the wanted one, else the system's, else that of temporary files."""
    if wanted is not None:
        return wanted.expanduser()
    return _SHARED_FOLDER if os.access(_SHARED_FOLDER, os.W_OK) else Path(tempfile.gettempdir())


@contextmanager
def locked_gpus(uuids: Sequence[str], folder: Path) -> Iterator[None]:
    """Hold the GPUs for this process.

    Args:
        uuids: The boards, as NVML names them.
        folder: Folder that all miners of the machine share.

    Raises:
        ConfigurationError: If another miner holds one, or the folder takes no lock.
    """
    with ExitStack() as stack:
        for uuid in sorted(set(uuids)):  # in one order, so that two miners never wait in a ring
            handle = _opened(folder / f"carbonbench-{uuid}.lock")
            stack.callback(os.close, handle)
            _hold(handle, uuid)
        yield


def _opened(path: Path) -> int:
    """The lock's file, made if need be.

    An existing one is opened for reading: under `fs.protected_regular` nobody may create another
    user's file anew in a folder for all, and a lock needs no more.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"cannot lock the GPU with {path}: {error.strerror}",
            hint="Name a folder that this user may write to with MINER_LOCK_DIR.",
        ) from error


def _hold(handle: int, uuid: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            f"another miner uses the GPU {uuid}",
            hint="Give each miner boards of its own with MINER_GPUS and CUDA_VISIBLE_DEVICES.",
        ) from error
