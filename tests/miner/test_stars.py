"""Published rows, the stars that the band rule gives them, and quintiles."""

import csv
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.published import PUBLISHED, PublishedRow, published_rows
from miner.stars import band_stars, published_group, rank_quintile, standing

API_TABLE = Path(__file__).parents[2] / "api" / "data" / "energy_single.csv"
ENERGIES = st.floats(0.1, 10_000)
GROUPS = st.lists(ENERGIES, min_size=2, max_size=40)


def by_group(row: PublishedRow) -> tuple[str, str, str]:
    return row.task, row.size_class, row.test_round


def grouped() -> list[list[PublishedRow]]:
    return [list(rows) for _, rows in groupby(sorted(PUBLISHED, key=by_group), key=by_group)]


def test_the_band_rule_gives_every_published_row_its_stars() -> None:
    wrong = [
        row.model
        for rows in grouped()
        for row in rows
        if band_stars(row.wh_per_1k_queries, [one.wh_per_1k_queries for one in rows]) != row.stars
    ]

    assert len([row for row in PUBLISHED if row.task == "text_generation"]) == 62
    assert len([row for row in PUBLISHED if row.task == "reasoning"]) == 18
    assert wrong == []


def test_quintiles_are_another_rule() -> None:
    text = [rows for rows in grouped() if rows[0].task == "text_generation"]
    different = [
        row.model
        for rows in text
        for row in rows
        if rank_quintile(row.wh_per_1k_queries, [one.wh_per_1k_queries for one in rows])
        != row.stars
    ]

    assert len(different) == 30


def test_the_rows_are_those_that_the_api_publishes() -> None:
    with API_TABLE.open(encoding="utf-8") as file:
        theirs = sorted(
            float(row["energy_wh_per_1k_queries"])
            for row in csv.DictReader(file)
            if row["method"].startswith("AI Energy Score")
        )

    assert sorted(row.wh_per_1k_queries for row in PUBLISHED) == pytest.approx(theirs)


@given(ENERGIES, GROUPS)
def test_stars_and_quintiles_stay_between_one_and_five(energy: float, group: list[float]) -> None:
    assert 1 <= band_stars(energy, group) <= 5
    assert 1 <= rank_quintile(energy, group) <= 5


@given(ENERGIES, ENERGIES, GROUPS)
def test_more_energy_never_has_more_stars(one: float, other: float, group: list[float]) -> None:
    low, high = sorted((one, other))

    assert band_stars(low, group) >= band_stars(high, group)
    assert rank_quintile(low, group) >= rank_quintile(high, group)


def test_a_group_of_equals_has_five_stars() -> None:
    assert band_stars(2.0, [2.0, 2.0]) == 5
    assert band_stars(2.1, [2.0, 2.0]) == 1


def test_an_empty_group_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs a group"):
        rank_quintile(1.0, [])
    with pytest.raises(ValueError, match="empty"):
        band_stars(1.0, [])


def test_a_run_stands_among_the_rows_of_its_own_method_and_class() -> None:
    found = standing(17.4, "A")

    assert (found.test_round, found.group_size) == ("v1", len(published_group("A", "v1")))
    assert (found.stars, found.quintile) == (3, 2)


def test_a_model_is_found_under_its_present_name() -> None:
    (row,) = published_rows("meta-llama/Llama-3.1-8B")

    assert row.wh_per_1k_queries == 17.376
    assert published_rows("CohereLabs/aya-23-8B")
    assert published_rows("HuggingFaceTB/SmolLM2-135M-Instruct") == ()
