"""From measured margins to thresholds, and what the thresholds catch: bootstrap, no model.

Prompts are split in two: thresholds are set on the even ones and tested on the odd ones, so
that the error rates shown are for prompts that the thresholds have not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validator.proof import (
    MARGIN_CLIP_MICROLOGITS,
    MARGIN_STEP_MICROLOGITS,
    Bound,
    ProofThresholds,
)

SAMPLE_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Sample counts with a bound of their own."""
REPORTS = 40_000
"""Bootstrapped reports per stack and sample count."""
SAFETY = 1.25
"""Factor on every bootstrap quantile, for honest stacks that were not measured."""

_QUANTILE = 1 - 2.5e-4
"""A report fails on either of two statistics: together 0.5 per 1,000, half of what is allowed."""
_EXCEEDING_QUANTILE = 0.999
_HARD_FACTOR = 8
_PPM = 1_000_000

Margins = Sequence[Sequence[float]]
_Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """Least thresholds of a number format: what differing kernels may do beyond our stacks."""

    mean_micrologits: int
    exceeding_micrologits: int
    hard_micrologits: int


FLOORS = {
    "float32": Floors(mean_micrologits=200, exceeding_micrologits=5_000, hard_micrologits=250_000),
    "bfloat16": Floors(
        mean_micrologits=1_000, exceeding_micrologits=125_000, hard_micrologits=2_000_000
    ),
    "float16": Floors(mean_micrologits=400, exceeding_micrologits=30_000, hard_micrologits=500_000),
}
"""float32 noise is below 0.001 logits; bfloat16 steps are 0.125 at the logits' size of 16 to 32,
float16 steps an eighth of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: how often a stack's reports fail, by sample count."""

    stack: str
    differing_share: float
    """Tokens with a margin of at least one step."""
    mean_margin: float
    """Mean margin clipped at one logit (logits)."""
    largest_margin: float
    failing_share: dict[int, float]


def set_thresholds(
    honest: Mapping[str, Margins], *, name: tuple[str, str, str], origin: str
) -> ProofThresholds:
    """Thresholds under which reports of the worst honest stack fail at most 0.5 per 1,000.

    Args:
        honest: Margins (logits) by stack, one row per prompt.
        name: Model, revision and number format.
        origin: How the margins were measured, for the reader of the file.
    """
    floors = FLOORS[name[2]]
    steps = {stack: _steps(margins) for stack, margins in honest.items()}
    pooled = np.concatenate([values.ravel() for values in steps.values()])
    ordinary = int(np.quantile(pooled, _EXCEEDING_QUANTILE, method="higher"))
    exceeding = max(ordinary, floors.exceeding_micrologits)
    bounds = [_bound(steps, count, exceeding, floors) for count in SAMPLE_COUNTS]
    return ProofThresholds(
        model=name[0],
        revision=name[1],
        dtype=name[2],  # type: ignore[arg-type]  # a key of FLOORS
        exceeding_micrologits=exceeding,
        hard_micrologits=max(_HARD_FACTOR * int(pooled.max()), floors.hard_micrologits),
        bounds=tuple(_falling(bounds)),
        origin=origin,
    )


def rate_stack(
    stack: str, margins: Margins, thresholds: ProofThresholds, counts: Sequence[int]
) -> Row:
    """How often reports of one stack fail under the thresholds, by bootstrap."""
    steps = _steps(margins)
    return Row(
        stack=stack,
        differing_share=float((steps > 0).mean()),
        mean_margin=float(np.minimum(steps, MARGIN_CLIP_MICROLOGITS).mean() / _PPM),
        largest_margin=max(margin for prompt in margins for margin in prompt),
        failing_share={
            count: _failing_share(steps, thresholds, _drawn(len(steps), count)) for count in counts
        },
    )


def failing_mixtures(
    cheat: Margins, honest: Margins, share: float, thresholds: ProofThresholds, count: int
) -> float:
    """Share of failing reports when each prompt is cheated with probability `share`."""
    generator = np.random.default_rng(count)
    steps = np.concatenate([_steps(cheat), _steps(honest)])
    cheated = generator.integers(0, len(cheat), size=(REPORTS, count))
    rest = generator.integers(len(cheat), len(steps), size=(REPORTS, count))
    drawn = np.where(generator.random((REPORTS, count)) < share, cheated, rest)
    return _failing_share(steps, thresholds, drawn)


def _failing_share(steps: _Counts, thresholds: ProofThresholds, drawn: _Counts) -> float:
    bound = thresholds.bound_at(drawn.shape[1])
    means, exceeding = _bootstrap(steps, drawn, thresholds.exceeding_micrologits)
    largest = np.amax(steps, axis=1)
    hard = np.amax(largest[drawn], axis=1) > thresholds.hard_micrologits
    failed = (means > bound.mean_micrologits) | (exceeding > bound.exceeding_ppm) | hard
    return float(failed.mean())


def _bound(steps: Mapping[str, _Counts], count: int, exceeding: int, floors: Floors) -> Bound:
    drawn = (_bootstrap(values, _drawn(len(values), count), exceeding) for values in steps.values())
    means, shares = zip(*drawn, strict=True)
    mean = SAFETY * max(float(np.quantile(values, _QUANTILE)) for values in means)
    share = SAFETY * max(float(np.quantile(values, _QUANTILE)) for values in shares)
    tokens = count * next(iter(steps.values())).shape[1]
    return Bound(
        sample_count=count,
        mean_micrologits=max(round(mean), floors.mean_micrologits),
        exceeding_ppm=max(round(share), 1 + _PPM // tokens),
    )


def _falling(bounds: Sequence[Bound]) -> list[Bound]:
    """The bounds, each at least as large as those of more samples."""
    fallen: list[Bound] = []
    for bound in reversed(bounds):
        after = fallen[-1] if fallen else bound
        fallen.append(
            Bound(
                sample_count=bound.sample_count,
                mean_micrologits=max(bound.mean_micrologits, after.mean_micrologits),
                exceeding_ppm=max(bound.exceeding_ppm, after.exceeding_ppm),
            )
        )
    return fallen[::-1]


def _bootstrap(
    steps: _Counts, drawn: _Counts, exceeding: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean margins (micro-logits) and exceeding shares (ppm) of drawn reports."""
    clipped = np.minimum(steps, MARGIN_CLIP_MICROLOGITS).mean(axis=1)
    over = (steps > exceeding).mean(axis=1) * _PPM
    return clipped[drawn].mean(axis=1), over[drawn].mean(axis=1)


def _drawn(population: int, count: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(count)
    return generator.integers(0, population, size=(REPORTS, count))


def _steps(margins: Margins) -> _Counts:
    """Margins in micro-logits, rounded as the proof rounds them, shape (prompts, tokens)."""
    values = np.minimum(np.array(margins, dtype=np.float64), _PPM)
    steps = np.rint(values * _PPM / MARGIN_STEP_MICROLOGITS).astype(np.int64)
    return steps * MARGIN_STEP_MICROLOGITS
