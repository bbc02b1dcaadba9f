"""What a test needs from the machine, and how it says that the machine lacks it.

On a developer's machine such a test is skipped with a reason that starts with `MISSING`; with
`CARBONBENCH_REQUIRE_ALL=1` (continuous integration) `tests/conftest.py` turns these skips
into failures, so that nothing is left out without anybody noticing.
"""

import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

MISSING = "missing: "
"""Start of every skip reason that continuous integration refuses."""

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def skip_missing(what: str) -> NoReturn:
    """Skip the test for want of something that can be installed.

    Args:
        what: The thing that is missing, and how to get it if that is not obvious.
    """
    pytest.skip(MISSING + what)


def need_program(*names: str) -> Path:
    """Path of the first of some programs that is installed."""
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    skip_missing(f"the program {names[0]}")


def need_postgres() -> Path:
    """Folder with PostgreSQL's server programs (`initdb`, `pg_ctl`, `postgres`)."""
    for folder in _postgres_folders():
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    skip_missing("a PostgreSQL server (Debian package postgresql)")


def need_chromium() -> Path:
    """Path of Chromium."""
    return need_program(*_CHROMIUM_NAMES)


def need_npm() -> Path:
    """Path of npm."""
    return need_program("npm")


def need_distribution(name: str) -> str:
    """Version of an installed Python distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        skip_missing(f"the Python distribution {name}")


def need_gpu() -> None:
    """An NVIDIA GPU. Nobody can install one, so continuous integration goes without."""
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("no NVIDIA GPU")


def _postgres_folders() -> list[Path]:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return [*versions, *on_path]
