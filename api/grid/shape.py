"""The offline hourly curve: 15 harmonics of the year and the day.

With w_y = 2 pi (day of year) / 365.25 and w_d = 2 pi (UTC hour) / 24,
I(t) / mean = sum over s in {1, cos w_y, sin w_y} and
d in {1, cos w_d, sin w_d, cos 2w_d, sin 2w_d} of c(s, d) s d.
"""

import math
from datetime import datetime, timedelta
from functools import lru_cache
from operator import mul

from api.catalogue import GridShape

DAYS_PER_YEAR = 365.25
HOURS_PER_DAY = 24
TERMS = 15
FLOOR = 0.05
"""No hour is credited with less than 5 % of the mean: the harmonics may dip below zero."""


@lru_cache(maxsize=4_096)
def terms(moment: datetime) -> tuple[float, ...]:
    """The 15 basis values at a moment (UTC), in the order of `GridShape.coefficients`."""
    year = 2 * math.pi * moment.timetuple().tm_yday / DAYS_PER_YEAR
    day = 2 * math.pi * moment.hour / HOURS_PER_DAY
    yearly = (1.0, math.cos(year), math.sin(year))
    daily = (1.0, math.cos(day), math.sin(day), math.cos(2 * day), math.sin(2 * day))
    return tuple(y * d for y in yearly for d in daily)


def relative(shape: GridShape, moment: datetime) -> float:
    """Intensity of the hour over the yearly mean."""
    value = math.fsum(map(mul, shape.coefficients, terms(moment)))
    return max(FLOOR, value)


def day_curve(shape: GridShape, start: datetime) -> tuple[float, ...]:
    """The 24 relative values from an hour on."""
    return tuple(relative(shape, start + timedelta(hours=hour)) for hour in range(HOURS_PER_DAY))


def span_mean(shape: GridShape, hours: tuple[datetime, ...]) -> float:
    """Mean relative value over some hours."""
    level, *waves = shape.coefficients
    if level - math.fsum(map(abs, waves)) < FLOOR:
        return math.fsum(relative(shape, hour) for hour in hours) / len(hours)
    # No hour can touch the floor, so the mean of the curve is the curve of the means.
    return math.fsum(map(mul, shape.coefficients, _mean_terms(hours)))


@lru_cache(maxsize=8)
def _mean_terms(hours: tuple[datetime, ...]) -> tuple[float, ...]:
    columns = zip(*map(terms, hours), strict=True)
    return tuple(math.fsum(column) / len(hours) for column in columns)
