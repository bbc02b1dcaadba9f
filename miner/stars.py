"""Stars by the AI Energy Score band rule, and rank quintiles, which are something else. Pure.

The leaderboard cuts the span between its lowest and highest energy into five equal bands, per
class and test round; five stars are the lowest band. That reproduces all its 80 published
text rows. One outlier flattens a group, so the rank quintile stands beside the stars under its
own name.

"AI Energy Score" is a name of others: these are stars by its rule, not its label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from miner.published import PUBLISHED, TestRound
from protocol.models import SizeClass

BANDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an energy stands among the published ones of its class."""

    size_class: SizeClass
    test_round: TestRound
    group_size: int
    """Published rows of the group."""
    stars: int
    """1 to 5 by energy bands; 5 is lowest. Below or above all published ones: 5 or 1."""
    quintile: int
    """1 to 5 by rank among the published ones; 5 is lowest."""


def band_stars(energy: float, group: Sequence[float]) -> int:
    """Stars of an energy by five equal bands over a group's span; all alike have five.

    Raises:
        ValueError: If the group is empty.
    """
    low, high = min(group), max(group)
    if high == low:
        return BANDS if energy <= low else 1
    band = int((energy - low) / ((high - low) / BANDS))
    return BANDS - min(BANDS - 1, max(0, band))


def rank_quintile(energy: float, group: Sequence[float]) -> int:
    """The fifth of a group that an energy falls into by rank; 5 is lowest.

    Raises:
        ValueError: If the group is empty.
    """
    if not group:
        raise ValueError("a rank needs a group")
    lower = sum(one < energy for one in group)
    return BANDS - min(BANDS - 1, lower * BANDS // len(group))


def published_group(size_class: SizeClass, test_round: TestRound) -> tuple[float, ...]:
    """Published energies of text generation in one class and round (Wh per 1,000 queries)."""
    return tuple(
        row.wh_per_1k_queries
        for row in PUBLISHED
        if row.task == "text_generation"
        and (row.size_class, row.test_round) == (size_class, test_round)
    )


def standing(wh_per_1k_queries: float, size_class: SizeClass) -> Standing:
    """Where a run of the plain workload stands among the rows of the same method.

    Args:
        wh_per_1k_queries: GPU energy of the run; of an H100 80GB, or it is not comparable.
        size_class: The model's class.
    """
    group = published_group(size_class, "v1")
    return Standing(
        size_class=size_class,
        test_round="v1",
        group_size=len(group),
        stars=band_stars(wh_per_1k_queries, group),
        quintile=rank_quintile(wh_per_1k_queries, group),
    )
