"""The door to NVML with a real shared library, found by the loader."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from miner.meter_record import MeterRecord
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


def test_the_installed_command_meters_through_the_loader(library: Path) -> None:
    finished = run_meter({"LD_LIBRARY_PATH": str(library.parent)}, "sleep", "1")

    assert finished.returncode == 0
    record = json.loads(finished.stdout.splitlines()[-1])
    assert MeterRecord.model_validate(record).energy_joules == pytest.approx(
        100 * record["duration_seconds"], rel=0.01
    )


def test_without_a_library_the_command_says_what_to_install_and_runs_nothing(
    tmp_path: Path,
) -> None:
    if which("nvidia-smi"):
        pytest.skip("this machine has an NVIDIA driver")
    mark = tmp_path / "ran"

    finished = run_meter({}, "touch", str(mark))

    assert finished.returncode == 1
    assert "Install the NVIDIA driver" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not mark.exists()


def run_meter(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """`carbonbench-miner meter --json -- COMMAND`."""
    return subprocess.run(
        [sys.executable, "-m", "miner.cli", "meter", "--json", "--", *command],
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_a_mapped_library_there_is_no_digest() -> None:
    assert mapped_library_digest() is None
