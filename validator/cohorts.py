"""What one cell's figure is, from what its operators measured.

Log scale, one value per operator, an outlier screen, then the Mandel-Paule mean; or the
median, and the label `contested`, when too much was screened. A mean without a screen has
breakdown point 0 and is never used (verification report, table 5.1).

Two validators must agree to the byte, so values are integers: natural logarithms in units of
10^-9, made by `decimal` (correctly rounded on every machine), and everything after it is exact
integer or decimal arithmetic that is rounded once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

from protocol.constants import (
    MAD_FLOOR_PPM,
    MODEL_UNCERTAINTY_PPM,
    PRIOR_SD_PPM,
    PRIOR_WEIGHT,
    SCREEN_MADS,
    SCREEN_SHARE_PPM,
)
from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import Cell, CellValue
from protocol.units import PPM_ONE

EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)
"""Arithmetic of everything that two validators must agree on."""

HALF_LIFE_BLOCKS = 50_400
"""A report counts half after 7 days of 12 s blocks."""
WINDOW_BLOCKS = 216_000
"""Older reports (30 days of 12 s blocks) no longer count in a cell's value."""

_NANO = 10**9
_NANO_PER_PPM = _NANO // PPM_ONE
_MAD_TO_SD = Decimal("1.4826")
"""MAD of a normal distribution times this is its standard deviation."""
_MEDIAN_VARIANCE = Decimal("1.57")
"""Variance of a median over that of a mean: pi / 2."""
_SPREAD_LIMIT = Decimal("1.5")
"""A cell spread wider than this many prior standard deviations is contested: two camps."""
_SKEW_LIMIT = 2
"""A median further than this many standard errors from the mean leaves the cell contested."""
_CORROBORATED_OPERATORS = 3
_STUDENT_T = {
    3: Decimal("3.182"),
    4: Decimal("2.776"),
    5: Decimal("2.571"),
    6: Decimal("2.447"),
    7: Decimal("2.365"),
    8: Decimal("2.306"),
    10: Decimal("2.228"),
    12: Decimal("2.179"),
    15: Decimal("2.131"),
    20: Decimal("2.086"),
    30: Decimal("2.042"),
    60: Decimal("2.000"),
    120: Decimal("1.980"),
}
"""97.5 % points of Student's distribution; between rows the wider one counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One accepted report, as far as its cell's figure depends on it."""

    cell_key: str
    miner: Hotkey
    operator: Coldkey
    round: RoundNumber
    log_nano: int
    """Natural logarithm of micro-Wh per 1,000 output tokens, times 10^9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Token counts of a cell's reports, which turn one denominator into the others."""

    prompts: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Centre and spread of some operators' values, all in 10^-9 of a natural logarithm."""

    method: Literal["single", "mandel-paule", "median"]
    centre: int
    half_width: int
    """Of the 95 % interval."""
    screened: int
    heterogeneity_ppm: int
    contested: bool


def log_nano(energy_uwh: int) -> int:
    """Natural logarithm of an energy in micro-Wh, in units of 10^-9, correctly rounded.

    Raises:
        ValueError: If the energy is not positive.
    """
    if energy_uwh < 1:
        raise ValueError(f"energy must be positive, got {energy_uwh}")
    return rounded(EXACT.multiply(EXACT.ln(Decimal(energy_uwh)), _NANO))


def energy_uwh(log: int) -> int:
    """The energy in whole micro-Wh that a logarithm stands for."""
    return rounded(EXACT.exp(EXACT.divide(Decimal(log), Decimal(_NANO))))


def rounded(value: Decimal) -> int:
    """Nearest whole number, half to even."""
    return int(value.to_integral_value(rounding=ROUND_HALF_EVEN))


def freshness_ppm(age_blocks: int) -> int:
    """Weight of a report by age: 1 when new, a half after `HALF_LIFE_BLOCKS`."""
    exponent = EXACT.divide(Decimal(-age_blocks), Decimal(HALF_LIFE_BLOCKS))
    return rounded(EXACT.multiply(EXACT.power(Decimal(2), exponent), PPM_ONE))


def operator_logs(
    observations: Iterable[Observation], *, now: RoundNumber, round_blocks: int
) -> dict[Coldkey, int]:
    """Each operator's value in one cell: the freshness-weighted median of its reports."""
    grouped: defaultdict[Coldkey, list[tuple[int, int]]] = defaultdict(list)
    weights: dict[int, int] = {}
    for seen in observations:
        age = now - seen.round
        if age not in weights:
            weights[age] = freshness_ppm(age * round_blocks)
        grouped[seen.operator].append((seen.log_nano, weights[age]))
    return {operator: _weighted_median(values) for operator, values in sorted(grouped.items())}


def _weighted_median(values: list[tuple[int, int]]) -> int:
    values.sort()
    half = sum(weight for _, weight in values)
    below = 0
    for place, (value, weight) in enumerate(values):
        below += 2 * weight
        if below > half:
            return value
        if below == half:
            return (value + values[place + 1][0]) // 2
    raise ValueError("no median of nothing")


def median(values: Sequence[int]) -> int:
    """Middle value; the lower half of the sum of the two middle ones, rounded down.

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("no median of nothing")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


def mad_sd(values: Sequence[int]) -> Decimal:
    """Robust standard deviation: 1.4826 times the median distance from the median."""
    centre = median(values)
    distance = median([abs(value - centre) for value in values])
    return EXACT.multiply(_MAD_TO_SD, Decimal(distance))


def blended_variance(spread: Decimal, count: int) -> Decimal:
    """Variance of one operator's value: the cohort's, held up by the prior when it is small.

    (3 x 0.08^2 + (n - 1) max(sd, 0.03)^2) / (n + 2), in squared 10^-9.
    """
    prior = EXACT.power(_nano(PRIOR_SD_PPM), 2)
    seen = EXACT.power(max(spread, _nano(MAD_FLOOR_PPM)), 2)
    total = EXACT.add(EXACT.multiply(PRIOR_WEIGHT, prior), EXACT.multiply(count - 1, seen))
    return EXACT.divide(total, Decimal(count - 1 + PRIOR_WEIGHT))


def estimate(values: Sequence[int]) -> Estimate:
    """Centre, interval and heterogeneity of one value per operator.

    Values further than three robust standard deviations (2 % at least) from the median are
    screened. The rest gets the Mandel-Paule mean; as uncertainties come from the cohort and
    not from its members, all are equal, and the mean is the plain one. With more than a fifth
    screened, the rest in two camps, or the median two standard errors off the mean, the median of
    all stands, and the cell is contested.
    """
    kept = _screened(values)
    screened = len(values) - len(kept)
    spread = _sample_sd(kept)
    mean = rounded(EXACT.divide(Decimal(sum(kept)), Decimal(len(kept))))
    error = EXACT.sqrt(EXACT.divide(blended_variance(spread, len(kept)), Decimal(len(kept))))
    torn = spread > EXACT.multiply(_SPREAD_LIMIT, _nano(PRIOR_SD_PPM))
    skewed = abs(median(values) - mean) > EXACT.multiply(_SKEW_LIMIT, error)
    contested = screened * PPM_ONE > SCREEN_SHARE_PPM * len(values) or torn or skewed
    if contested:
        variance = blended_variance(mad_sd(values), len(values))
        error = EXACT.sqrt(
            EXACT.divide(EXACT.multiply(variance, _MEDIAN_VARIANCE), Decimal(len(values)))
        )
        method: Literal["single", "mandel-paule", "median"] = "median"
        centre = median(values)
    else:
        method = "single" if len(kept) == 1 else "mandel-paule"
        centre = mean
    freedom = len(kept) - 1 + PRIOR_WEIGHT
    factor = _STUDENT_T[max(dof for dof in _STUDENT_T if dof <= freedom)]
    return Estimate(
        method=method,
        centre=centre,
        half_width=rounded(EXACT.multiply(factor, error)),
        screened=screened,
        heterogeneity_ppm=_heterogeneity_ppm(kept),
        contested=contested,
    )


def cell_value(
    cell: Cell,
    status: Literal["verified", "simulated", "estimated"],
    logs: Mapping[Coldkey, int],
    *,
    reports: int,
    totals: Totals,
) -> CellValue:
    """The figure that a round publishes for one cell.

    Args:
        cell: The cell.
        status: Label of its figures.
        logs: One value per operator, as `operator_logs` gives them.
        reports: Reports behind these values.
        totals: Token counts, for the other denominators.
    """
    found = estimate(list(logs.values()))
    energy = energy_uwh(found.centre)
    tokens = totals.input_tokens + totals.output_tokens
    return CellValue(
        cell=cell,
        label=_label(found, len(logs)),
        status=status,
        method=found.method,
        energy_per_1k_output_tokens_uwh=energy,
        low_uwh=energy_uwh(found.centre - found.half_width),
        high_uwh=energy_uwh(found.centre + found.half_width),
        energy_per_1k_queries_uwh=_scaled(energy, totals.output_tokens, totals.prompts),
        energy_per_1k_total_tokens_uwh=_scaled(energy, totals.output_tokens, tokens),
        operator_count=len(logs),
        report_count=reports,
        screened_count=found.screened,
        heterogeneity_ppm=found.heterogeneity_ppm,
    )


def _label(found: Estimate, operators: int) -> Literal["single", "corroborated", "contested"]:
    """Fewer than three operators are not corroborated; `verified` needs an anchor run."""
    if found.contested:
        return "contested"
    return "corroborated" if operators >= _CORROBORATED_OPERATORS else "single"


def _screened(values: Sequence[int]) -> list[int]:
    centre = median(values)
    limit = EXACT.multiply(SCREEN_MADS, max(mad_sd(values), _nano(MODEL_UNCERTAINTY_PPM)))
    return [value for value in values if abs(value - centre) <= limit]


def _sample_sd(values: Sequence[int]) -> Decimal:
    if len(values) < 2:  # noqa: PLR2004 - no spread of one
        return Decimal(0)
    return EXACT.sqrt(EXACT.divide(_squares(values), Decimal(len(values) - 1)))


def _squares(values: Sequence[int]) -> Decimal:
    """Sum of squared deviations from the mean, exact."""
    count = len(values)
    total = sum(values)
    return EXACT.divide(
        Decimal(sum((count * value - total) ** 2 for value in values)), Decimal(count**2)
    )


def _heterogeneity_ppm(values: Sequence[int]) -> int:
    """I^2 = max(0, (Q - (n - 1)) / Q), with Q over the cohort's own uncertainty of 3 %."""
    freedom = len(values) - 1
    chi = EXACT.divide(_squares(values), EXACT.power(_nano(MAD_FLOOR_PPM), 2))
    if chi <= freedom:
        return 0
    return rounded(EXACT.multiply(PPM_ONE, EXACT.divide(EXACT.subtract(chi, freedom), chi)))


def _nano(share_ppm: int) -> Decimal:
    return Decimal(share_ppm * _NANO_PER_PPM)


def _scaled(value: int, numerator: int, denominator: int) -> int:
    return (2 * value * numerator + denominator) // (2 * denominator)
