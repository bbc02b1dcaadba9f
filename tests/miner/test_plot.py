"""Plots: PNG and SVG, written whole."""

import errno
from pathlib import Path

import pytest

from miner.measurement import Method
from miner.plot import draw, refuse_unknown_format
from miner.refusals import CounterStuckError
from miner.result import Result
from protocol.errors import ConfigurationError
from protocol.run_report import RunReport
from tests.support.factories import device_energy
from tests.support.runs import measured, run_report

TRACED = run_report(measured()).model_copy(
    update={"device_energy": (device_energy(energy_mj=3_600_000),)}
)


@pytest.mark.parametrize(
    ("name", "start"), [("run.png", b"\x89PNG\r\n"), ("run.svg", b"<?xml"), ("RUN.PNG", b"\x89PNG")]
)
def test_the_ending_chooses_the_format(name: str, start: bytes, tmp_path: Path) -> None:
    draw(Result(report=TRACED), tmp_path / name)

    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (run_report(measured(Method.ESTIMATE), gpus=()), "no power trace: an estimate"),
        (run_report(CounterStuckError("it stands")), "no power trace: counter_stuck"),
        (TRACED, "power (W)"),
    ],
)
def test_a_plot_says_what_it_cannot_show(report: RunReport, said: str, tmp_path: Path) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        draw(Result(report=report), tmp_path / "run.svg")

    assert said in (tmp_path / "run.svg").read_text()


def test_another_ending_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot plot to run\.pdf") as caught:
        refuse_unknown_format(Path("run.pdf"))
    assert ".png or .svg" in caught.value.hint


def test_a_full_disk_leaves_no_half_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Path, _target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(ConfigurationError, match="No space left on device"):
        draw(Result(report=TRACED), tmp_path / "run.png")
    assert list(tmp_path.iterdir()) == []
