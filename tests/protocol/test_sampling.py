"""The sample: the same for everybody, unknown before the beacon, and fair."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import BlockHash, Digest
from protocol.sampling import sample_indices
from tests.support import vectors

BEACON = BlockHash("0x" + "be" * 32)
DIGEST = Digest("5a" * 32)


def draw(
    population: int, count: int, *, beacon: str = BEACON, report: str = DIGEST
) -> tuple[int, ...]:
    return sample_indices(
        beacon=BlockHash(beacon), report_digest=Digest(report), population=population, count=count
    )


def test_samples_are_the_golden_ones() -> None:
    assert vectors.sampling_vector() == vectors.load("sampling")


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_sample_is_ascending_distinct_within_range_and_complete(
    population: int, count: int
) -> None:
    sample = draw(population, count)

    assert list(sample) == sorted(set(sample))
    assert len(sample) == min(count, population)
    assert all(0 <= index < population for index in sample)


@given(st.integers(1, 200), st.integers(0, 199))
def test_a_smaller_sample_is_part_of_a_larger_one(population: int, count: int) -> None:
    assert set(draw(population, count)) <= set(draw(population, count + 1))


@pytest.mark.parametrize(
    "other", [draw(1_000, 64, beacon="0x" + "bf" * 32), draw(1_000, 64, report="5b" * 32)]
)
def test_beacon_and_report_both_change_the_sample(other: tuple[int, ...]) -> None:
    assert other != draw(1_000, 64)


def test_every_prompt_is_drawn_equally_often() -> None:
    runs, population, count = 4_000, 20, 5
    seen = Counter(
        index for run in range(runs) for index in draw(population, count, report=f"{run:064x}")
    )

    # Expected 1,000 each with a standard deviation of sqrt(4000 * 0.25 * 0.75) = 27.4.
    assert all(abs(seen[index] - 1_000) < 5 * 27.4 for index in range(population))


@pytest.mark.parametrize(("population", "count"), [(-1, 1), (1, -1)])
def test_nothing_is_drawn_from_less_than_nothing(population: int, count: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        draw(population, count)
