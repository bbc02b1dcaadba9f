"""What `measure` makes of a run: figures with intervals, labels, the table."""

import json

import pytest
from rich.console import Console

from miner.measurement import Flag, Measurement, Method
from miner.refusals import CounterStuckError
from miner.reporting import PromptRun, Task
from miner.result import Host, Label, Refusal, Result, figure, latencies, result_json
from miner.tables import print_result
from protocol.checkup import Row, print_rows
from protocol.units import Joules
from protocol.workload import FULL_PLAIN, FULL_TAGGED, SMOKE_TAGGED, Workload
from tests.support.miner import MODEL

S = 1_000_000_000


def measured(method: Method = Method.COUNTER, *, half_width: float = 0.0) -> Measurement:
    return Measurement(
        start_ns=0,
        end_ns=10 * S,
        method=method,
        energy=Joules(3_600.0),  # 1 Wh
        deviation=Joules(half_width / 2),
        half_width=Joules(half_width),
        systematic_ppm=50_000,
        devices=(),
        flags=(Flag.PERSISTENCE_OFF,),
    )


def result(
    energy: Measurement | Refusal,
    *,
    workload: Workload = SMOKE_TAGGED,
    gpus: tuple[tuple[str, str], ...] = (("NVIDIA H100", "GPU-1"),),
) -> Result:
    """Two prompts of 40 input and 10 output tokens, 4 s and 6 s."""
    runs = (
        PromptRun((1,) * 40, (2,) * 10, (0, 0), (4_000_000, 1)),
        PromptRun((1,) * 40, (2,) * 10, (4_000_000, 1), (10_000_000, 2)),
    )
    return Result(
        task=Task(model=MODEL, workload=workload, seed=b""),
        host=Host(engine="transformers", device="cuda:0", gpus=gpus, versions={"torch": "2"}),
        runs=runs,
        measured=energy,
    )


def test_each_denominator_has_its_own_figure() -> None:
    found = result_json(result(measured()))

    assert found["energy_wh_per_1k_queries"]["value"] == pytest.approx(500)  # type: ignore[index]
    output = found["energy_wh_per_1k_output_tokens"]
    assert output["value"] == pytest.approx(50)  # type: ignore[index]
    total = found["energy_wh_per_1k_total_tokens"]
    assert total["value"] == pytest.approx(10)  # type: ignore[index]


def test_an_interval_joins_edges_and_sensor_gain() -> None:
    gain_alone = figure(measured(), 1_000)
    with_edges = figure(measured(half_width=360.0), 1_000)

    assert gain_alone.high / gain_alone.value == pytest.approx(1 + 1.96 * 0.05)
    wider = (0.1**2 + (1.96 * 0.05) ** 2) ** 0.5
    assert with_edges.low / with_edges.value == pytest.approx(1 - wider)


@pytest.mark.parametrize(
    ("energy", "gpus", "label"),
    [
        (measured(), (("NVIDIA H100", "GPU-1"),), Label.MEASURED),
        (measured(), (("SIMULATED H100-like", "GPU-1"),), Label.SIMULATED),
        (measured(Method.TRACE), (("NVIDIA A2", "GPU-1"),), Label.MEASURED),
        (measured(Method.ESTIMATE), (), Label.ESTIMATED),
        (Refusal.of(CounterStuckError("it stands")), (("NVIDIA H100", "GPU-1"),), Label.REFUSED),
    ],
)
def test_the_label_says_what_stands_behind_the_energy(
    energy: Measurement | Refusal, gpus: tuple[tuple[str, str], ...], label: Label
) -> None:
    assert result(energy, gpus=gpus).label is label


def test_a_refusal_leaves_no_number_where_an_energy_would_be() -> None:
    found = result_json(result(Refusal.of(CounterStuckError("it stands"))))

    refusal = found["refusal"]
    assert isinstance(refusal, dict)
    assert (refusal["code"], refusal["detail"]) == ("counter_stuck", "it stands")
    assert refusal["hint"]
    energies = {name: value for name, value in found.items() if name.startswith("energy")}
    assert len(energies) == 4
    assert set(energies.values()) == {None}


def test_only_the_whole_plain_workload_compares_with_ai_energy_score() -> None:
    def comparable(workload: Workload) -> bool:
        return result(measured(), workload=workload).comparable_with_ai_energy_score

    assert comparable(FULL_PLAIN)
    assert not comparable(FULL_TAGGED)
    assert not comparable(SMOKE_TAGGED)


def test_the_json_is_json() -> None:
    found = result_json(result(measured()))

    assert json.loads(json.dumps(found))["status"] == "measured"
    assert found["time"] == {
        "duration_seconds": 10.0,
        "output_tokens_per_second": 2.0,
        "latency_p50_seconds": 5.0,
        "latency_p95_seconds": pytest.approx(5.9),
    }


def test_one_prompt_has_one_latency() -> None:
    assert latencies(result(measured()).runs[:1]) == (4.0, 4.0)


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


def test_the_table_of_a_refusal_gives_the_reason_and_no_figure() -> None:
    shown = printed(result(Refusal.of(CounterStuckError("it stands"))))

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
