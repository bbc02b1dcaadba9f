"""The door to NVML with a real shared library, found by the loader."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from miner.nvml import mapped_library_digest
from tests.support.needs import need_program

SOURCE = Path(__file__).parents[1] / "support" / "nvml_library.c"
SCRIPT = """
import sys
from pathlib import Path
from miner.meter_command import run_meter_command
from miner.nvml import mapped_library_digest
status = run_meter_command(sys.argv[2:], output=Path(sys.argv[1]))
print(mapped_library_digest())
sys.exit(status)
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A `libnvidia-ml.so.1` in a folder of its own."""
    built = tmp_path / "libnvidia-ml.so.1"
    compiler = need_program("cc", "gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", built, SOURCE], check=True)
    return built


def test_a_library_that_the_loader_finds_is_metered(library: Path, tmp_path: Path) -> None:
    output = tmp_path / "energy.json"

    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(output), "sleep", "1"],
        env=os.environ | {"LD_LIBRARY_PATH": str(library.parent)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    record = json.loads(output.read_text())
    assert record["energy_joules"] == pytest.approx(100 * record["duration_seconds"], rel=0.01)
    assert record["devices"][0]["name"] == "SIMULATED in C"
    assert "trace_missing" in record["flags"]
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    assert finished.stdout == f"{digest}\n"


def test_without_a_mapped_library_there_is_no_digest() -> None:
    assert mapped_library_digest() is None
