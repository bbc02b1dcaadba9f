"""The command line: exit statuses, one-line errors, the audit of an exported log."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from protocol.http_server import bind
from tests.support.simulator import SimulatedMiner
from tests.support.validator import Simulation
from validator.cli import execute
from validator.running import data_folder


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()  # `run` logs to this test's stderr


@pytest.fixture
def busy_port() -> Iterator[int]:
    with bind("127.0.0.1", 0, variable="VALIDATOR_PORT") as listener:
        yield int(listener.getsockname()[1])


def failed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a failing command prints on stderr."""
    assert execute(arguments) == 1
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert printed.startswith("error: ")
    return printed


def test_wrong_usage_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["audit"]) == 2
    assert execute(["no-such-command"]) == 2
    capsys.readouterr()


def test_migrate_says_from_where_to_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["migrate", "--data-dir", str(tmp_path / "data")]) == 0

    first = capsys.readouterr().out
    assert first.startswith("revision none -> 0")
    head = first.split()[-1]
    assert execute(["migrate", "--data-dir", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out == f"revision {head} -> {head}\n"


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    printed = failed(["migrate", "--data-dir", "/proc/none"], capsys)

    assert "cannot write to the data folder" in printed
    assert "hint: " in printed


def test_a_second_validator_on_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with data_folder(tmp_path / "data"):
        printed = failed(["run", "--network=devnet", f"--data-dir={tmp_path / 'data'}"], capsys)

    assert "another validator is running" in printed


def test_a_busy_port_is_one_line(
    tmp_path: Path, busy_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--network=devnet", f"--data-dir={tmp_path}", f"--port={busy_port}"]

    printed = failed(arguments, capsys)

    assert f"port {busy_port}" in printed
    assert "VALIDATOR_PORT" in printed


def test_a_missing_wallet_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--network=devnet", "--port=0", f"--data-dir={tmp_path}"]

    printed = failed([*arguments, f"--wallet-path={tmp_path}"], capsys)

    assert "no hotkey" in printed
    assert "btcli wallet new-hotkey" in printed


def test_a_bad_database_url_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://host/name")

    assert "DATABASE_URL" in failed(["migrate", f"--data-dir={tmp_path}"], capsys)


def test_status_without_a_validator_is_one_line(
    busy_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    del busy_port
    printed = failed(["status", "--port=1"], capsys)

    assert "no validator answers" in printed


@pytest.fixture
async def exported(tmp_path: Path) -> Path:
    """A played round's log as a file."""
    simulation = Simulation([SimulatedMiner("ann"), SimulatedMiner("ben")], tmp_path / "data")
    await simulation.play(1)
    path = tmp_path / "log.json"
    entries = [json.loads(data) for data in simulation.log.entries(0, 10)]
    head = json.loads(simulation.log.head() or b"")
    path.write_text(json.dumps({"head": head, "entries": entries}))
    simulation.store.close()
    return path


async def test_audit_accepts_an_honest_log_and_saves_it(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.json"

    assert execute(["audit", str(exported), "--save", str(copy)]) == 0

    assert "everything follows" in capsys.readouterr().out
    assert json.loads(copy.read_text()) == json.loads(exported.read_text())


async def test_audit_names_the_changed_entry(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(exported.read_text())
    content["entries"][1]["payload"]["energy_mj"] += 1
    exported.write_text(json.dumps(content))

    assert execute(["audit", str(exported), "--json"]) == 1

    report = json.loads(capsys.readouterr().out)
    assert 1 in [fault["position"] for fault in report["faults"]]


@pytest.mark.parametrize("content", ["", "[]", '{"head": 1}', "\u00ff"])
def test_what_is_no_log_is_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "no.json"
    path.write_text(content)

    assert "is no exported log" in failed(["audit", str(path)], capsys)
    assert "cannot read" in failed(["audit", str(tmp_path / "missing")], capsys)
