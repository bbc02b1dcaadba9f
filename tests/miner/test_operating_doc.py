"""The tables of docs/operating-miner.md are those that the code gives."""

import re
from pathlib import Path

import pytest

from miner.metrics import Metrics
from miner.settings import Settings
from miner.visits import Visits
from scripts.operating_tables import advice_table, hardware_table
from tests.support.miner import Stage

PAGE = (Path(__file__).parents[2] / "docs" / "operating-miner.md").read_text()


@pytest.mark.parametrize("table", [hardware_table, advice_table], ids=["hardware", "advice"])
def test_a_table_is_what_the_code_says(table: object) -> None:
    assert callable(table)
    assert table() in PAGE, "write it anew: python -m scripts.operating_tables"


def test_every_metric_is_explained(tmp_path: Path) -> None:
    metrics = Metrics(Visits())
    scraped = metrics.scrape(Stage(tmp_path).session).decode()
    section = PAGE.partition("### Watching it")[2].partition("### ")[0]

    names = set(re.findall(r"^# TYPE carbonbench_miner_(\w+) ", scraped, re.MULTILINE))
    explained = {
        name
        for row in re.findall(r"^\| (`.+`)[^|]* \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)", row)
    }

    assert {name for name in names if not name.endswith("_created")} <= explained


def test_settings_that_advice_names_exist() -> None:
    known = {f"MINER_{name.upper()}" for name in Settings.model_fields}

    assert set(re.findall(r"MINER_[A-Z_]+[A-Z]", advice_table())) <= known
