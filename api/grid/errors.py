"""How well an hour can be said in advance, measured on the node's own readings. Pure."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from api.catalogue import ForecastError, GridShape, Method, ZoneId
from api.grid.shape import relative

HOUR = timedelta(hours=1)
MIN_PAIRS = 24 * 14
"""Two weeks of hours at least: less would be one weather."""
STALE_HOURS = 3
_AGES = {Method.PERSISTENCE: 24 * HOUR, Method.STALE: STALE_HOURS * HOUR}


def measured_errors(
    zone: ZoneId,
    values: Mapping[datetime, float],
    shape: GridShape | None,
    source: str,
    licence: str,
) -> Iterator[ForecastError]:
    """The error of each method that there are enough hours for.

    Args:
        zone: Whose readings they are.
        values: Start of the hour (UTC) and intensity (gCO2e per kWh).
        shape: The zone's typical curve, if one is known.
        source: Where the readings come from.
        licence: Their licence.
    """
    if not values:
        return
    mean = math.fsum(values.values()) / len(values)
    if mean <= 0:
        return
    for method, age in _AGES.items():
        misses = [abs(v - values[hour - age]) for hour, v in values.items() if hour - age in values]
        if len(misses) >= MIN_PAIRS:
            yield _error(zone, method, misses, mean, (source, licence))
    if shape is not None and len(values) >= MIN_PAIRS:
        misses = [abs(value - mean * relative(shape, hour)) for hour, value in values.items()]
        yield _error(zone, Method.PROFILE, misses, mean, (source, licence))


def _error(
    zone: ZoneId, method: Method, misses: list[float], mean: float, origin: tuple[str, str]
) -> ForecastError:
    return ForecastError(
        zone=zone,
        method=method,
        mean_absolute_error=math.fsum(misses) / len(misses) / mean,
        hours=len(misses),
        source=origin[0],
        licence=origin[1],
    )
