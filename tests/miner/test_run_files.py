"""Run reports on disk."""

from pathlib import Path

import pytest

from miner.run_files import open_run, run_file_text
from protocol.errors import ConfigurationError
from protocol.run_report import seal
from tests.support.keys import ALICE
from tests.support.runs import measured, run_report

REPORT = run_report(measured())


def test_a_written_report_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(run_file_text(seal(REPORT, ALICE)))

    found = open_run(path)

    assert found.signer == ALICE.hotkey
    assert found.result.report.prompts == REPORT.prompts


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*gone\.json: No such file"):
        open_run(tmp_path / "gone.json")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")

    with pytest.raises(ConfigurationError, match="no run report that can be trusted"):
        open_run(tmp_path / "other.json")


def test_a_report_that_contradicts_itself_is_refused_though_it_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    half = REPORT.model_copy(update={"prompts": REPORT.prompts[:1]})
    path.write_text(run_file_text(seal(half, ALICE)))

    with pytest.raises(ConfigurationError, match=r"contradicts itself: .*1 prompts"):
        open_run(path)
