"""Thresholds from margins: error rates on margins that they were not set on."""

from pathlib import Path

import numpy as np
import pytest

from scripts.calibrate_proof import halves, measure, store_thresholds, table
from scripts.proof_stacks import Recording
from scripts.proof_statistics import (
    FLOORS,
    SAMPLE_COUNTS,
    Measured,
    failing_mixtures,
    rate_stack,
    set_thresholds,
)
from validator.proof import ProofThresholds, ThresholdsFile

NAME = ("example/tiny", "1", "bfloat16")
TOKENS = 10


def noisy(prompts: int, share: float, scale: float, seed: int, own: float = 0.05) -> Measured:
    """Answers of which a share of tokens is off by about `scale` logits.

    Under int8 weights `own` of the tokens are off by a tenth.
    """
    generator = np.random.default_rng(seed)
    off = generator.random((prompts, TOKENS)) < share
    values = np.where(off, generator.exponential(scale, (prompts, TOKENS)), 0.0)
    cheaper = np.where(generator.random((prompts, TOKENS)) < own, 0.1, 0.0)
    return Measured(
        margins=values.tolist(),
        cheaper={"int8": cheaper.tolist()},
        distances_ppm=[int(scale * 1e6 * draw) for draw in generator.normal(1, 0.1, prompts)],
    )


@pytest.fixture(scope="module")
def thresholds() -> ProofThresholds:
    honest = {
        "batch 1": noisy(400, 0.02, 0.05, seed=1),
        "batch 8": noisy(400, 0.03, 0.06, seed=2),
    }
    return set_thresholds(honest, name=NAME, origin="synthetic")


def test_unseen_honest_reports_fail_in_at_most_one_of_a_thousand(
    thresholds: ProofThresholds,
) -> None:
    row = rate_stack("unseen", noisy(400, 0.03, 0.06, seed=3), thresholds, SAMPLE_COUNTS)

    assert max(row.failing_share.values()) <= 1e-3
    assert row.differing_share == pytest.approx(0.03, abs=0.01)


def test_cheap_weights_are_caught_more_often_with_more_samples(
    thresholds: ProofThresholds,
) -> None:
    shares = rate_stack("int4", noisy(400, 0.1, 0.3, seed=4), thresholds, (8, 64)).failing_share

    assert 0.5 < shares[8] < shares[64]
    assert shares[64] > 0.99


def test_few_cheated_prompts_are_caught_less_often_than_many(
    thresholds: ProofThresholds,
) -> None:
    cheat, honest = noisy(400, 0.35, 2.0, seed=5), noisy(400, 0.02, 0.05, seed=6)

    caught = [failing_mixtures(cheat, honest, share, thresholds, 64) for share in (0, 0.02, 0.1)]

    assert caught[0] <= 1e-3
    assert caught[0] < caught[1] < caught[2]
    assert caught[2] > 0.95


def test_bounds_fall_with_the_count_and_never_below_the_floor() -> None:
    exact = {"batch 1": Measured(margins=[[0.0] * TOKENS] * 50, distances_ppm=[1_130] * 50)}

    made = set_thresholds(exact, name=("example/tiny", "1", "float32"), origin="synthetic")

    floors = FLOORS["float32"]
    assert {bound.mean_micrologits for bound in made.bounds} == {floors.mean_micrologits}
    assert made.exceeding_micrologits == floors.exceeding_micrologits
    assert made.hard_micrologits == floors.hard_micrologits
    assert {bound.sketch_ppm for bound in made.bounds} == {floors.sketch_ppm}
    assert {bound.cheaper_micrologits for bound in made.bounds} == {None}
    exceeding = [bound.exceeding_ppm for bound in made.bounds]
    assert exceeding == sorted(exceeding, reverse=True)
    assert rate_stack("batch 1", exact["batch 1"], made, SAMPLE_COUNTS).failing_share[1] == 0


def test_answers_that_fit_cheaper_weights_are_caught_below_the_mean_bound(
    thresholds: ProofThresholds,
) -> None:
    honest = noisy(400, 0.03, 0.06, seed=3)
    cheap = noisy(400, 0.03, 0.06, seed=3, own=0.0)

    assert thresholds.cheaper == ("int8",)
    assert rate_stack("honest", honest, thresholds, (64,)).failing_share[64] <= 1e-3
    assert rate_stack("int8", cheap, thresholds, (64,)).failing_share[64] > 0.99


def test_sketches_of_more_noise_fail(thresholds: ProofThresholds) -> None:
    honest = rate_stack("honest", noisy(400, 0.03, 0.06, seed=8), thresholds, (8, 64))
    cheap = rate_stack("int8", noisy(400, 0.03, 0.12, seed=9), thresholds, (8, 64))

    assert max(honest.sketch_failing_share.values()) <= 1e-3
    assert min(cheap.sketch_failing_share.values()) > 0.99


def recording(index: int) -> Recording:
    return Recording(
        index=index,
        answer=[1] * TOKENS,
        margins=[0.01] * TOKENS,
        cheaper={"int8": [0.02] * TOKENS},
        sketched=[0.25, 0.5],
        projected=[0.25, 0.5],
    )


def test_prompts_are_tested_on_the_half_that_set_no_threshold() -> None:
    first, second = halves([recording(index) for index in range(0, 40, 2)])

    assert [one.index for one in first] == [0, 2, 4, 6, 16, 18, 20, 22, 32, 34, 36, 38]
    assert [one.index for one in second] == [8, 10, 12, 14, 24, 26, 28, 30]


def test_the_table_has_a_line_per_stack(thresholds: ProofThresholds) -> None:
    stacks = {"batch 1": measure([recording(index) for index in range(8)])}

    lines = table(stacks, thresholds).splitlines()

    assert len(lines) == 3
    assert lines[2].startswith("| batch 1 | 8 | 100.0% | 0.0100 | 0.010 |")


def test_storing_replaces_an_entry_and_keeps_the_others(
    thresholds: ProofThresholds, tmp_path: Path
) -> None:
    path = tmp_path / "thresholds.json"
    other = thresholds.model_copy(update={"model": "another/model"})
    again = thresholds.model_copy(update={"origin": "measured again"})

    for version, entry in (("1", thresholds), ("2", other), ("3", again)):
        store_thresholds(entry, version, path)

    stored = ThresholdsFile.model_validate_json(path.read_text())
    assert stored == ThresholdsFile(version="3", entries=(other, again))
