"""Which intensity stands for a zone and a time: the best rung of the ladder that is there.

live -> live_stale (< 24 h) -> persistence (same hour yesterday) -> profile -> annual ->
country. Pure: the history of readings comes in, the value with its tier goes out.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter

from api.catalogue import (
    Catalogue,
    ForecastError,
    GridLevel,
    GridShape,
    Method,
    Place,
    ZoneId,
)
from api.footprint import Z_95, Estimate, Factor
from api.grid.intensity import History, Intensity, Period, Reading, Tier
from api.grid.shape import span_mean
from protocol.errors import SourceError
from protocol.messages import Status

UNIT = "gCO2e per kWh"
MONTH_DAYS = 30
MONTH_COVERAGE = 0.9
"""Share of the 30 days' hours that must have been reported before they are averaged."""
LEVEL_FLOOR = 0.05
"""A yearly level is taken to be known no better than 5 %."""
MAE_TO_SD = math.sqrt(math.pi / 2)
"""Standard deviation over mean absolute error of a normal deviate."""
LIVE_SPREAD = 0.05
"""Reported hours are revised by a few per cent (our assumption)."""
UNKNOWN_ERROR = 0.3
"""Error of a day-old hour where nothing was measured: as in the worst zones that were."""
STALE = timedelta(hours=24)
HOUR = timedelta(hours=1)
FRESH = 3 * HOUR
"""Up to this age the newest report says more than yesterday's same hour."""


class Ladder:
    """Intensities of all zones from the tables and a history of readings."""

    def __init__(self, catalogue: Catalogue, history: History) -> None:
        self._zone_levels = _by_area(catalogue.zone_levels)
        self._country_levels = _by_area(catalogue.country_levels)
        self._shapes = catalogue.shapes
        self._errors = catalogue.errors
        self._history = history
        self._known: dict[tuple[str, Period, datetime], Intensity] = {}
        self._days: dict[tuple[str, datetime], tuple[Intensity, ...]] = {}

    def at(self, place: Place, period: Period, now: datetime) -> Intensity:
        """Intensity of a place's zone over a period; `now` must be aware UTC.

        Raises:
            SourceError: If neither zone nor country has a yearly level.
        """
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        key = (place.id, period, hour)
        if key not in self._known:
            self._known[key] = self._at(place, period, hour)
        return self._known[key]

    def _at(self, place: Place, period: Period, hour: datetime) -> Intensity:
        if period is Period.NOW:
            return self.hour(place, hour)
        if period is Period.MONTH:
            return self._month(place, hour)
        return self._year(place)

    def hour(self, place: Place, hour: datetime) -> Intensity:
        """Intensity of one hour: a reading if there is one, else the typical curve."""
        reported = self._history.get(place.zone, {})
        if hour in reported:
            return _reported(reported[hour], Tier.LIVE, 0.0)
        newest = max((start for start in reported if start < hour), default=None)
        if newest is not None and hour - newest < STALE:
            same_hour = reported.get(hour - STALE)
            error = self.error_of(place, Method.PERSISTENCE)
            if same_hour is not None and hour - newest > FRESH:
                return _reported(same_hour, Tier.PERSISTENCE, error)
            return _reported(reported[newest], Tier.LIVE_STALE, self._aged(place, hour - newest))
        return self._typical(place, (hour,), Z_95 * MAE_TO_SD)

    def error_of(self, place: Place, method: Method) -> float:
        """Measured error of a method (share of the mean); the curve's where none was measured."""
        found = self._errors.get((place.zone, method))
        if found is not None:
            return found.mean_absolute_error
        shape = self._shapes.get(place.zone)
        return shape.mean_absolute_error if shape else UNKNOWN_ERROR

    def errors_of(self, place: Place) -> tuple[ForecastError, ...]:
        """What is measured of each method in a place's zone."""
        found = (self._errors.get((place.zone, method)) for method in Method)
        return tuple(error for error in found if error is not None)

    def _aged(self, place: Place, age: timedelta) -> float:
        """Error of a report that is so old: it grows with the root of its age."""
        measured = self._errors.get((place.zone, Method.STALE))
        if measured is not None and age <= FRESH:
            return measured.mean_absolute_error * math.sqrt(age / FRESH)
        return self.error_of(place, Method.PERSISTENCE) * math.sqrt(age / STALE)

    def _month(self, place: Place, hour: datetime) -> Intensity:
        hours = _month_before(hour)
        reported = self._history.get(place.zone, {})
        held = list(filter(None, map(reported.get, hours))) if reported else []
        if len(held) >= MONTH_COVERAGE * len(hours):
            mean = math.fsum(map(_intensity, held)) / len(held)
            last = held[-1]
            found = _reported(last, Tier.LIVE, 0.0)
            return Intensity(
                zone=place.zone,
                tier=Tier.LIVE,
                factor=_scaled(found.factor, mean / last.intensity_g_per_kwh),
                start=hours[0],
                end=hour,
                is_redistributable=all(map(_is_redistributable, held)),
            )
        # Errors of neighbouring hours hang together: the whole error stays in a month's mean.
        return self._typical(place, hours, 1.0)

    def _typical(self, place: Place, hours: tuple[datetime, ...], weight: float) -> Intensity:
        level = self._year(place)
        shape = self._shapes.get(place.zone)
        start, end = hours[0], hours[-1] + HOUR
        if shape is None or level.tier is Tier.COUNTRY:
            return Intensity(
                zone=place.zone,
                tier=level.tier,
                factor=level.factor,
                start=start,
                end=end,
                accounting=level.accounting,
            )
        mean = span_mean(shape, hours)
        factor = _profiled(level.factor, shape, mean, weight)
        return Intensity(zone=place.zone, tier=Tier.PROFILE, factor=factor, start=start, end=end)

    def _year(self, place: Place) -> Intensity:
        levels = self._zone_levels.get(place.zone)
        tier, accounting = Tier.ANNUAL, "consumption"
        if not levels:
            levels = self._country_levels.get(place.country)
            tier, accounting = Tier.COUNTRY, "production"
        if not levels:
            raise SourceError(f"no yearly intensity for {place.zone} or {place.country}")
        alternative = self._zone_levels.get(place.alternative_zone or ZoneId(""), {})
        newest = levels[max(levels)]
        return Intensity(
            zone=place.zone,
            tier=tier,
            factor=_level(newest, levels, alternative.get(newest.year), place),
            start=datetime(newest.year, 1, 1, tzinfo=UTC),
            end=datetime(newest.year + 1, 1, 1, tzinfo=UTC),
            accounting=accounting,
        )

    def day(self, place: Place, start: datetime) -> tuple[Intensity, ...]:
        """The 24 hours from an hour on."""
        key = (place.id, start)
        if key not in self._days:
            self._days[key] = tuple(self.hour(place, start + HOUR * step) for step in range(24))
        return self._days[key]

    def shape_of(self, place: Place) -> GridShape | None:
        """The zone's typical curve, if one was fitted."""
        return self._shapes.get(place.zone)

    def reported(self, zone: ZoneId) -> tuple[Reading, ...]:
        """The readings that are held for a zone, oldest first."""
        held = self._history.get(zone, {})
        return tuple(held[start] for start in sorted(held))


_intensity = attrgetter("intensity_g_per_kwh")
_is_redistributable = attrgetter("is_redistributable")


@lru_cache(maxsize=4)
def _month_before(hour: datetime) -> tuple[datetime, ...]:
    """The hours of the 30 days before an hour."""
    return tuple(hour - HOUR * back for back in range(MONTH_DAYS * 24, 0, -1))


def _by_area(levels: Sequence[GridLevel]) -> Mapping[str, dict[int, GridLevel]]:
    found: dict[str, dict[int, GridLevel]] = {}
    for level in levels:
        found.setdefault(level.area, {})[level.year] = level
    return found


def _level(
    newest: GridLevel, levels: Mapping[int, GridLevel], other: GridLevel | None, place: Place
) -> Factor:
    value = newest.intensity_g_per_kwh
    before = levels.get(newest.year - 1)
    change = abs(math.log(value / before.intensity_g_per_kwh)) if before else LEVEL_FLOOR
    factor = math.exp(max(LEVEL_FLOOR, change))
    candidates = [value / factor, value * factor]
    note = f"mean of {newest.year}; interval from the change since the year before, at least 5 %"
    if other is not None:
        candidates.append(other.intensity_g_per_kwh)
        note += f"; spans {place.alternative_zone}, to which another map assigns this place"
    return Factor(
        estimate=Estimate(value=value, low=min(candidates), high=max(candidates)),
        unit=UNIT,
        status=Status.PUBLISHED,
        source=newest.source,
        date=str(newest.year),
        licence=newest.licence,
        note=note,
    )


def _profiled(level: Factor, shape: GridShape, mean: float, weight: float) -> Factor:
    scaled = _scaled(level, mean)
    error = math.exp(weight * shape.mean_absolute_error / mean)
    base = scaled.estimate
    up = math.hypot(math.log(base.high / base.value), math.log(error))
    down = math.hypot(math.log(base.value / base.low), math.log(error))
    return Factor(
        estimate=Estimate(
            value=base.value,
            low=base.value * math.exp(-down),
            high=base.value * math.exp(up),
        ),
        unit=UNIT,
        status=Status.MODELLED,
        source=f"{level.source}; {shape.source}",
        date=level.date,
        licence=" AND ".join(dict.fromkeys((level.licence, shape.licence))),
        note=f"yearly level x typical curve ({mean:.3f} of the mean); its mean error is "
        f"{shape.mean_absolute_error:.1%} of the mean",
    )


def _scaled(factor: Factor, by: float) -> Factor:
    estimate = factor.estimate
    return Factor(
        estimate=Estimate(
            value=estimate.value * by, low=estimate.low * by, high=estimate.high * by
        ),
        unit=factor.unit,
        status=factor.status,
        source=factor.source,
        date=factor.date,
        licence=factor.licence,
        note=factor.note,
    )


def _reported(reading: Reading, tier: Tier, error: float) -> Intensity:
    factor = math.exp(math.hypot(LIVE_SPREAD, Z_95 * MAE_TO_SD * error))
    value = reading.intensity_g_per_kwh
    return Intensity(
        zone=reading.zone,
        tier=tier,
        factor=Factor(
            estimate=Estimate(value=value, low=value / factor, high=value * factor),
            unit=UNIT,
            status=Status.MODELLED if reading.is_estimated else Status.PUBLISHED,
            source=reading.source,
            date=reading.start.date().isoformat(),
            licence=reading.licence,
            note="estimated by the source" if reading.is_estimated else "reported by the source",
        ),
        start=reading.start,
        end=reading.end,
        is_redistributable=reading.is_redistributable,
    )


def pooled(intensities: Sequence[Intensity]) -> Intensity:
    """Intensity of a place that is one of several: their mean, cleanest low to dirtiest high.

    Raises:
        ValueError: If there is none.
    """
    if len(intensities) == 1:
        return intensities[0]
    factors = [intensity.factor for intensity in intensities]
    worst = max(intensities, key=lambda intensity: list(Tier).index(intensity.tier))
    return Intensity(
        zone=ZoneId("multiple"),
        tier=worst.tier,
        factor=Factor(
            estimate=Estimate(
                value=math.fsum(f.estimate.value for f in factors) / len(factors),
                low=min(f.estimate.low for f in factors),
                high=max(f.estimate.high for f in factors),
            ),
            unit=UNIT,
            status=worst.factor.status,
            source="; ".join(sorted({f.source for f in factors})),
            date=worst.factor.date,
            licence=" AND ".join(sorted({f.licence for f in factors})),
            note=f"unweighted mean of {len(factors)} places, from the cleanest one's low to "
            "the dirtiest one's high",
        ),
        start=worst.start,
        end=worst.end,
        accounting=worst.accounting,
        is_redistributable=all(intensity.is_redistributable for intensity in intensities),
    )
