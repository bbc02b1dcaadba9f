"""Letter grades of our own: carbon per million output tokens, by size class, thresholds fixed.

A model is graded among models of its size, so that a small model is not an A for being small.
The thresholds of a year are published here and on the methodology page and never change
afterwards; the next year gets its own. Each letter is twice the one before.

Only what is served by the token is graded, and only by figures that may be ranked: nothing
simulated, estimated or run one prompt at a time. A grade whose interval reaches other letters
says so. It is no official label, and takes neither letters nor artwork from one.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

from api.catalogue import Model
from api.energy import Regime
from api.footprint import Estimate
from api.grid.intensity import Period
from api.offerings import Row
from api.ranking import RANKED_STATUSES

YEAR = 2026
LETTERS = "ABCDEFG"
SIZE_CLASSES = (
    ("XS", 4.0),
    ("S", 15.0),
    ("M", 40.0),
    ("L", 100.0),
    ("XL", math.inf),
)
"""Upper end of active parameters in billions; a range counts by its geometric mean."""
A_AT_MOST_G = {"XS": 6.0, "S": 10.0, "M": 20.0, "L": 50.0, "XL": 100.0}
"""Highest gCO2e per 1e6 output tokens that is an A in 2026, by size class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """A row's letter, and the letters that its interval allows."""

    letter: str
    best: str
    worst: str
    size_class: str
    year: int = YEAR

    @property
    def is_certain(self) -> bool:
        """Whether the whole interval lies in one letter."""
        return self.best == self.worst


def size_class(model: Model) -> str | None:
    """The size class of a model; None when its active parameters are not even guessed."""
    low, high = model.active_low_b, model.active_high_b
    if low is None or high is None:
        return None
    size = math.sqrt(low * high)
    return next(name for name, limit in SIZE_CLASSES if size <= limit)


def thresholds(name: str) -> tuple[float, ...]:
    """Highest grams of each letter but the last in a size class."""
    return tuple(A_AT_MOST_G[name] * 2**step for step in range(len(LETTERS) - 1))


def letter(grams: float, name: str) -> str:
    """The letter of a figure in a size class."""
    return LETTERS[bisect_left(thresholds(name), grams)]


def grade(row: Row) -> Grade | None:
    """The grade of a row over the newest whole year; None when it is not graded."""
    name = size_class(row.model)
    if name is None or row.regime is not Regime.SERVED or row.status not in RANKED_STATUSES:
        return None
    return graded(row.carbon[Period.YEAR].total, name)


def graded(carbon: Estimate, name: str) -> Grade:
    """The grade of a carbon figure in a size class."""
    return Grade(
        letter=letter(carbon.value, name),
        best=letter(carbon.low, name),
        worst=letter(carbon.high, name),
        size_class=name,
    )
