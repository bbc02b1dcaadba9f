"""The catalogue as a table and as JSON."""

from io import StringIO

import pytest
from rich.console import Console

from miner.model_table import model_json, print_models
from protocol.models import CATALOGUE, model_named


def printed(*names: str, columns: int | None = None) -> list[str]:
    """The table's lines, on a terminal of so many columns or on none."""
    out = StringIO()
    console = Console(file=out, width=columns, force_terminal=bool(columns), color_system=None)
    print_models([model_named(name) for name in names] or CATALOGUE, console)
    return out.getvalue().splitlines()


def test_a_line_tells_what_an_operator_must_know() -> None:
    heads, units, _, row = (line.split() for line in printed("openai-community/gpt2")[:4])

    assert heads == ["parameters", "memory", "disk"]
    assert units == ["model", "revision", "class", "(million)", "(MiB)", "(MiB)", "licence"]
    assert row == ["openai-community/gpt2", "607a30d783df", "A", "124", "285", "237", "MIT"]


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("smollm2-135m", {"package", "135", "Apache-2.0"}),
        ("tiiuae/Falcon3-7B-Instruct", {"~7,456", "falcon-llm-license"}),
        ("CohereLabs/aya-23-8B", {"main", "8,028", "CC-BY-NC-4.0*"}),
    ],
)
def test_what_is_unusual_is_marked(name: str, marks: set[str]) -> None:
    assert marks <= set(printed(name)[3].split())


def test_each_model_is_one_whole_line_where_no_terminal_is() -> None:
    rows = printed()[3 : 3 + len(CATALOGUE)]

    assert [row.split()[0] for row in rows] == [model.id for model in CATALOGUE]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal_and_no_commit_is_cut(columns: int) -> None:
    lines = printed(columns=columns)

    text = "\n".join(lines)

    assert max(len(line) for line in lines) <= columns
    assert all(model.package or model.revision[:12] in text for model in CATALOGUE)


def test_json_has_the_whole_commit_and_null_where_nothing_is_known() -> None:
    found = model_json(model_named("meta-llama/Llama-3.1-8B"))

    assert found == {
        "id": "meta-llama/Llama-3.1-8B",
        "revision": "d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
        "alias": None,
        "package": None,
        "size_class": "A",
        "parameters": 8_030_261_248,
        "parameters_status": "published",
        "memory_bytes": 19_272_626_995,
        "download_bytes": 16_060_522_496,
        "license": "llama3.1",
        "gated": True,
        "weights_digest": None,
    }
    assert model_json(model_named("CohereLabs/aya-23-8B"))["revision"] is None
