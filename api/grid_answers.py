"""Grid answers from a release: now, the next day, the typical day, the reported past."""

from datetime import UTC, datetime, timedelta

from api import reference_schemas as shown
from api.catalogue import ForecastError, Method, Place
from api.footprint import rounded
from api.grid.intensity import Period, Tier
from api.grid.shape import day_curve
from api.present import grid_factor
from api.release import Release
from api.schemas import Answer
from api.signals import shown_reading
from protocol.messages import Status

MONTHS = 12
MID_MONTH = 15
YEARLY = frozenset({Tier.ANNUAL, Tier.COUNTRY})
"""Tiers that do not tell hours apart."""


def latest_answer(release: Release, place: Place, now: datetime) -> bytes:
    """A zone at this hour, over 30 days and over the newest year."""
    now_, month, year = (
        grid_factor(release.ladder.at(place, period, now))
        for period in (Period.NOW, Period.MONTH, Period.YEAR)
    )
    return _json(
        shown.GridNow(
            now=now_,
            month=month,
            year=year,
            errors=method_errors(release, place),
            meta=release.meta(),
        )
    )


def forecast_answer(release: Release, place: Place, now: datetime) -> bytes:
    """The next 24 hours of a zone."""
    start = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = release.ladder.day(place, start)
    values = [hour.factor.estimate.value for hour in hours]
    step = values.index(min(values))
    is_flat = any(hour.tier in YEARLY for hour in hours)
    mean = sum(values) / len(values)
    # A zone without a curve repeats its yearly value, which names the year as its span.
    factors = [
        grid_factor(hour).model_copy(
            update={
                "interval_start": start + timedelta(hours=ahead),
                "interval_end": start + timedelta(hours=ahead + 1),
            }
        )
        for ahead, hour in enumerate(hours)
    ]
    return _json(
        shown.GridForecast(
            zone=place.zone,
            hours=factors,
            cleanest_start=None if is_flat else start + timedelta(hours=step),
            swing_percent=rounded(100 * (max(values) - min(values)) / mean),
            errors=method_errors(release, place),
            meta=release.meta(),
        )
    )


def typical_day_answer(release: Release, place: Place, now: datetime) -> bytes:
    """Month by hour: the yearly level times the curve at mid-month."""
    level = release.ladder.at(place, Period.YEAR, now)
    mean = level.factor.estimate.value
    shape = release.ladder.shape_of(place)
    table = [
        [rounded(mean * part) for part in _curve(release, place, now.year, month)]
        for month in range(1, MONTHS + 1)
    ]
    return _json(
        shown.TypicalDay(
            zone=place.zone,
            tier=Tier.PROFILE if shape else level.tier,
            status=Status.MODELLED if shape else level.factor.status,
            level=grid_factor(level),
            intensity_g_per_kwh=table,
            errors=method_errors(release, place),
            source=shape.source if shape else level.factor.source,
            licence=shape.licence if shape else level.factor.licence,
            meta=release.meta(),
        )
    )


def history_answer(release: Release, place: Place) -> bytes:
    """Readings of the last 31 days, as far as their source allows to pass them on."""
    readings = release.ladder.reported(place.zone)
    open_ones = [reading for reading in readings if reading.is_redistributable]
    return _json(
        shown.GridHistory(
            zone=place.zone,
            readings=[shown_reading(reading) for reading in open_ones],
            withheld=len(readings) - len(open_ones),
            errors=method_errors(release, place),
            meta=release.meta(),
        )
    )


def method_errors(release: Release, place: Place) -> list[shown.MethodError]:
    """What is measured of each method in a zone; of a packaged curve over its own year."""
    found = [_method_error(error) for error in release.ladder.errors_of(place)]
    shape = release.ladder.shape_of(place)
    if shape is not None and Method.PROFILE not in {error.method for error in found}:
        found.append(
            shown.MethodError(
                method=Method.PROFILE,
                mean_absolute_error_percent=rounded(100 * shape.mean_absolute_error),
                hours=None,
                source=shape.source,
                licence=shape.licence,
            )
        )
    return found


def _method_error(error: ForecastError) -> shown.MethodError:
    return shown.MethodError(
        method=error.method,
        mean_absolute_error_percent=rounded(100 * error.mean_absolute_error),
        hours=error.hours,
        source=error.source,
        licence=error.licence,
    )


def _curve(release: Release, place: Place, year: int, month: int) -> tuple[float, ...]:
    shape = release.ladder.shape_of(place)
    if shape is None:
        return (1.0,) * 24
    return day_curve(shape, datetime(year, month, MID_MONTH, tzinfo=UTC))


def _json(answer: Answer) -> bytes:
    return answer.model_dump_json().encode()
