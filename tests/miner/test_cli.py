"""The command line: what is printed, written and returned."""

import _thread
import contextlib
import errno
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from miner import engines, room
from miner.cli import run
from miner.engine import TransformersEngine
from miner.local_run import LocalRun
from miner.ports import Stamp, Watch
from miner.progress import run_with_progress
from miner.reporting import PromptRun, Task
from protocol.models import CATALOGUE
from protocol.wallet import create_dev_wallet
from scripts.devnet.gpu.config import DeviceConfig, GpuConfig, Source
from scripts.devnet.gpu.install import simulated_gpus
from tests.support.keys import ALICE
from tests.support.toy_model import save_toy_model

WORKING = GpuConfig(
    devices=(DeviceConfig(source=Source.WORK, watts_per_cpu_second=200.0, idle_watts=70.0),)
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_model(tmp_path_factory.mktemp("toy-model"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `miner.env` of the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C as a terminal has it: a job in the background starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def gpu() -> Iterator[None]:
    """A simulated GPU whose power follows this process's work."""
    with simulated_gpus(WORKING):
        yield


def measure(toy: Path, *options: str) -> int:
    fixed = ["--model", str(toy), "--prompt-set", "standin-short", "--quiet"]
    return run(["measure", *fixed, *options])


def test_a_run_on_a_simulated_gpu_is_labelled_so(
    toy: Path, gpu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    status = measure(toy, "--prompts", "15", "--json")

    found = json.loads(capsys.readouterr().out)
    assert status == 0
    assert (found["schema"], found["status"]) == ("carbonbench-measure/1", "simulated")
    assert found["energy"]["energy_joules"] > 0
    assert found["tokens"]["output"] == 150
    assert found["tokens"]["total"] == found["tokens"]["input"] + 150
    queries, total = (found[f"energy_wh_per_1k_{name}"] for name in ("queries", "total_tokens"))
    assert queries["low"] < queries["value"] < queries["high"]
    assert queries["value"] == pytest.approx(total["value"] * found["tokens"]["total"] / 15)
    assert found["workload"]["key"] == "aies-textgen-v1-smoke/plain/standin-v1-short:15/n10/b1"


def test_a_gpu_is_warmed_up_before_the_window_as_long_as_asked(
    toy: Path, gpu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    status = measure(toy, "--prompts", "15", "--warm-up", "0.5", "--json")

    shown = capsys.readouterr()
    assert status == 0
    assert "warm-up: " in shown.err
    assert "not steady yet" in shown.err
    assert json.loads(shown.out)["tokens"]["output"] == 150


@pytest.mark.parametrize("seconds", ["-1", "601", "soon"])
def test_a_warm_up_of_no_sensible_length_is_a_usage_error(toy: Path, seconds: str) -> None:
    assert measure(toy, "--prompts", "1", "--warm-up", seconds) == 2


def test_a_refused_energy_is_null_with_its_reason_and_the_run_still_counts(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = measure(toy, "--prompts", "1", "--json")  # far under a second: too short to estimate

    found = json.loads(capsys.readouterr().out)
    assert status == 0
    assert found["status"] == "refused"
    assert found["refusal"]["code"] == "estimate_failed"
    assert found["energy"] is None
    assert found["energy_wh_per_1k_output_tokens"] is None
    assert found["tokens"]["output"] == 10
    assert found["time"]["output_tokens_per_second"] > 0


@pytest.mark.parametrize("form", ["plain", "tagged"])
def test_equal_runs_give_equal_tokens(
    toy: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    digests = set()
    for threads in ("1", "2"):
        options = ["--json", "--form", form, "--threads", threads]
        assert measure(toy, "--prompts", "2", *options) == 0
        digests.add(json.loads(capsys.readouterr().out)["tokens"]["digest"])

    assert len(digests) == 1


def test_a_run_is_kept_plotted_verified_and_compared(
    toy: Path, tmp_path: Path, gpu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    create_dev_wallet("w", "h", tmp_path / "wallets", uri="//Alice")
    wallet = ["--wallet-name", "w", "--wallet-hotkey", "h", "--wallet-path", "wallets"]
    files = ["--output", "result.json", "--plot", "result.svg"]

    assert measure(toy, "--prompts", "15", "--json", *wallet, *files) == 0
    shown = json.loads(capsys.readouterr().out)
    assert run(["verify", "result.json", "--signed-by", ALICE.hotkey, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == shown
    assert (tmp_path / "result.svg").read_text().startswith("<?xml")

    assert measure(toy, "--prompts", "15", "--form", "tagged", "--output", "other.json") == 0
    assert run(["compare", "result.json", "other.json"]) == 0
    compared = capsys.readouterr().out
    assert "not ranked: the reports differ in workload" in compared
    assert f"result.json, signed by {ALICE.hotkey}" in compared
    assert "other.json, unsigned" in compared
    assert run(["verify", "other.json", "--signed-by", ALICE.hotkey]) == 1


def test_a_changed_report_is_refused(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_dev_wallet("w", "h", tmp_path / "wallets", uri="//Alice")
    wallet = ["--wallet-name", "w", "--wallet-hotkey", "h", "--wallet-path", "wallets"]
    assert measure(toy, "--prompts", "1", *wallet, "--output", "result.json") == 0
    text = (tmp_path / "result.json").read_text()
    (tmp_path / "result.json").write_text(text.replace('"parameters": ', '"parameters": 1'))

    assert run(["verify", "result.json"]) == 1
    assert run(["compare", "result.json", "result.json"]) == 1
    assert "signature does not match" in capsys.readouterr().err


def test_phases_and_batches_are_shown(
    toy: Path, gpu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--prompts", "60", "--batch-size", "4", "--phases", "--form", "tagged", "--json"]

    assert measure(toy, *options) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["workload"]["key"].endswith(":60/n10/b4")
    assert found["phases"]["prefill"]["value"] > 0


def test_a_comparison_needs_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "one.json"]) == 1
    assert "takes 2 to 26 reports, not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plot", "run.pdf"], "cannot plot to run.pdf"),
        (["--wallet-name", "none", "--wallet-path", "."], "none"),
        (["--engine", "vllm"], "vllm is not installed"),
        (["--batch-size", "0"], "a batch needs at least one prompt"),
    ],
)
def test_what_cannot_be_done_is_told_before_the_run(
    toy: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert measure(toy, "--prompts", "1", *options) == 1
    assert message in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_report(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_self: Path, _target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    status = measure(toy, "--prompts", "1", "--output", "result.json", "--plot", "result.png")

    assert status == 1
    assert "cannot write result.json: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_sigterm_in_the_window_voids_the_run(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Terminated(TransformersEngine):
        def run(self, task: Task, stamp: Stamp, watch: Watch) -> tuple[PromptRun, ...]:
            stamp()
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("the run went on")

    monkeypatch.setattr(engines, "TransformersEngine", Terminated)

    status = measure(toy, "--prompts", "3", "--output", "result.json")

    assert status == 143
    assert "the run is void, nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told_before_the_run(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(toy, "--prompts", "1", "--output", "nowhere/result.json") == 1
    assert "error: cannot write nowhere/result.json" in capsys.readouterr().err


def test_ctrl_c_ends_a_run_and_writes_nothing(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt = threading.Timer(1.5, _thread.interrupt_main)
    interrupt.start()

    status = measure(toy, "--prompts", "100000", "--output", "result.json")

    interrupt.cancel()
    assert status == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_ctrl_c_that_a_library_swallows_ends_the_run_at_the_next_prompt() -> None:
    class Swallowing:
        task = SimpleNamespace(workload=SimpleNamespace(prompt_count=3))

        def prepare(self, watch: Watch) -> None:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            watch(0)
            pytest.fail("the run went on")

    with pytest.raises(KeyboardInterrupt):
        run_with_progress(cast(LocalRun, Swallowing()), quiet=True)

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--model", "TOY", "--prompt-set", "no-such-file"], "no-such-file"),
        (["--model", "TOY", "--prompts", "0"], "at least one prompt"),
    ],
)
def test_what_is_missing_is_told_in_one_line_with_a_hint(
    toy: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    named = [str(toy) if option == "TOY" else option for option in options]

    status = run(["measure", *named, "--quiet"])

    error, *rest = capsys.readouterr().err.splitlines()
    assert status == 1
    assert error.startswith("error: ")
    assert message in error
    assert all(line.startswith("hint: ") for line in rest)


def test_any_command_is_metered_and_its_own_options_stay_its_own(gpu: None, tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import sys, time; time.sleep(0.5); sys.exit(3)", "--json"]

    status = run(["meter", "--output", "metered.json", "--", *program])

    written = json.loads((tmp_path / "metered.json").read_text())
    assert status == 3
    assert written["command"] == program
    assert written["energy_joules"] > 0


def test_metering_without_a_gpu_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["meter", "--", "true"]) == 1
    assert "hint: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["serve", "--no-such-flag"], ["measure"], ["measure", "x"]]
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_the_catalogue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    assert "HuggingFaceTB/SmolLM2-135M-Instruct  " in capsys.readouterr().out


def test_the_catalogue_is_listed_as_json_with_whole_commits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models", "list", "--json"]) == 0

    listed = json.loads(capsys.readouterr().out)
    revisions = {row["id"]: row["revision"] for row in listed}
    assert len(listed) == len(CATALOGUE)
    assert listed[0]["alias"] == "smollm2-135m"
    assert revisions["openai-community/gpt2"] == "607a30d783dfa663caf39e06633721c8d4cfcd7e"
    assert revisions["CohereLabs/aya-23-8B"] is None


def test_what_a_model_needs_is_told_before_it_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARBONBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(room, "free_disk_bytes", lambda _folder: 2**30)

    status = run(["models", "fetch", "meta-llama/Llama-3.1-8B"])

    told, gate, error, hint = capsys.readouterr().err.splitlines()
    assert status == 1
    assert told.startswith("meta-llama/Llama-3.1-8B at d04e592bb4f6 (llama3.1), class A:")
    assert "about 15317 MiB of disk, 18380 MiB of memory in bfloat16" in told
    assert gate.startswith("gated: accept its terms at https://huggingface.co/meta-llama/")
    assert "1024 MiB are free" in error
    assert hint.startswith("hint: Make room")


def test_a_miner_that_lacks_something_says_so_and_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINER_PROT", "1")
    options = ["--network", "devnet", "--endpoint", "ws://127.0.0.1:9", "--model", "no-such-model"]
    options += ["--port", "0", "--host", "127.0.0.1", "--data-dir", str(tmp_path / "data")]

    status = run(["check", "--json", *options, "--wallet-path", str(tmp_path)])

    found = json.loads(capsys.readouterr().out)
    state = {row["what"]: row["ok"] for row in found["rows"]}
    assert status == 1
    assert {what for what, ok in state.items() if not ok} == {"gpu", "models", "wallet", "chain"}
    assert all(row["hint"] for row in found["rows"] if not row["ok"])
    assert found["unknown"] == ["MINER_PROT"]
    assert found["settings"]["port"] == 0


def test_help_loads_none_of_the_heavy_parts() -> None:
    probe = (
        "import sys; from miner.cli import run; run(['--help']);"
        "heavy = {'torch', 'transformers', 'bittensor', 'fastapi', 'pydantic', 'structlog'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert "serve" in done.stdout
    assert done.stderr.strip() == "[]"


def test_a_missing_extra_is_named() -> None:
    probe = (
        "import sys; sys.modules['torch'] = None; from miner.cli import run;"
        "sys.exit(run(['measure', '--model', 'x']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "hint: pip install 'carbonbench[miner]'" in done.stderr
    assert "Traceback" not in done.stderr
