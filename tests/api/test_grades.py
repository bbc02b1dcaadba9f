"""Letter grades: by size class, thresholds fixed, nothing simulated or single."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import grades
from api.energy import Regime
from api.footprint import Estimate
from api.label import label_svg, letter_colour
from api.offerings import Row
from api.release import Release
from protocol.messages import Status


@pytest.fixture(scope="module")
def row(release: Release) -> Row:
    return next(
        row
        for row in release.rows
        if row.model.id == "llama-3.1-8b" and row.regime is Regime.SERVED
    )


def test_the_thresholds_of_2026_never_change() -> None:
    assert grades.YEAR == 2026
    assert {name: grades.thresholds(name) for name, _ in grades.SIZE_CLASSES} == {
        "XS": (6, 12, 24, 48, 96, 192),
        "S": (10, 20, 40, 80, 160, 320),
        "M": (20, 40, 80, 160, 320, 640),
        "L": (50, 100, 200, 400, 800, 1600),
        "XL": (100, 200, 400, 800, 1600, 3200),
    }


@pytest.mark.parametrize(
    ("grams", "letter"), [(0, "A"), (10, "A"), (10.01, "B"), (320, "F"), (320.1, "G"), (1e6, "G")]
)
def test_a_threshold_belongs_to_the_better_letter(grams: float, letter: str) -> None:
    assert grades.letter(grams, "S") == letter


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e5))
def test_the_letter_lies_between_those_of_the_interval(a: float, b: float, c: float) -> None:
    low, value, high = sorted((a, b, c))
    found = grades.graded(Estimate(value=value, low=low, high=high), "M")

    assert found.best <= found.letter <= found.worst
    assert found.is_certain is (found.best == found.worst)


def test_a_size_that_is_a_range_counts_by_its_geometric_mean(row: Row) -> None:
    def sized(low: float | None, high: float | None) -> str | None:
        return grades.size_class(replace(row.model, active_low_b=low, active_high_b=high))

    assert sized(4, 4) == "XS"
    assert sized(10, 40) == "M"
    assert sized(None, None) is None
    assert sized(400, 400) == "XL"


def test_only_what_may_be_ranked_and_is_served_is_graded(row: Row) -> None:
    simulated = replace(row.figure, energy=replace(row.figure.energy, status=Status.SIMULATED))
    single = replace(row.figure, regime=Regime.SINGLE)

    assert grades.grade(row) is not None
    assert grades.grade(replace(row, figure=simulated)) is None
    assert grades.grade(replace(row, figure=single)) is None


def test_a_simulated_label_says_so_and_bears_no_letter(row: Row) -> None:
    figure = replace(row.figure, energy=replace(row.figure.energy, status=Status.SIMULATED))
    svg = label_svg(replace(row, figure=figure)).decode()

    assert "SIMULATED: measures nothing" in svg
    assert "not graded" in svg
    assert "stroke-dasharray" in svg


def test_each_letter_has_a_colour_of_its_own() -> None:
    assert len({letter_colour(letter) for letter in grades.LETTERS}) == len(grades.LETTERS)
