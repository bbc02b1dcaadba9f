"""Repeated windows of the same work, and the Student interval of their mean. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from protocol.units import Joules

MINIMUM_REPEATS = 5
MAXIMUM_REPEATS = 15
TARGET_SHARE = 0.01
"""Stop once the half-width is below 1 % of the mean: declared before the first run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Repeated windows of the same work; every run counts, there is no best-of."""

    mean: Joules
    deviation: Joules
    """Sample standard deviation of one run."""
    half_width: Joules
    """Half of the 95 % Student interval of the mean."""
    count: int


def summarise_repeats(energies: Sequence[Joules]) -> Repeats:
    """Mean of repeated windows with its 95 % Student interval.

    Raises:
        ValueError: If there are fewer than two.
    """
    count = len(energies)
    if count < 2:  # noqa: PLR2004 - a spread needs two
        raise ValueError(f"repeats need at least 2 runs, got {count}")
    deviation = stdev(energies)
    return Repeats(
        mean=Joules(fmean(energies)),
        deviation=Joules(deviation),
        half_width=Joules(student_factor(count - 1) * deviation / sqrt(count)),
        count=count,
    )


def student_factor(freedom: int) -> float:
    """97.5 % quantile of Student's t distribution.

    Exact to the table's digits up to 30 degrees of freedom; beyond, the first terms of the
    Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5), good to 0.0001.

    Raises:
        ValueError: If there is no degree of freedom.
    """
    if freedom < 1:
        raise ValueError(f"needs at least one degree of freedom, got {freedom}")
    if freedom <= len(_STUDENT_975):
        return _STUDENT_975[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


_STUDENT_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
"""t(0.975) for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, section 1.3.6.7.2)."""


def is_enough(energies: Sequence[Joules]) -> bool:
    """Whether the pre-declared rule says to stop repeating."""
    if len(energies) < MINIMUM_REPEATS:
        return False
    summary = summarise_repeats(energies)
    return len(energies) >= MAXIMUM_REPEATS or summary.half_width <= TARGET_SHARE * summary.mean
