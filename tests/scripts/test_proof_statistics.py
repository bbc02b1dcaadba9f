"""Thresholds from margins: error rates on margins that they were not set on."""

from pathlib import Path

import numpy as np
import pytest

from scripts.calibrate_proof import held_out, store_thresholds
from scripts.proof_statistics import (
    FLOORS,
    SAMPLE_COUNTS,
    failing_mixtures,
    rate_stack,
    set_thresholds,
)
from validator.proof import ProofThresholds, ThresholdsFile

NAME = ("example/tiny", "1", "bfloat16")
TOKENS = 10


def noisy(prompts: int, share: float, scale: float, seed: int) -> list[list[float]]:
    """Margins of which a share of tokens is off by about `scale` logits."""
    generator = np.random.default_rng(seed)
    off = generator.random((prompts, TOKENS)) < share
    values = np.where(off, generator.exponential(scale, (prompts, TOKENS)), 0.0)
    return [[float(margin) for margin in row] for row in values]


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
    exact = {"batch 1": [[0.0] * TOKENS] * 50}

    made = set_thresholds(exact, name=("example/tiny", "1", "float32"), origin="synthetic")

    floors = FLOORS["float32"]
    assert {bound.mean_micrologits for bound in made.bounds} == {floors.mean_micrologits}
    assert made.exceeding_micrologits == floors.exceeding_micrologits
    assert made.hard_micrologits == floors.hard_micrologits
    exceeding = [bound.exceeding_ppm for bound in made.bounds]
    assert exceeding == sorted(exceeding, reverse=True)
    assert rate_stack("batch 1", exact["batch 1"], made, SAMPLE_COUNTS).failing_share[1] == 0


def test_prompts_are_tested_on_the_half_that_set_no_threshold() -> None:
    even, odd = held_out({"batch 1": [[0.0], [1.0], [2.0], [3.0], [4.0]]})

    assert even == {"batch 1": [[0.0], [2.0], [4.0]]}
    assert odd == {"batch 1": [[1.0], [3.0]]}


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
