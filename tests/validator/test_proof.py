"""The token proof: its arithmetic, its shipped thresholds, and cheaper weights caught."""

import math
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ConfigurationError
from protocol.generation import load_model
from protocol.ids import Nonce
from protocol.models import SMOLLM2_135M_PACKAGED
from protocol.prompts import short_standin_prompts, tagged_prompt
from scripts.cheat_weights import quantise_int4
from tests.support.model import need_smollm2, smollm2
from validator.proof import (
    Bound,
    ProofThresholds,
    Sample,
    judge_cheaper,
    judge_margins,
    load_thresholds,
    thresholds_for,
)
from validator.reference import Rescorer

MODEL = SMOLLM2_135M_PACKAGED
NEW_TOKENS = 10
THRESHOLDS = ProofThresholds(
    model="example/tiny",
    revision="1",
    dtype="bfloat16",
    exceeding_micrologits=250_000,
    hard_micrologits=3_000_000,
    bounds=(
        Bound(sample_count=2, mean_micrologits=30_000, exceeding_ppm=200_000),
        Bound(sample_count=8, mean_micrologits=12_000, exceeding_ppm=50_000),
        Bound(sample_count=64, mean_micrologits=5_000, exceeding_ppm=10_000),
    ),
    origin="made up",
)
MARGINS = st.floats(min_value=0, max_value=50) | st.just(math.inf)
REPORTS = st.lists(st.lists(MARGINS, min_size=1, max_size=10), min_size=2, max_size=12)


def prompts_of(*first: float, count: int = 8) -> list[list[float]]:
    """Margins of some prompts of ten tokens, all 0 but the first tokens'."""
    tokens = [*first] + [0.0] * (NEW_TOKENS * count - len(first))
    return [tokens[start : start + NEW_TOKENS] for start in range(0, len(tokens), NEW_TOKENS)]


def test_agreement_everywhere_passes() -> None:
    result = judge_margins(prompts_of(), THRESHOLDS, version="7")

    assert result.passed
    assert (result.mean_margin_micrologits, result.exceeding_ppm, result.hard_fail_count) == (
        0,
        0,
        0,
    )
    assert (result.sample_count, result.threshold_micrologits) == (8, 12_000)
    assert result.thresholds_version == "7"


def test_mean_is_of_clipped_margins_in_whole_steps() -> None:
    result = judge_margins(prompts_of(2.5, 0.0204, 0.0006, 0.0004), THRESHOLDS, version="7")

    assert result.mean_margin_micrologits == (1_000_000 + 20_000 + 1_000 + 0) // 80


def test_a_mean_above_the_bound_fails_and_at_the_bound_passes() -> None:
    assert judge_margins(prompts_of(*[0.24] * 4), THRESHOLDS, version="7").passed
    failed = judge_margins(prompts_of(*[0.24] * 4, 0.08), THRESHOLDS, version="7")

    assert not failed.passed
    assert failed.mean_margin_micrologits == 13_000
    assert failed.exceeding_ppm == failed.hard_fail_count == 0


def test_too_many_exceeding_tokens_fail() -> None:
    spread = prompts_of(*[0.26] * 4)
    loose = THRESHOLDS.model_copy(
        update={"bounds": (Bound(sample_count=8, mean_micrologits=10**6, exceeding_ppm=49_999),)}
    )

    result = judge_margins(spread, loose, version="7")

    assert result.exceeding_ppm == 50_000
    assert not result.passed


def test_one_impossible_margin_fails_outright() -> None:
    lenient = THRESHOLDS.model_copy(
        update={"bounds": (Bound(sample_count=8, mean_micrologits=10**6, exceeding_ppm=10**6),)}
    )

    assert judge_margins(prompts_of(3.0), lenient, version="7").passed
    for margin in (3.001, math.inf):
        result = judge_margins(prompts_of(margin), lenient, version="7")
        assert (result.hard_fail_count, result.passed) == (1, False)


def test_hard_failures_are_counted_by_prompt() -> None:
    margins = [[9.0, 9.0], [0.0, 0.0], [0.0, 9.0]]

    assert judge_margins(margins, THRESHOLDS, version="7").hard_fail_count == 2


@pytest.mark.parametrize("margins", [[], [[]], [[], []]])
def test_no_tokens_are_no_proof(margins: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        judge_margins(margins, THRESHOLDS, version="7")


def test_fewer_samples_than_calibrated_are_no_proof() -> None:
    with pytest.raises(ValueError, match="at least 2 samples"):
        judge_margins([[0.0]], THRESHOLDS, version="7")


@given(margins=REPORTS, prompt=st.integers(0, 11), token=st.integers(0, 9), more=MARGINS)
def test_a_larger_margin_never_helps(
    margins: list[list[float]], prompt: int, token: int, more: float
) -> None:
    worse = [list(values) for values in margins]
    row = worse[prompt % len(worse)]
    row[token % len(row)] += more

    before = judge_margins(margins, THRESHOLDS, version="7")
    after = judge_margins(worse, THRESHOLDS, version="7")

    assert after.mean_margin_micrologits >= before.mean_margin_micrologits
    assert after.hard_fail_count >= before.hard_fail_count
    assert before.passed or not after.passed


@given(margins=REPORTS, order=st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(
    margins: list[list[float]], order: Random
) -> None:
    shuffled = list(margins)
    order.shuffle(shuffled)

    assert judge_margins(shuffled, THRESHOLDS, version="7") == judge_margins(
        margins, THRESHOLDS, version="7"
    )


def test_bounds_are_linear_between_calibrated_counts_and_rounded_up() -> None:
    assert THRESHOLDS.bound_at(2) == THRESHOLDS.bounds[0]
    assert THRESHOLDS.bound_at(5).mean_micrologits == 21_000
    assert THRESHOLDS.bound_at(9).mean_micrologits == 11_875
    assert THRESHOLDS.bound_at(9).exceeding_ppm == 49_286  # 49,285.7
    assert THRESHOLDS.bound_at(64) == THRESHOLDS.bound_at(1000) == THRESHOLDS.bounds[-1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shipped_thresholds_cover_the_small_model(dtype: str) -> None:
    file = load_thresholds()

    entry = thresholds_for(file, model=MODEL.id, revision=MODEL.revision, dtype=dtype)

    assert entry.bounds[0].sample_count == 1


def test_shipped_thresholds_fall_with_the_count_and_never_to_zero() -> None:
    for entry in load_thresholds().entries:
        counts = [bound.sample_count for bound in entry.bounds]
        assert counts == sorted(set(counts))
        for few, many in pairwise(entry.bounds):
            assert few.mean_micrologits >= many.mean_micrologits > 0
            assert few.exceeding_ppm >= many.exceeding_ppm > 0
        assert entry.hard_micrologits > 2 * entry.exceeding_micrologits


def test_a_model_that_was_never_calibrated_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no proof thresholds for example/none") as caught:
        thresholds_for(load_thresholds(), model="example/none", revision="1", dtype="float32")
    assert "calibrate_proof" in caught.value.hint


def rescorer(*, streamed: bool = False) -> Rescorer:
    file = load_thresholds()
    entry = thresholds_for(file, model=MODEL.id, revision=MODEL.revision, dtype="float32")
    return Rescorer(
        need_smollm2(), thresholds=entry, version=file.version, threads=1, streamed=streamed
    )


@cache
def prompts(count: int) -> list[tuple[int, ...]]:
    """Token ids of tagged prompts that the calibration has not seen."""
    texts = short_standin_prompts(200 + count)[200:]
    return [
        smollm2().encode(tagged_prompt(Nonce(bytes([index]) * 32), text), new_tokens=NEW_TOKENS)
        for index, text in enumerate(texts)
    ]


def test_honest_answers_pass_and_int4_answers_fail_with_four_samples() -> None:
    cheap = load_model(need_smollm2(), dtype="float32", threads=1)
    quantise_int4(cheap)
    honest, cheated = (
        [
            Sample(prompt_ids=ids, output_ids=model.generate(ids, new_tokens=NEW_TOKENS))
            for ids in prompts(4)
        ]
        for model in (smollm2(), cheap)
    )
    verifier = rescorer()

    assert verifier.prove(honest).passed
    assert not verifier.prove(cheated).passed


def test_answers_to_another_prompt_and_impossible_tokens_fail() -> None:
    first, second = prompts(4)[:2]
    answer = smollm2().generate(first, new_tokens=NEW_TOKENS)
    verifier = rescorer()

    assert verifier.prove([Sample(prompt_ids=first, output_ids=answer)]).passed
    for sample in (
        Sample(prompt_ids=second, output_ids=answer),
        Sample(prompt_ids=first, output_ids=(2**31 - 1, *answer[1:])),
        Sample(prompt_ids=first, output_ids=()),
    ):
        assert verifier.prove([sample]).hard_fail_count == 1


def test_rescorer_encodes_as_a_miner_does() -> None:
    text = tagged_prompt(Nonce(bytes(32)), "= = Early life = =")

    assert rescorer().encode(text, new_tokens=NEW_TOKENS) == smollm2().encode(
        text, new_tokens=NEW_TOKENS
    )


def test_answers_that_fit_cheaper_weights_better_fail() -> None:
    bounds = tuple(
        bound.model_copy(update={"cheaper_micrologits": 500}) for bound in THRESHOLDS.bounds
    )
    thresholds = THRESHOLDS.model_copy(update={"bounds": bounds, "cheaper": ("int8",)})
    margins = prompts_of(*[0.24] * 4)
    result = judge_margins(margins, thresholds, version="7")

    caught = judge_cheaper(result, margins, {"int8": prompts_of()}, thresholds)
    fits_both = judge_cheaper(result, margins, {"int8": prompts_of(*[0.24] * 3, 0.2)}, thresholds)

    assert result.passed
    assert (caught.passed, caught.closer_to) == (False, "int8")
    assert fits_both == result
    assert judge_cheaper(result, margins, {"int8": prompts_of()}, THRESHOLDS) == result


def test_a_model_read_layer_by_layer_proves_the_same() -> None:
    ids = prompts(4)[3]
    sample = Sample(prompt_ids=ids, output_ids=smollm2().generate(ids, new_tokens=NEW_TOKENS))

    assert rescorer(streamed=True).prove([sample]) == rescorer().prove([sample])
