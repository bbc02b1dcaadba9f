"""The benchmark's entries, and one scenario run for real."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from protocol.errors import ConfigurationError
from scripts.bench import __main__ as runner
from scripts.bench import meter
from scripts.bench.entries import Entry, entry, labelled
from scripts.bench.meter_scenario import Scenario


def test_a_name_carries_its_conditions() -> None:
    assert (
        labelled("meter_mean_error_pct", edges="idle", tick_ms=100.0, window_s=0.2)
        == "meter_mean_error_pct{edges=idle,tick_ms=100,window_s=0.2}"
    )


def test_the_ratio_says_how_much_better_ours_is() -> None:
    assert entry("x", 0.5, "%", anchor="a 1", anchor_value=5.0).ratio == 10
    assert entry("x", 0.0, "%", anchor="a 1", anchor_value=5.0).ratio is None


def test_results_of_parts_that_did_not_run_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    earlier = [
        {"name": "meter_cpu_pct{hz=10}", "value": 9.0},
        {"name": "api_p99_ms", "value": 1.0},
    ]
    Path("build").mkdir()
    Path("build/bench.json").write_text(json.dumps(earlier))
    new = entry("meter_cpu_pct{hz=10}", 0.4, "%", anchor="zeus 0.16.0", anchor_value=0.01)

    def part(share: float) -> list[Entry]:
        return [new] if share == 0.5 else []

    monkeypatch.setattr(runner, "PARTS", {"meter": part})
    monkeypatch.setattr("sys.argv", ["bench", "meter", "--share", "0.5"])

    assert runner.main() == 0

    written = json.loads(Path("build/bench.json").read_text())
    assert [one["name"] for one in written] == ["api_p99_ms", "meter_cpu_pct{hz=10}"]
    assert set(written[1]) == {"name", "value", "unit", "anchor", "anchor_value", "ratio"}


def test_a_missing_anchor_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(meter, "METERS", ("ours", "no-such-anchor"))
    monkeypatch.setattr("sys.argv", ["bench", "meter"])

    assert runner.main() == 1
    assert "carbonbench[bench]" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ours", "zeus"])
def test_a_scenario_runs_in_a_process_of_its_own(name: str) -> None:
    if name != "ours" and find_spec(name) is None:
        pytest.skip(f"{name} is an anchor that only `make bench` installs")
    scenario = Scenario(
        meter=name, edges="idle", tick_seconds=0.02, window_seconds=0.2, repeats=1, seed=1
    )

    with meter._environment() as environment:
        (outcome,) = meter._run_wave([scenario], environment)

    assert len(outcome.errors_pct) == 1
    assert outcome.errors_pct[0] < 30
    assert (outcome.covered is None) is (name == "zeus")


def test_a_scenario_that_fails_is_an_error() -> None:
    scenario = Scenario(
        meter="ours", edges="sideways", tick_seconds=0.1, window_seconds=0.2, repeats=1, seed=1
    )

    with meter._environment() as environment, pytest.raises(ConfigurationError) as failed:
        meter._run_wave([scenario], environment)

    assert "sideways" in failed.value.hint
