"""Who may import whom, and what a start may cost."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("bittensor", "codecarbon", "fastapi", "numpy", "sqlalchemy", "torch", "transformers")
ROLES = ("miner", "validator", "api")

_PROBE = """
import sys
{statement}
print(",".join(sorted(name for name in {names!r} if name in sys.modules)))
"""


def loaded_after(statement: str, names: tuple[str, ...]) -> str:
    """Which of some modules a fresh interpreter holds after a statement, joined by commas."""
    probe = _PROBE.format(statement=statement, names=names)
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_contracts_of_import_linter_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_an_api_host_loads_neither_torch_nor_the_chain_sdk() -> None:
    names = ("torch", "transformers", "pynvml", "bittensor", "codecarbon")

    assert loaded_after("import api.app", names) == ""


@pytest.mark.parametrize("role", ROLES)
def test_a_command_line_is_light_to_import(role: str) -> None:
    assert loaded_after(f"import {role}.cli", HEAVY) == ""


@pytest.mark.parametrize("role", ROLES)
def test_help_comes_at_once(role: str) -> None:
    command = [sys.executable, "-m", f"{role}.cli", "--help"]
    environment = {**os.environ, "COLUMNS": "100"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "check" in done.stdout
    # Half a second on a free machine. Processor time, because tests share theirs with others;
    # torch alone would take several seconds of it.
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 1.0


@pytest.mark.parametrize("role", ROLES)
def test_importing_a_role_changes_nothing_outside(role: str) -> None:
    assert loaded_after(f"import {role}", (*HEAVY, "protocol.signing")) == ""
