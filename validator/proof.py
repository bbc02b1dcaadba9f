"""The token proof: did the declared model, at the declared precision, write these tokens?

The miner's own tokens are fed to the reference model, one prefill per sampled prompt, and
each token's margin is measured: how many logits it lies below the reference's own choice.
An honest run has margins near zero, from rounding alone; cheaper weights have large ones.
Texts are never compared: after one honest near-tie greedy texts part for good.

Three statistics are held against thresholds that `scripts.calibrate_proof` has set on honest
stacks, per model and number format: the mean of min(margin, 1 logit), the share of tokens
above the largest ordinary honest margin, and the prompts with a margin that no honest stack
comes near. Everything after the margins is integer arithmetic (Token-DiFR, arXiv 2511.20621,
is the method's origin).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from typing import Annotated

from pydantic import Field, ValidationError

from protocol.errors import ConfigurationError
from protocol.ids import Nonce
from protocol.messages import Message, Text
from protocol.models import Dtype
from protocol.sketch import STEPS_PER_UNIT, squared_distance, unpack_sketch
from protocol.units import PPM_ONE

MARGIN_CLIP_MICROLOGITS = 1_000_000
"""Larger margins count as one logit in the mean, so that one token can't carry it."""
MARGIN_STEP_MICROLOGITS = 1_000
"""Margins are rounded to this: finer differences are between two verifiers, not two miners."""

FARTHEST_PPM = 500_000
"""Distance of a sketch that has nothing to do with the prompt."""

_SKETCH_STEP_PPM = 100
_MICROLOGITS = 1_000_000
_Whole = Annotated[int, Field(ge=0, lt=2**53)]


class Bound(Message):
    """What an honest report stays below at one sample count."""

    sample_count: Annotated[int, Field(ge=1, lt=2**20)]
    mean_micrologits: _Whole
    exceeding_ppm: _Whole
    cheaper_micrologits: _Whole | None = None
    """By how much a cheaper format's mean margin may be smaller; None where not calibrated."""
    sketch_ppm: _Whole | None = None
    """Largest mean distance of honest sketches; None where none were calibrated."""


class ProofThresholds(Message):
    """The calibrated thresholds of one model in one number format."""

    model: Text
    revision: Text
    dtype: Dtype
    exceeding_micrologits: _Whole
    """Above this a token counts as exceeding: 99.9th percentile of honest margins."""
    hard_micrologits: _Whole
    """Above this a prompt fails outright; no honest margin came within a factor of it."""
    bounds: Annotated[tuple[Bound, ...], Field(min_length=1)]
    """By ascending sample count, from 1."""
    origin: str
    """How they were obtained, in a sentence."""
    cheaper: tuple[Text, ...] = ()
    """Formats of `protocol.cheap_weights` that the answers are re-scored with as well."""

    def bound_at(self, sample_count: int) -> Bound:
        """The bound for a sample count, linear between calibrated ones, rounded up.

        Bounds fall with the sample count along a convex curve, so a straight line lies above
        it and errs towards accepting. Past the last one the last holds.

        Raises:
            ValueError: If `sample_count` is below the first calibrated one.
        """
        if sample_count < self.bounds[0].sample_count:
            raise ValueError(f"a proof needs at least {self.bounds[0].sample_count} samples")
        for low, high in pairwise(self.bounds):
            if sample_count < high.sample_count:
                return _between(low, high, sample_count)
        return self.bounds[-1]


class ThresholdsFile(Message):
    """`validator/data/proof_thresholds.json`."""

    version: Text
    """Goes into every verdict; changes with any number in the file."""
    entries: tuple[ProofThresholds, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofResult:
    """What re-scoring says about one report; the fields are those of the signed `TokenProof`."""

    passed: bool
    mean_margin_micrologits: int
    exceeding_ppm: int
    hard_fail_count: int
    sample_count: int
    """Prompts re-scored."""
    threshold_micrologits: int
    """What the mean was held against."""
    thresholds_version: str
    closer_to: str | None = None
    """A cheaper format that the tokens fit better."""
    sketch_distance_ppm: int | None = None
    """Mean over the prompts; None unless every sampled prompt has a sketch."""
    sketch_threshold_ppm: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sampled prompt, with the answer that the miner committed to."""

    prompt_ids: tuple[int, ...]
    """Recomputed by the validator from nonce and prompt; compare with the leaf's digest first."""
    output_ids: tuple[int, ...]
    nonce: Nonce | None = None
    sketch: str | None = None


def load_thresholds() -> ThresholdsFile:
    """The thresholds that this version ships.

    Raises:
        ConfigurationError: If the file is damaged.
    """
    text = resources.files("validator").joinpath("data/proof_thresholds.json").read_text("utf-8")
    try:
        return ThresholdsFile.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError(
            f"the proof thresholds are damaged: {error.error_count()} faults",
            hint="Install carbonbench again, or run scripts.calibrate_proof.",
        ) from error


def thresholds_for(
    thresholds: ThresholdsFile, *, model: str, revision: str, dtype: str
) -> ProofThresholds:
    """The entry of one model in one number format.

    Raises:
        ConfigurationError: If it was never calibrated: without that, nothing can be proven.
    """
    for entry in thresholds.entries:
        if (entry.model, entry.revision, entry.dtype) == (model, revision, dtype):
            return entry
    raise ConfigurationError(
        f"no proof thresholds for {model} at {revision} in {dtype}",
        hint="Calibrate them with `python -m scripts.calibrate_proof`.",
    )


def judge_margins(
    margins: Sequence[Sequence[float]], thresholds: ProofThresholds, *, version: str
) -> ProofResult:
    """Hold a report's margins against the thresholds.

    Args:
        margins: In logits, one sequence per sampled prompt, one margin per answer token,
            >= 0, infinite for a token that the workload masks.
        thresholds: Of the report's model and number format.
        version: Of the thresholds file.

    Raises:
        ValueError: If there are no margins, or fewer samples than were calibrated for.
    """
    rounded = [[_micrologits(margin) for margin in prompt] for prompt in margins]
    tokens = [margin for prompt in rounded for margin in prompt]
    if not tokens:
        raise ValueError("a proof needs at least one token")
    bound = thresholds.bound_at(len(rounded))
    mean = clipped_mean_micrologits(margins)
    exceeding = sum(margin > thresholds.exceeding_micrologits for margin in tokens)
    exceeding_ppm = exceeding * PPM_ONE // len(tokens)
    hard = sum(any(margin > thresholds.hard_micrologits for margin in prompt) for prompt in rounded)
    return ProofResult(
        passed=mean <= bound.mean_micrologits and exceeding_ppm <= bound.exceeding_ppm and not hard,
        mean_margin_micrologits=mean,
        exceeding_ppm=exceeding_ppm,
        hard_fail_count=hard,
        sample_count=len(rounded),
        threshold_micrologits=bound.mean_micrologits,
        thresholds_version=version,
    )


def judge_cheaper(
    result: ProofResult,
    margins: Sequence[Sequence[float]],
    cheaper: Mapping[str, Sequence[Sequence[float]]],
    thresholds: ProofThresholds,
) -> ProofResult:
    """The result, failed if a cheaper format explains the tokens better than the declared one.

    Args:
        result: Of `margins` alone.
        margins: Under the declared weights, as `judge_margins` takes them.
        cheaper: Under the weights of cheaper formats, by name.
        thresholds: Of the report's model and number format.
    """
    bound = thresholds.bound_at(len(margins)).cheaper_micrologits
    if bound is None:
        return result
    declared = clipped_mean_micrologits(margins)
    for name, values in cheaper.items():
        if declared - clipped_mean_micrologits(values) > bound:
            return replace(result, passed=False, closer_to=name)
    return result


def clipped_mean_micrologits(margins: Sequence[Sequence[float]]) -> int:
    """Mean over all tokens of min(margin, 1 logit)."""
    tokens = [_micrologits(margin) for prompt in margins for margin in prompt]
    return sum(min(margin, MARGIN_CLIP_MICROLOGITS) for margin in tokens) // len(tokens)


def judge_sketches(
    result: ProofResult, distances: Sequence[int | None], thresholds: ProofThresholds
) -> ProofResult:
    """The result with what the sketches of its prompts came to; unchanged if one is missing.

    Args:
        result: Of the same prompts' margins.
        distances: By prompt (ppm of a projection's standard deviation); None without a sketch.
        thresholds: Of the report's model and number format.
    """
    threshold = thresholds.bound_at(len(distances)).sketch_ppm
    found = [distance for distance in distances if distance is not None]
    if threshold is None or len(found) < len(distances):
        return result
    return replace(
        result,
        sketch_distance_ppm=sum(found) // len(found),
        sketch_threshold_ppm=threshold,
    )


def sketch_distance_ppm(sketch: str, projections: Sequence[float]) -> int:
    """Root mean square difference between a sketch and the reference's projections.

    In ppm of a projection's standard deviation, rounded to 100: finer differences are between
    two verifiers. A sketch that is none, or has another length, is as far off as can be.
    """
    steps = unpack_sketch(sketch)
    if steps is None or len(steps) != len(projections):
        return FARTHEST_PPM
    root: float = squared_distance(steps, projections) ** 0.5 / STEPS_PER_UNIT
    steps_ppm = round(root * PPM_ONE / _SKETCH_STEP_PPM) * _SKETCH_STEP_PPM
    return min(steps_ppm, FARTHEST_PPM)


def _micrologits(margin: float) -> int:
    """A margin in micro-logits, rounded to whole steps; anything past a million logits is that."""
    bounded = min(margin, float(_MICROLOGITS))
    steps = round(bounded * _MICROLOGITS / MARGIN_STEP_MICROLOGITS)
    return steps * MARGIN_STEP_MICROLOGITS


def _between(low: Bound, high: Bound, sample_count: int) -> Bound:
    width = high.sample_count - low.sample_count
    step = sample_count - low.sample_count

    def interpolated(start: int, end: int) -> int:
        return -((start * (width - step) + end * step) // -width)

    def either(start: int | None, end: int | None) -> int | None:
        return None if start is None or end is None else interpolated(start, end)

    return Bound(
        sample_count=sample_count,
        mean_micrologits=interpolated(low.mean_micrologits, high.mean_micrologits),
        exceeding_ppm=interpolated(low.exceeding_ppm, high.exceeding_ppm),
        cheaper_micrologits=either(low.cheaper_micrologits, high.cheaper_micrologits),
        sketch_ppm=either(low.sketch_ppm, high.sketch_ppm),
    )
