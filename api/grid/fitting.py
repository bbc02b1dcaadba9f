"""Fits a zone's hourly curve to readings: least squares on the 15 harmonics. Pure."""

import math
from collections.abc import Sequence
from datetime import datetime

from api.catalogue import GridShape, ZoneId
from api.grid.shape import TERMS, relative, terms

MIN_HOURS = 24 * 60
"""Two months at least: less says nothing about the year."""
RIDGE = 1e-6
"""Keeps months that were not seen from making the system singular."""


def fit_shape(
    zone: ZoneId, samples: Sequence[tuple[datetime, float]], source: str, licence: str
) -> GridShape:
    """The curve through hourly values, relative to their mean.

    Args:
        zone: Whose curve it is.
        samples: Start of the hour (UTC) and intensity (gCO2e per kWh).
        source: Where the samples come from.
        licence: Their licence.

    Raises:
        ValueError: If there are fewer than two months of hours, or their mean is 0.
    """
    if len(samples) < MIN_HOURS:
        raise ValueError(f"{len(samples)} hours are too few, {MIN_HOURS} are needed")
    mean = math.fsum(value for _, value in samples) / len(samples)
    if mean <= 0:
        raise ValueError("the mean intensity is 0")
    points = [(terms(hour), value / mean) for hour, value in samples]
    matrix = [
        [math.fsum(basis[i] * basis[j] for basis, _ in points) for j in range(TERMS)]
        for i in range(TERMS)
    ]
    for i in range(TERMS):
        matrix[i][i] += RIDGE * len(samples)
    target = [math.fsum(basis[i] * value for basis, value in points) for i in range(TERMS)]
    fitted = GridShape(
        zone=zone,
        coefficients=tuple(_solved(matrix, target)),
        mean_absolute_error=0.0,
        source=source,
        licence=licence,
    )
    errors = [abs(relative(fitted, hour) - value / mean) for hour, value in samples]
    return GridShape(
        zone=zone,
        coefficients=fitted.coefficients,
        mean_absolute_error=math.fsum(errors) / len(errors),
        source=source,
        licence=licence,
    )


def _solved(matrix: list[list[float]], target: list[float]) -> list[float]:
    """Gaussian elimination with row pivoting."""
    size = len(target)
    rows = [[*row, value] for row, value in zip(matrix, target, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            share = rows[row][column] / rows[column][column]
            for k in range(column, size + 1):
                rows[row][k] -= share * rows[column][k]
    solution = [0.0] * size
    for row in reversed(range(size)):
        known = math.fsum(rows[row][k] * solution[k] for k in range(row + 1, size))
        solution[row] = (rows[row][size] - known) / rows[row][row]
    return solution
