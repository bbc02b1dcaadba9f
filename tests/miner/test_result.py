"""What a run comes to: figures with intervals, labels, standing, the table."""

import json

import pytest
from rich.console import Console

from miner.measurement import Measurement, Method
from miner.refusals import CounterStuckError
from miner.result import Label, Result, figure, latencies, result_json
from miner.run_reporting import window_energy
from miner.tables import print_result, print_rows
from protocol.checkup import Row
from protocol.errors import Error
from protocol.messages import MeterKind
from protocol.workload import FULL_PLAIN, FULL_TAGGED, SMOKE_TAGGED, Workload
from tests.support.runs import TWO_PROMPTS, measured, run_report

STUCK = CounterStuckError("it stands")
H100 = "NVIDIA H100 80GB HBM3"


def result(
    energy: Measurement | Error,
    *,
    workload: Workload = TWO_PROMPTS,
    gpus: tuple[str, ...] = (H100,),
    prefill: Measurement | None = None,
) -> Result:
    report = run_report(energy, workload=workload, gpus=gpus, prefill=prefill)
    return Result(report=report)


def test_each_denominator_has_its_own_figure() -> None:
    found = result_json(result(measured()))

    assert found["energy_wh_per_1k_queries"]["value"] == pytest.approx(500)  # type: ignore[index]
    output = found["energy_wh_per_1k_output_tokens"]
    assert output["value"] == pytest.approx(50)  # type: ignore[index]
    total = found["energy_wh_per_1k_total_tokens"]
    assert total["value"] == pytest.approx(10)  # type: ignore[index]


def test_an_interval_joins_edges_and_sensor_gain() -> None:
    gain_alone = figure(window_energy(measured()), 1_000)
    with_edges = figure(window_energy(measured(half_width=360.0)), 1_000)

    assert gain_alone.high / gain_alone.value == pytest.approx(1 + 1.96 * 0.05)
    wider = (0.1**2 + (1.96 * 0.05) ** 2) ** 0.5
    assert with_edges.low / with_edges.value == pytest.approx(1 - wider)


@pytest.mark.parametrize(
    ("energy", "gpus", "label"),
    [
        (measured(), (H100,), Label.MEASURED),
        (measured(simulated=True), ("SIMULATED H100-like",), Label.SIMULATED),
        (measured(Method.TRACE), ("NVIDIA A2",), Label.MEASURED),
        (measured(Method.ESTIMATE), (), Label.ESTIMATED),
        (STUCK, (H100,), Label.REFUSED),
    ],
)
def test_the_label_says_what_stands_behind_the_energy(
    energy: Measurement | Error, gpus: tuple[str, ...], label: Label
) -> None:
    assert result(energy, gpus=gpus).label is label


def test_a_refusal_leaves_no_number_where_an_energy_would_be() -> None:
    found = result_json(result(STUCK, prefill=measured()))

    refusal = found["refusal"]
    assert isinstance(refusal, dict)
    assert (refusal["code"], refusal["detail"]) == ("counter_stuck", "it stands")
    assert refusal["hint"]
    energies = {name: value for name, value in found.items() if name.startswith("energy")}
    assert len(energies) == 4
    assert set(energies.values()) == {None}
    assert found["phases"] is None


def test_an_estimate_has_no_statistical_interval() -> None:
    found = result_json(result(measured(Method.ESTIMATE), gpus=()))

    assert found["energy"]["statistical_half_width_joules"] is None  # type: ignore[index]
    assert found["status"] == "estimated"


def test_a_prefill_pass_tells_the_phases_apart() -> None:
    phases = result(measured(), prefill=measured(energy=900.0)).phases

    assert phases is not None
    assert phases.prefill.value == pytest.approx(125)
    assert phases.decode_wh_per_1k_queries == pytest.approx(375)


def test_only_the_whole_plain_workload_compares_with_ai_energy_score() -> None:
    def comparable(workload: Workload) -> bool:
        return result(measured(), workload=workload).comparable_with_ai_energy_score

    assert comparable(FULL_PLAIN)
    assert not comparable(FULL_TAGGED)
    assert not comparable(SMOKE_TAGGED)


@pytest.mark.parametrize(
    ("energy", "workload", "gpus", "stands"),
    [
        (measured(), FULL_PLAIN, (H100,), True),
        (measured(), FULL_PLAIN, ("NVIDIA H100 PCIe",), False),
        (measured(), FULL_PLAIN, (H100, "NVIDIA A100-SXM4-80GB"), False),
        (measured(), FULL_TAGGED, (H100,), False),
        (measured(simulated=True), FULL_PLAIN, (H100,), False),
        (measured(Method.ESTIMATE), FULL_PLAIN, (), False),
        (STUCK, FULL_PLAIN, (H100,), False),
    ],
)
def test_only_a_measurement_on_the_published_gpu_gets_stars(
    energy: Measurement | Error, workload: Workload, gpus: tuple[str, ...], stands: bool
) -> None:
    assert (result(energy, workload=workload, gpus=gpus).standing is not None) is stands


def test_a_cell_names_all_that_must_be_equal() -> None:
    cell = result(measured()).cell

    assert (cell.gpu, cell.gpu_count, cell.power_limit_w) == (H100, 1, 700)
    assert (cell.engine, cell.meter) == ("transformers", MeterKind.NVML)
    assert cell.workload == TWO_PROMPTS.key


def test_the_json_is_json() -> None:
    found = result_json(result(measured()))

    assert json.loads(json.dumps(found))["status"] == "measured"
    assert found["model"]["size_class"] == "A"  # type: ignore[index]
    assert found["time"] == {
        "duration_seconds": 10.0,
        "output_tokens_per_second": 2.0,
        "latency_p50_seconds": 5.0,
        "latency_p95_seconds": pytest.approx(5.9),
    }


def test_one_prompt_has_one_latency() -> None:
    assert latencies(result(measured()).report.prompts[:1]) == (4.0, 4.0)


def printed(found: Result) -> str:
    console = Console(record=True, width=100, file=None, quiet=False)
    with console.capture() as capture:
        print_result(found, console)
    return capture.get()


def test_the_table_names_its_denominators_and_what_stands_behind_it() -> None:
    shown = printed(result(measured()))

    for words in ("1,000 queries", "1,000 output tokens", "1,000 total tokens", "mean power"):
        assert words in shown
    assert "status    measured" in shown
    assert "not comparable with the AI Energy Score leaderboard" in shown


def test_the_table_sets_stars_and_the_published_row_beside_a_comparable_run() -> None:
    report = run_report(measured(energy=120.0), workload=FULL_PLAIN)
    named = report.model.model_copy(update={"id": "meta-llama/Llama-3.1-8B"})

    shown = printed(Result(report=report.model_copy(update={"model": named})))

    assert "stars     ***.. by the AI Energy Score band rule, among 32 published" in shown
    assert "quintile  3 of 5" in shown
    assert "published 17.376 Wh per 1,000 queries, 3 of 5 stars (v1, same method" in shown
    assert "class     A (8.03 billion parameters)" in shown


def test_the_table_gives_the_reason_why_there_are_no_stars() -> None:
    shown = printed(result(measured(), workload=FULL_PLAIN, gpus=("NVIDIA L40S",)))

    assert "stars     none: they compare measurements on NVIDIA H100 80GB only" in shown


def test_the_table_shows_phases_where_there_are_some() -> None:
    assert "of which prefill" not in printed(result(measured()))
    assert "of which prefill" in printed(result(measured(), prefill=measured(energy=900.0)))


def test_the_table_of_a_refusal_gives_the_reason_and_no_figure() -> None:
    shown = printed(result(STUCK))

    assert "counter_stuck: it stands" in shown
    assert "mean power" not in shown


def test_the_table_of_check_says_how_to_mend_what_is_missing() -> None:
    console = Console(width=100)
    rows = (
        Row(what="python", ok=True, detail="3.11", hint="never shown"),
        Row(what="gpu", ok=False, detail="no GPU", hint="Install one."),
    )

    with console.capture() as capture:
        print_rows(rows, console)

    assert "Install one." in capture.get()
    assert "never shown" not in capture.get()
