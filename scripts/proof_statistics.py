"""From measured margins and sketches to thresholds, and what these catch: bootstrap, no model.

Prompts are split in two: thresholds are set on one half and tested on the other, so that the
error rates shown are for prompts that the thresholds have not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
SAFETY = 1.35
"""Factor on every bootstrap quantile, for honest stacks that were not measured."""

_QUANTILE = 1 - 2.5e-4
"""A report fails on any of three statistics: together under 1 per 1,000."""
_EXCEEDING_QUANTILE = 0.999
_HARD_FACTOR = 8
_PPM = 1_000_000

Margins = Sequence[Sequence[float]]
"""Margins in logits, one list per prompt."""
_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one stack's answers came to, prompt by prompt."""

    margins: Margins
    """Under the declared weights."""
    cheaper: Mapping[str, Margins] = field(default_factory=dict)
    """Under the weights of cheaper formats."""
    distances_ppm: Sequence[int] = ()
    """Of the sketches; empty where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """Least thresholds of a number format: what differing kernels may do beyond our stacks."""

    mean_micrologits: int
    exceeding_micrologits: int
    hard_micrologits: int
    cheaper_micrologits: int
    sketch_ppm: int


FLOORS = {
    "float32": Floors(
        mean_micrologits=200,
        exceeding_micrologits=5_000,
        hard_micrologits=250_000,
        cheaper_micrologits=20,
        sketch_ppm=2_000,
    ),
    "bfloat16": Floors(
        mean_micrologits=1_000,
        exceeding_micrologits=250_000,
        hard_micrologits=2_000_000,
        cheaper_micrologits=300,
        sketch_ppm=15_000,
    ),
    "float16": Floors(
        mean_micrologits=400,
        exceeding_micrologits=30_000,
        hard_micrologits=500_000,
        cheaper_micrologits=50,
        sketch_ppm=4_000,
    ),
}
"""float32 noise is below 0.001 logits; bfloat16 steps are 0.125 at the logits' size of 16 to 32,
float16 steps an eighth of that. Rounding alone puts a sketch 1,130 ppm off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: how often a stack's reports fail, by sample count."""

    stack: str
    differing_share: float
    """Tokens with a margin of at least one step."""
    mean_margin: float
    """Mean margin clipped at one logit (logits)."""
    largest_margin: float
    mean_distance_ppm: float | None
    """Of the sketches."""
    failing_share: dict[int, float]
    """By the tokens."""
    sketch_failing_share: dict[int, float]
    """By the sketches; empty where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompts:
    """The statistics' terms, one value per prompt."""

    clipped: _Floats
    """Mean of min(margin, 1 logit) over the tokens (micro-logits)."""
    exceeding: _Floats
    """Share of tokens above the ordinary honest margins (ppm)."""
    largest: _Floats
    excess: Mapping[str, _Floats]
    """By how much cheaper weights' mean margin is smaller (micro-logits)."""


def set_thresholds(
    honest: Mapping[str, Measured], *, name: tuple[str, str, str], origin: str
) -> ProofThresholds:
    """Thresholds under which reports of the worst honest stack fail less than once in 1,000.

    Args:
        honest: By stack.
        name: Model, revision and number format.
        origin: How the margins were measured, for the reader of the file.
    """
    floors = FLOORS[name[2]]
    pooled = np.concatenate([_steps(one.margins).ravel() for one in honest.values()])
    ordinary = int(np.quantile(pooled, _EXCEEDING_QUANTILE, method="higher"))
    exceeding = max(ordinary, floors.exceeding_micrologits)
    stacks = [_prompts(one, exceeding) for one in honest.values()]
    distances = [np.array(one.distances_ppm) for one in honest.values() if one.distances_ppm]
    tokens = len(next(iter(honest.values())).margins[0])
    bounds = [_bound(stacks, distances, count, tokens, floors) for count in SAMPLE_COUNTS]
    return ProofThresholds(
        model=name[0],
        revision=name[1],
        dtype=name[2],  # type: ignore[arg-type]  # a key of FLOORS
        exceeding_micrologits=exceeding,
        hard_micrologits=max(_HARD_FACTOR * int(pooled.max()), floors.hard_micrologits),
        bounds=tuple(_falling(bounds)),
        origin=origin,
        cheaper=tuple(sorted(stacks[0].excess)),
    )


def rate_stack(
    stack: str, measured: Measured, thresholds: ProofThresholds, counts: Sequence[int]
) -> Row:
    """How often reports of one stack fail under the thresholds, by bootstrap."""
    steps = _steps(measured.margins)
    prompts = _prompts(measured, thresholds.exceeding_micrologits)
    distances = np.array(measured.distances_ppm)
    drawn = {count: _drawn(len(steps), count) for count in counts}
    return Row(
        stack=stack,
        differing_share=float((steps > 0).mean()),
        mean_margin=float(prompts.clipped.mean() / _PPM),
        largest_margin=max(margin for prompt in measured.margins for margin in prompt),
        mean_distance_ppm=float(distances.mean()) if len(distances) else None,
        failing_share={
            count: _failing_share(prompts, thresholds, drawn[count]) for count in counts
        },
        sketch_failing_share={
            count: float((distances[drawn[count]].mean(axis=1) > bound).mean())
            for count in counts
            if len(distances) and (bound := thresholds.bound_at(count).sketch_ppm) is not None
        },
    )


def failing_mixtures(
    cheat: Measured, honest: Measured, share: float, thresholds: ProofThresholds, count: int
) -> float:
    """Share of reports that fail by their tokens when prompts are cheated with a probability."""
    generator = np.random.default_rng(count)
    first, second = len(cheat.margins), len(honest.margins)
    both = Measured(
        margins=[*cheat.margins, *honest.margins],
        cheaper={
            name: [*rows, *honest.cheaper[name]]
            for name, rows in cheat.cheaper.items()
            if name in honest.cheaper
        },
    )
    cheated = generator.integers(0, first, size=(REPORTS, count))
    rest = generator.integers(first, first + second, size=(REPORTS, count))
    drawn = np.where(generator.random((REPORTS, count)) < share, cheated, rest)
    return _failing_share(_prompts(both, thresholds.exceeding_micrologits), thresholds, drawn)


def _failing_share(prompts: _Prompts, thresholds: ProofThresholds, drawn: _Counts) -> float:
    bound = thresholds.bound_at(drawn.shape[1])
    failed = prompts.clipped[drawn].mean(axis=1) > bound.mean_micrologits
    failed |= prompts.exceeding[drawn].mean(axis=1) > bound.exceeding_ppm
    failed |= np.amax(prompts.largest[drawn], axis=1) > thresholds.hard_micrologits
    if bound.cheaper_micrologits is not None:
        for values in prompts.excess.values():
            failed |= values[drawn].mean(axis=1) > bound.cheaper_micrologits
    return float(failed.mean())


def _bound(
    stacks: Sequence[_Prompts],
    distances: Sequence[_Counts],
    count: int,
    tokens: int,
    floors: Floors,
) -> Bound:
    excess = [values for prompts in stacks for values in prompts.excess.values()]
    return Bound(
        sample_count=count,
        mean_micrologits=max(
            _worst([prompts.clipped for prompts in stacks], count), floors.mean_micrologits
        ),
        exceeding_ppm=max(
            _worst([prompts.exceeding for prompts in stacks], count),
            1 + _PPM // (count * tokens),
        ),
        cheaper_micrologits=max(_worst(excess, count), floors.cheaper_micrologits)
        if excess
        else None,
        sketch_ppm=max(_worst(distances, count), floors.sketch_ppm) if distances else None,
    )


def _worst(stacks: Sequence[NDArray[np.generic]], count: int) -> int:
    """The bootstrap quantile of the worst stack's mean over a report, with the safety factor."""
    means = (values[_drawn(len(values), count)].mean(axis=1) for values in stacks)
    return round(SAFETY * max(float(np.quantile(values, _QUANTILE)) for values in means))


def _falling(bounds: Sequence[Bound]) -> list[Bound]:
    """The bounds, each at least as large as those of more samples."""
    fallen: list[Bound] = []
    for bound in reversed(bounds):
        if fallen:
            after = fallen[-1].model_dump()
            larger = {
                name: max(value, after[name])
                for name, value in bound.model_dump(exclude={"sample_count"}).items()
                if value is not None
            }
            fallen.append(bound.model_copy(update=larger))
        else:
            fallen.append(bound)
    return fallen[::-1]


def _prompts(measured: Measured, exceeding: int) -> _Prompts:
    steps = _steps(measured.margins)
    clipped = _clipped(steps)
    return _Prompts(
        clipped=clipped,
        exceeding=(steps > exceeding).mean(axis=1) * _PPM,
        largest=np.amax(steps, axis=1).astype(np.float64),
        excess={name: clipped - _clipped(_steps(rows)) for name, rows in measured.cheaper.items()},
    )


def _clipped(steps: _Counts) -> _Floats:
    means: _Floats = np.minimum(steps, MARGIN_CLIP_MICROLOGITS).mean(axis=1)
    return means


def _drawn(population: int, count: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(count)
    return generator.integers(0, population, size=(REPORTS, count))


def _steps(margins: Margins) -> _Counts:
    """Margins in micro-logits, rounded as the proof rounds them, shape (prompts, tokens)."""
    values = np.minimum(np.array(margins, dtype=np.float64), _PPM)
    steps = np.rint(values * _PPM / MARGIN_STEP_MICROLOGITS).astype(np.int64)
    return steps * MARGIN_STEP_MICROLOGITS
