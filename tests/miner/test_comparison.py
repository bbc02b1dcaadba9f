"""Results side by side: ranked in one cell, and in no other case."""

import json
from itertools import permutations

import pytest

from miner.comparison import Comparison, compare, comparison_json
from miner.measurement import Method
from miner.refusals import CounterStuckError
from miner.result import Result
from protocol.run_report import RunReport
from protocol.workload import FULL_PLAIN
from tests.support.runs import measured, run_report

LOW, MIDDLE, HIGH = (
    Result(report=run_report(measured(energy=energy))) for energy in (1_000.0, 1_050.0, 9_000.0)
)
BASE = run_report(measured())


def ranks(comparison: Comparison) -> list[tuple[str, list[int]]]:
    return [(row.name, list(row.ranks or ())) for row in comparison.rows]


@pytest.mark.parametrize("given", list(permutations([("l", LOW), ("m", MIDDLE), ("h", HIGH)])))
def test_one_cell_is_ranked_by_energy_whatever_the_order(given: list[tuple[str, Result]]) -> None:
    found = compare(given)

    assert found.ranked
    assert ranks(found) == [("l", [1, 2]), ("m", [1, 2]), ("h", [3])]


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (BASE.model_copy(update={"engine": "vllm"}), "engine"),
        (BASE.model_copy(update={"workload": FULL_PLAIN.key}), "workload"),
        (run_report(measured(), gpus=("NVIDIA L40S",)), "gpu"),
        (run_report(measured(), gpus=("NVIDIA H100 80GB HBM3",) * 2), "gpu_count"),
        (run_report(measured(simulated=True)), "status"),
        (run_report(measured(Method.ESTIMATE)), "status"),
        (
            BASE.model_copy(
                update={"model": BASE.model.model_copy(update={"weights_digest": "cd" * 32})}
            ),
            "weights",
        ),
        (
            BASE.model_copy(update={"model": BASE.model.model_copy(update={"dtype": "bfloat16"})}),
            "dtype",
        ),
    ],
)
def test_nothing_is_ranked_across_cells(other: RunReport, part: str) -> None:
    found = compare([("one", Result(report=BASE)), ("other", Result(report=other))])

    assert not found.ranked
    assert part in found.differing
    assert ranks(found) == [("one", []), ("other", [])]


def test_a_result_without_an_energy_has_no_rank() -> None:
    refused = Result(report=run_report(CounterStuckError("it stands")))

    found = compare([("refused", refused), ("high", HIGH)])

    assert ranks(found)[-1] == ("refused", []) or not found.ranked


def test_the_json_says_whether_it_is_a_ranking() -> None:
    found = comparison_json(compare([("l", LOW), ("h", HIGH)]))

    assert found["ranked"] is True
    rows = json.loads(json.dumps(found))["results"]
    assert [row["name"] for row in rows] == ["l", "h"]
    assert [(row["rank_low"], row["rank_high"]) for row in rows] == [(1, 1), (2, 2)]
