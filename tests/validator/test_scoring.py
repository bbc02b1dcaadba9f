"""Scores: plateau, coverage, averages, fraud, and that they do not depend on anything else."""

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.canonical import Json, canonical_json
from protocol.constants import EXCLUSION_ROUNDS
from protocol.errors import RejectionCode
from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import Finding, MinerScore, RefusalRecord, Verdict
from tests.support import factories
from tests.support.keys import DevSigner
from validator.cohorts import Observation, log_nano
from validator.scoring import (
    RoundScores,
    Scorecard,
    consistency_ppm,
    coverage_ppm,
    distance_milli,
    excluded_until,
    reason,
    score_round,
)

NANO = 10**9
CENTRE = log_nano(1_000_000)
MINERS = [DevSigner(f"//scored-{index}").hotkey for index in range(24)]
VECTOR = Path(__file__).parents[1] / "vectors" / "scores.json"


def verdict(place: int, uwh: int | None = 1_000_000, **changes: object) -> Verdict:
    """An accepted verdict with this figure; rejected for its tokens without one."""
    fields: dict[str, object] = {
        "miner": MINERS[place],
        "operator": MINERS[place],
        "energy_per_1k_output_tokens_uwh": uwh,
    }
    if uwh is None:
        refusal = RefusalRecord(code="token_proof_failed", detail="margins")
        fields |= {"outcome": "rejected", "rejection": refusal, "cell": None}
    return factories.verdict().model_copy(update=fields | changes)


def card(verdicts: Sequence[Verdict], **changes: object) -> Scorecard:
    fields: dict[str, object] = {
        "round": RoundNumber(7),
        "round_blocks": 360,
        "verdicts": tuple(verdicts),
        "operators": {Hotkey(v.miner): Coldkey(v.operator) for v in verdicts},
        "history": (),
        "averages_ppm": {},
        "recent_codes": {},
    }
    return Scorecard(**(fields | changes))  # type: ignore[arg-type]


def of(scores: RoundScores, place: int) -> MinerScore:
    return next(score for score in scores.scores if score.miner == MINERS[place])


def mean_consistency(shift: float, *, count: int = 20, trials: int = 300) -> float:
    """Mean C of one operator of a cell whose value is off by a share."""
    total = 0
    for seed in range(trials):
        chance = random.Random(seed)  # noqa: S311 - a simulation
        logs = [CENTRE + round(NANO * chance.gauss(0, 0.045)) for _ in range(count)]
        own = logs[0] + round(NANO * math.log1p(shift))
        total += consistency_ppm(distance_milli(own, logs[1:]))
    return total / trials / 10**6


def test_honesty_keeps_full_consistency() -> None:
    assert mean_consistency(0.0) >= 0.99


def test_copying_the_consensus_gains_nothing_over_measuring() -> None:
    copied = consistency_ppm(distance_milli(CENTRE, [CENTRE] * 19)) / 10**6

    assert copied - mean_consistency(0.0) <= 0.01


@pytest.mark.parametrize(("shift", "most"), [(-0.2, 0.25), (-0.3, 0.01), (0.3, 0.1)])
def test_being_far_off_costs_consistency(shift: float, most: float) -> None:
    assert mean_consistency(shift) <= most


@pytest.mark.parametrize(
    ("z_milli", "consistency"),
    [(None, 1_000_000), (0, 1_000_000), (2000, 1_000_000), (-3000, 500_000), (4000, 0), (-9000, 0)],
)
def test_consistency_is_a_plateau(z_milli: int | None, consistency: int) -> None:
    assert consistency_ppm(z_milli) == consistency


@given(st.integers(-10_000, 10_000))
def test_consistency_has_no_side(z_milli: int) -> None:
    assert consistency_ppm(z_milli) == consistency_ppm(-z_milli)


def test_alone_there_is_nobody_to_disagree_with() -> None:
    assert distance_milli(CENTRE, []) is None


@pytest.mark.parametrize(
    ("operators", "crowd", "coverage"),
    [
        (1, 1, 1_000_000),
        (2, 1, 1_581_138),
        (5, 1, 1_000_000),
        (20, 1, 500_000),
        (5, 2, 1_000_000),
        (5, 4, 500_000),
    ],
)
def test_scarce_cells_pay_more_and_crowds_share(operators: int, crowd: int, coverage: int) -> None:
    assert coverage_ppm(operators, crowd) == coverage


def test_the_level_of_the_energy_is_never_paid() -> None:
    low = score_round(card([verdict(place, 500_000) for place in range(5)]))
    high = score_round(card([verdict(place, 5_000_000) for place in range(5)]))

    assert low.scores == high.scores


@given(st.permutations(range(6)))
def test_scores_do_not_depend_on_the_order_of_verdicts(order: list[int]) -> None:
    figures = [1_000_000, 1_020_000, 990_000, 700_000, 1_400_000, 1_010_000]
    one = score_round(card([verdict(place, figures[place]) for place in range(6)]))
    other = score_round(card([verdict(place, figures[place]) for place in order]))

    assert one == other


def test_the_average_moves_by_a_tenth() -> None:
    before = {MINERS[0]: 500_000, MINERS[1]: 500_000}

    scores = score_round(card([verdict(0), verdict(1, None)], averages_ppm=before))

    paid = of(scores, 0).report_score_ppm
    assert of(scores, 0).average_score_ppm == round(450_000 + paid / 10)
    assert of(scores, 1).average_score_ppm == 450_000


def test_a_miner_without_verdict_keeps_its_average_while_registered() -> None:
    before = {MINERS[5]: 123_456, MINERS[6]: 1}
    operators = {MINERS[place]: Coldkey(MINERS[place]) for place in (0, 5)}

    scores = score_round(card([verdict(0)], averages_ppm=before, operators=operators))

    assert of(scores, 5).average_score_ppm == 123_456
    assert MINERS[6] not in {score.miner for score in scores.scores}


def test_a_second_failed_token_proof_in_five_rounds_halves_the_average() -> None:
    before = {MINERS[0]: 400_000}
    failed = RejectionCode.TOKEN_PROOF_FAILED

    once = score_round(card([verdict(0, None)], averages_ppm=before))
    again = score_round(
        card([verdict(0, None)], averages_ppm=before, recent_codes={MINERS[0]: ("", failed)})
    )

    assert of(once, 0).average_score_ppm == 360_000
    assert of(again, 0).average_score_ppm == 180_000


def test_proven_fraud_loses_everything_and_is_excluded() -> None:
    refusal = RefusalRecord(code=RejectionCode.COMMITMENT_CHANGED, detail="two signatures")
    fraud = verdict(0, None, rejection=refusal)

    scores = score_round(card([fraud], averages_ppm={MINERS[0]: 900_000}))

    assert of(scores, 0).average_score_ppm == 0
    assert excluded_until(fraud) == fraud.round + EXCLUSION_ROUNDS
    assert excluded_until(verdict(1, None)) is None


def test_earlier_reports_of_a_cell_count_until_they_leave_the_window() -> None:
    def seen(number: int) -> Observation:
        return Observation(
            cell_key=factories.cell().key,
            miner=MINERS[1],
            operator=Coldkey(MINERS[1]),
            round=RoundNumber(number),
            log_nano=CENTRE,
        )

    near = score_round(card([verdict(0)], history=(seen(6),)))
    far = score_round(card([verdict(0)], round=RoundNumber(700), history=(seen(6),)))

    assert near.cells[0].operator_count == 2
    assert far.cells[0].operator_count == 1


def test_the_reason_names_the_outlier_and_the_rejection() -> None:
    scores = score_round(card([verdict(place) for place in range(4)] + [verdict(4, 650_000)]))
    slow = Finding(code="mean_power_ppm", passed=False, hard=False, value=1, low=2, high=3)

    assert reason(verdict(0, findings=()), of(scores, 0)) == "accepted"
    outlier = reason(verdict(4, 650_000, findings=(slow,)), of(scores, 4))
    assert outlier.startswith("accepted; energy_outlier: z = -")
    assert outlier.endswith("below the cohort; soft: mean_power_ppm")
    assert reason(verdict(5, None), None) == "token_proof_failed: margins"
    assert reason(None, None) == "no verdict"


def test_scores_are_the_same_bytes_as_ever() -> None:
    """A changed number here changes every validator's weights: it needs a new version."""
    figures = (1_000_000, 1_013_000, 987_654, 700_001, 1_100_000)
    history = tuple(
        Observation(
            cell_key=factories.cell().key,
            miner=MINERS[place],
            operator=Coldkey(MINERS[place]),
            round=RoundNumber(number),
            log_nano=log_nano(uwh + 1_000 * number),
        )
        for number in (4, 5, 6)
        for place, uwh in enumerate(figures)
    )
    played = card(
        [verdict(place, uwh) for place, uwh in enumerate(figures)],
        history=history,
        averages_ppm={MINERS[0]: 333_333},
    )

    scores = score_round(played)

    found: Json = {
        "cells": [value.model_dump(mode="json") for value in scores.cells],
        "scores": [score.model_dump(mode="json") for score in scores.scores],
    }
    assert canonical_json(found) == canonical_json(json.loads(VECTOR.read_text()))


def test_a_round_of_256_miners_with_30_days_behind_it_is_scored_in_a_second() -> None:
    chance = random.Random(0)  # noqa: S311 - a simulation
    miners = [DevSigner(f"//many-{miner}").hotkey for miner in range(256)]
    keys = [factories.cell().model_copy(update={"model": f"m{index}"}).key for index in range(10)]
    history = [
        Observation(
            cell_key=keys[number % 10],
            miner=miner,
            operator=Coldkey(miner),
            round=RoundNumber(number),
            log_nano=CENTRE + round(chance.gauss(0, 0.045 * NANO)),
        )
        for number in range(600)
        for miner in miners
    ]
    cell = factories.cell().model_copy(update={"model": "m0"})
    verdicts = [
        verdict(0, 10**6 + place, miner=miner, operator=miner, cell=cell)
        for place, miner in enumerate(miners)
    ]
    played = card(verdicts, round=RoundNumber(600), history=history)

    begun = time.process_time()
    score_round(played)

    assert time.process_time() - begun <= 1.0
