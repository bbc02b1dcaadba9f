"""codecarbon's estimate: labelled, without files, and never 0."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from miner.estimate import EstimateMeter
from miner.measurement import Flag, Method
from miner.refusals import EstimateFailedError
from tests.support.needs import need_distribution


@dataclass
class Emissions:
    """What codecarbon gives."""

    cpu_energy: float
    ram_energy: float


@dataclass
class Tracker:
    """Stands in for codecarbon's tracker."""

    final_emissions_data: Emissions | None
    stopped: bool = False

    def start(self) -> None: ...

    def stop(self) -> None:
        self.stopped = True


class StubModule(ModuleType):
    """A `codecarbon` whose tracker gives what a test wants."""

    tracker: ClassVar[Tracker]
    options: ClassVar[dict[str, object]] = {}

    @classmethod
    def OfflineEmissionsTracker(cls, **options: object) -> Tracker:  # noqa: N802 - codecarbon's name
        cls.options = options
        return cls.tracker


def install(monkeypatch: pytest.MonkeyPatch, emissions: Emissions | None) -> Tracker:
    StubModule.tracker = Tracker(final_emissions_data=emissions)
    monkeypatch.setitem(sys.modules, "codecarbon", StubModule("codecarbon"))
    return StubModule.tracker


def advance(monkeypatch: pytest.MonkeyPatch, duration_seconds: float) -> None:
    """Let each look at the clock be so much later than the one before."""
    ticks = iter(range(1_000))
    step_ns = round(duration_seconds * 1e9)
    monkeypatch.setattr("miner.estimate.time.monotonic_ns", lambda: next(ticks) * step_ns)


def test_cpu_and_memory_are_summed_and_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Emissions(cpu_energy=1e-6, ram_energy=2e-6))
    advance(monkeypatch, 5.0)

    result, measured = EstimateMeter().measure(lambda _: "done", lambda: None)

    assert result == "done"
    assert measured.energy == pytest.approx(3e-6 * 3_600_000)
    assert measured.method is Method.ESTIMATE
    assert measured.flags == (Flag.ESTIMATED,)
    assert measured.devices == ()
    assert measured.systematic_ppm >= 500_000
    assert StubModule.options["output_methods"] == []
    assert StubModule.options["save_to_file"] is False


def test_stamps_have_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Emissions(cpu_energy=1e-6, ram_energy=0.0))
    advance(monkeypatch, 2.0)

    stamp, _ = EstimateMeter().measure(lambda stamp: stamp(), lambda: None)

    assert stamp == (2_000_000, None)


@pytest.mark.parametrize(
    "emissions",
    [None, Emissions(0.0, 0.0), Emissions(float("nan"), 1.0), Emissions(-1.0, 0.5)],
)
def test_no_energy_is_a_refusal_and_never_zero(
    monkeypatch: pytest.MonkeyPatch, emissions: Emissions | None
) -> None:
    install(monkeypatch, emissions)
    advance(monkeypatch, 5.0)

    with pytest.raises(EstimateFailedError):
        EstimateMeter().measure(lambda _: None, lambda: None)


def test_a_short_window_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Emissions(1e-6, 1e-6))
    advance(monkeypatch, 0.5)

    with pytest.raises(EstimateFailedError, match="1 s"):
        EstimateMeter().measure(lambda _: None, lambda: None)


def test_a_failing_workload_stops_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = install(monkeypatch, Emissions(1e-6, 1e-6))

    with pytest.raises(ZeroDivisionError), EstimateMeter().window() as window:
        raise ZeroDivisionError

    assert tracker.stopped
    with pytest.raises(EstimateFailedError):
        _ = window.measurement


def test_missing_codecarbon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)

    with pytest.raises(EstimateFailedError, match="codecarbon") as refused:
        EstimateMeter().measure(lambda _: None, lambda: None)

    assert "pip install" in refused.value.hint


def test_the_real_codecarbon_estimates_without_output_or_files(tmp_path: Path) -> None:
    need_distribution("codecarbon")
    script = (
        "import time; from miner.estimate import EstimateMeter\n"
        "_, m = EstimateMeter().measure(lambda stamp: time.sleep(1.2), lambda: None)\n"
        "assert m.energy > 0"
    )

    finished = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert finished.stderr == ""
    assert finished.stdout == ""
    assert finished.returncode == 0
    assert list(tmp_path.iterdir()) == []
