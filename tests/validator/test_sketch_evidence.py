"""Sketches as evidence: their distance, what it is held against, and what it is worth."""

import pytest

from protocol.messages import TokenProof, Verdict
from protocol.sketch import pack_sketch
from tests.support.factories import verdict
from validator.proof import (
    FARTHEST_PPM,
    Bound,
    ProofThresholds,
    judge_margins,
    judge_sketches,
    sketch_distance_ppm,
)
from validator.scoring import quality_ppm
from validator.verdicts import proof_findings

PROJECTIONS = (0.5, -1.25, 0.0, 2.0)
THRESHOLDS = ProofThresholds(
    model="example/tiny",
    revision="1",
    dtype="bfloat16",
    exceeding_micrologits=250_000,
    hard_micrologits=3_000_000,
    bounds=(
        Bound(sample_count=2, mean_micrologits=9, exceeding_ppm=9, sketch_ppm=30_000),
        Bound(sample_count=4, mean_micrologits=9, exceeding_ppm=9, sketch_ppm=20_000),
        Bound(sample_count=8, mean_micrologits=9, exceeding_ppm=9),
    ),
    origin="made up",
)


def proven(distance: int | None, threshold: int | None) -> Verdict:
    accepted = verdict()
    assert accepted.proof is not None
    proof = accepted.proof.model_copy(
        update={"sketch_distance_ppm": distance, "sketch_threshold_ppm": threshold}
    )
    return accepted.model_copy(update={"proof": proof})


def test_the_distance_is_in_parts_of_a_projections_deviation() -> None:
    sketch = pack_sketch([value + 0.0625 for value in PROJECTIONS])

    assert sketch_distance_ppm(sketch, PROJECTIONS) == 62_500
    assert sketch_distance_ppm(pack_sketch(PROJECTIONS), PROJECTIONS) == 0


@pytest.mark.parametrize("sketch", ["", "A", "AAAA", "AAAAAAAA", "no sketch at all", "é"])
def test_what_is_no_sketch_is_as_far_off_as_can_be(sketch: str) -> None:
    assert sketch_distance_ppm(sketch, PROJECTIONS) == FARTHEST_PPM


def test_the_mean_distance_is_held_against_the_bound_of_the_count() -> None:
    margins = judge_margins([[0.0] * 10] * 3, THRESHOLDS, version="1")

    judged = judge_sketches(margins, [10_000, 20_000, 60_001], THRESHOLDS)

    assert judged.passed
    assert (judged.sketch_distance_ppm, judged.sketch_threshold_ppm) == (30_000, 25_000)


def test_a_missing_sketch_or_bound_leaves_no_evidence() -> None:
    three = judge_margins([[0.0] * 10] * 3, THRESHOLDS, version="1")
    eight = judge_margins([[0.0] * 10] * 8, THRESHOLDS, version="1")

    assert judge_sketches(three, [1, None, 1], THRESHOLDS) == three
    assert judge_sketches(eight, [1] * 8, THRESHOLDS) == eight


@pytest.mark.parametrize(
    ("distance", "threshold", "quality"),
    [(None, None, 1_000_000), (20, 20, 1_250_000), (21, 20, 1_000_000)],
)
def test_sketches_that_hold_are_worth_a_quarter_more(
    distance: int | None, threshold: int | None, quality: int
) -> None:
    assert quality_ppm(proven(distance, threshold)) == quality


def test_a_poor_sketch_is_shown_and_rejects_nothing() -> None:
    proof = proven(30_000, 20_000).proof
    assert isinstance(proof, TokenProof)

    tokens, sketch = proof_findings(proof)

    assert tokens.hard
    assert tokens.passed
    assert (sketch.code, sketch.value, sketch.high) == ("sketch_distance_ppm", 30_000, 20_000)
    assert not sketch.hard
    assert not sketch.passed


def test_without_a_sketch_there_is_no_finding_on_it() -> None:
    proof = proven(None, None).proof
    assert isinstance(proof, TokenProof)

    assert len(proof_findings(proof)) == 1
