"""Whether one row is really lower than another, and by how much.

What two rows share cancels: the energy figure when the same machine runs the same model for
the same operator, the grid and the PUE when both stand in the same place. Only what differs
decides, so a claim is supported when the intervals of the differing parts do not overlap.
"""

import math
from dataclasses import dataclass

from api.catalogue import Certainty
from api.footprint import Estimate, product
from api.grid.intensity import Period
from api.offerings import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What the lower row saves against the higher one (gCO2e per 1e6 output tokens)."""

    lower: Row
    higher: Row
    saved_g: Estimate
    """Never below 0: an interval that starts at 0 is no difference."""
    percent: float
    shared: tuple[str, ...]
    """Factors that cancel."""
    is_meaningful: bool


def difference(one: Row, other: Row, period: Period) -> Difference:
    """The two rows compared over a period."""
    lower, higher = sorted((one, other), key=lambda row: row.carbon[period].total.value)
    shared = _shared(one, other)
    below, above = _reduced(lower, period, shared), _reduced(higher, period, shared)
    value = max(0.0, above.value - below.value)
    down = math.hypot(above.value - above.low, below.high - below.value)
    up = math.hypot(above.high - above.value, below.value - below.low)
    return Difference(
        lower=lower,
        higher=higher,
        saved_g=Estimate(value=value, low=max(0.0, value - down), high=value + up),
        percent=100 * value / above.value if above.value else 0.0,
        shared=shared,
        is_meaningful=not below.overlaps(above),
    )


def claims_lower(claimed: Row, against: Row, period: Period) -> bool:
    """Whether the data support that the first row is lower than the second."""
    found = difference(claimed, against, period)
    return found.is_meaningful and found.lower is claimed


def _shared(one: Row, other: Row) -> tuple[str, ...]:
    shared = []
    if one.figure is other.figure and one.provider.id == other.provider.id:
        shared.append("energy")
    if one.pue == other.pue:
        shared.append("pue")
    pinned = one.certainty is Certainty.PINNED and other.certainty is Certainty.PINNED
    if pinned and one.places == other.places:
        shared.append("grid")
    return tuple(shared)


def _reduced(row: Row, period: Period, shared: tuple[str, ...]) -> Estimate:
    parts = {
        "energy": row.energy.estimate,
        "pue": row.pue.estimate,
        "grid": row.grid[period].factor.estimate,
    }
    differing = product([value for name, value in parts.items() if name not in shared] or [_ONE])
    common = row.carbon[period].total.value / differing.value
    return Estimate(
        value=differing.value * common,
        low=differing.low * common,
        high=differing.high * common,
    )


_ONE = Estimate(value=1.0, low=1.0, high=1.0)
