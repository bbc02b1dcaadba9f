"""`carbonbench-miner meter`: a command's own status and output, and its GPU energy."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pynvml
import pytest

from miner.meter_command import (
    MeteredCommand,
    meter_command,
    metered_json,
    render_text,
    run_meter_command,
)
from miner.meter_record import MeterRecord, schema_json
from miner.refusals import GpuLostError, MigEnabledError, NvmlMissingError
from protocol.errors import ConfigurationError
from protocol.units import Joules
from scripts.devnet.gpu.config import DeviceConfig, Fault, GpuConfig
from scripts.devnet.gpu.install import child_environment, simulated_gpus
from tests.support.metering import MeterBench, meter_bench
from tests.support.needs import need_distribution

PYTHON = sys.executable
SCHEMA_FILE = Path("docs/carbonbench-meter-1.schema.json")


def metered(run: Callable[[MeterBench], int], config: DeviceConfig | None = None) -> MeteredCommand:
    with meter_bench(*([config] if config else [])) as bench:

        def command(_: Sequence[str]) -> int:
            return run(bench)

        return meter_command(["train", "--fast"], bench.meter, command)


def busy(bench: MeterBench, status: int = 0) -> int:
    bench.load(400, 2.0)
    return status


def lose(bench: MeterBench, status: int = 0) -> int:
    bench.device.fail("nvmlDeviceGetFieldValues", code=pynvml.NVML_ERROR_GPU_IS_LOST)
    return busy(bench, status)


def test_a_command_gets_its_energy_and_keeps_its_status() -> None:
    result = metered(lambda bench: busy(bench, 3))

    record = metered_json(result)

    assert result.status == record["exit_status"] == 3
    assert record["energy_joules"] == pytest.approx(800, rel=1e-3)
    assert record["refusal"] is None


def test_the_json_has_the_documented_keys() -> None:
    document = Path("docs/measurement.md").read_text()
    record = metered_json(metered(busy))
    devices = record["devices"]
    assert isinstance(devices, list)

    named = [*record, *devices[0], "reason", "detail", "hint"]

    assert record["schema"] == "carbonbench-meter/1"
    assert [key for key in named if f"`{key}`" not in document] == []
    json.dumps(record)


def test_the_documented_schema_is_the_one_of_the_output() -> None:
    assert SCHEMA_FILE.read_text() == schema_json()


@pytest.mark.parametrize("edges", ["measured", "trace", "refused"])
def test_every_output_is_valid_under_the_schema(edges: str) -> None:
    unsupported = Fault(function="nvmlDeviceGetTotalEnergyConsumption", code=3)
    if edges == "refused":
        record = metered_json(metered(lose))
    else:
        config = DeviceConfig(faults=(unsupported,)) if edges == "trace" else None
        record = metered_json(metered(busy, config))

    written = json.loads(json.dumps(record))
    assert (
        MeterRecord.model_validate(written).model_dump(
            mode="json", by_alias=True, exclude_unset=True
        )
        == record
    )
    assert set(written) <= set(json.loads(SCHEMA_FILE.read_text())["properties"])
    assert ("energy_joules" in written) is (edges != "refused")


@dataclass
class Witness:
    """Another meter, which says what a test wants."""

    energy: Joules | None
    calls: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "codecarbon 0"

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> Joules | None:
        self.calls.append("stop")
        return self.energy


@pytest.mark.parametrize(
    ("energy", "ratio", "apart", "text"),
    [
        (12_120.0, 0.01, False, "(+1.00%)"),
        (13_200.0, 0.1, True, "(+10.00%)"),
        (None, None, None, "saw no energy"),
    ],
)
def test_a_witness_stands_beside_the_figure_and_never_changes_it(
    energy: float | None, ratio: float | None, apart: bool | None, text: str
) -> None:
    witness = Witness(None if energy is None else Joules(energy))
    with meter_bench() as bench:

        def train(_: Sequence[str]) -> int:
            bench.load(400, 30.0)
            return 0

        result = meter_command(["train"], bench.meter, train, witness)

    record = metered_json(result)
    told = record["witness"]
    assert isinstance(told, dict)
    assert witness.calls == ["start", "stop"]
    assert record["energy_joules"] == pytest.approx(12_000, rel=1e-3)
    assert told["ratio"] == (None if ratio is None else pytest.approx(ratio, abs=0.001))
    assert told["is_apart"] is apart
    assert text in render_text(result)


def test_a_short_window_is_not_held_against_the_witness() -> None:
    with meter_bench() as bench:
        result = meter_command(["x"], bench.meter, lambda _: busy(bench), Witness(Joules(900.0)))

    told = metered_json(result)["witness"]
    assert isinstance(told, dict)
    assert told["ratio"] == pytest.approx(0.125, abs=0.001)
    assert told["is_apart"] is None


def test_codecarbon_sees_the_same_gpu(tmp_path: Path) -> None:
    need_distribution("codecarbon")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    environment = os.environ | child_environment(
        GpuConfig(devices=(DeviceConfig(idle_watts=50), DeviceConfig(idle_watts=300)))
    )
    environment["PATH"] = f"{tmp_path}{os.pathsep}{environment['PATH']}"
    finished = subprocess.run(
        [PYTHON, "-m", "miner.cli", "meter", "--device", "1", "--witness", "--json", "--",
         "sleep", "2"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=90,
    )  # fmt: skip

    record = json.loads(finished.stdout.splitlines()[-1])
    assert record["energy_joules"] == pytest.approx(300 * record["duration_seconds"], rel=0.01)
    assert record["witness"]["name"].startswith("codecarbon 3.")
    assert record["witness"]["energy_joules"] == pytest.approx(record["energy_joules"], rel=0.15)


def test_the_text_names_device_energy_and_cross_check() -> None:
    text = render_text(metered(busy))

    assert "SIMULATED H100-like" in text
    assert "800." in text
    assert "W mean" in text
    assert "trace" in text


def test_a_refusal_after_the_run_is_told_beside_the_status() -> None:
    result = metered(lose)

    assert isinstance(result.refusal, GpuLostError)
    assert result.status == 1
    assert "energy_joules" not in metered_json(result)
    assert "gpu_lost" in render_text(result)


def test_a_failed_command_keeps_its_status_when_the_measurement_is_refused() -> None:
    assert metered(lambda bench: lose(bench, 7)).status == 7


def test_a_command_does_not_run_where_nothing_can_be_metered(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    with (
        simulated_gpus(GpuConfig(devices=(DeviceConfig(mig_enabled=True),))),
        pytest.raises(MigEnabledError),
    ):
        run_meter_command(["touch", str(trace)])

    assert not trace.exists()


def test_a_machine_without_nvml_is_told_what_to_install() -> None:
    fault = Fault(function="nvmlInitWithFlags", code=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    with simulated_gpus(GpuConfig(faults=(fault,))), pytest.raises(NvmlMissingError) as refused:
        run_meter_command(["true"])

    assert "NVIDIA driver" in refused.value.hint


def test_no_command_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no command"):
        run_meter_command([])


def test_a_real_command_passes_output_and_status_through(tmp_path: Path) -> None:
    output = tmp_path / "energy.json"
    finished = subprocess.run(
        [PYTHON, "-c", _DRIVER, str(output), "sh", "-c", "echo hello; sleep 0.4; exit 5"],
        env=os.environ | child_environment(GpuConfig(devices=(DeviceConfig(idle_watts=100),))),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    record = json.loads(output.read_text())
    assert finished.stdout == "hello\n"
    assert finished.returncode == record["exit_status"] == 5
    assert record["energy_joules"] == pytest.approx(100 * record["duration_seconds"], rel=0.02)
    assert "GPU energy of: sh -c" in finished.stderr


def test_an_unknown_command_ends_as_in_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    with simulated_gpus(GpuConfig(devices=(DeviceConfig(counter_tick_seconds=0.02),))):
        status = run_meter_command(["no-such-program-here"], as_json=True)

    assert status == 127
    assert "command not found" in capsys.readouterr().err


def test_a_request_to_end_reaches_the_command(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    script = f"trap 'exit 42' TERM; touch {marker}; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [PYTHON, "-c", _DRIVER, str(tmp_path / "energy.json"), "sh", "-c", script],
        env=os.environ | child_environment(GpuConfig()),
        stderr=subprocess.DEVNULL,
    )
    while not marker.exists():
        if process.poll() is not None:
            pytest.fail("the command did not start")
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=30) == 42


def test_an_unwritable_file_is_named(tmp_path: Path) -> None:
    with (
        simulated_gpus(GpuConfig(devices=(DeviceConfig(counter_tick_seconds=0.02),))),
        pytest.raises(ConfigurationError, match="cannot be written"),
    ):
        run_meter_command(["sleep", "0.2"], output=tmp_path / "missing" / "energy.json")


_DRIVER = """
import sys
from pathlib import Path
from miner.meter_command import run_meter_command
sys.exit(run_meter_command(sys.argv[2:], output=Path(sys.argv[1])))
"""
