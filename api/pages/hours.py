"""A place's hours as pages show them: the API's next 24, a few before, and what they mean."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from api.catalogue import Place
from api.charts.curve import Hour, curve
from api.charts.small import sparkline
from api.footprint import Estimate
from api.grid_answers import forecast_answer
from api.recommend import WORTHWHILE_SWING
from api.reference_schemas import GridForecast
from api.release import Release

HOURS_BEFORE = 6
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The hours around now at one place."""

    place: Place
    forecast: GridForecast
    has_curve: bool
    """False where only yearly levels are known."""
    words: str
    curve: Markup
    spark: Markup
    hours: tuple[Hour, ...]
    now_index: int

    @property
    def lowest_start(self) -> datetime | None:
        """Start of the lowest of the next 24 hours; None where they are not told apart."""
        return self.forecast.cleanest_start


def day_at(release: Release, place: Place, now: datetime) -> Day:
    """The hours around now at a place; the next 24 are the API's forecast."""
    forecast = GridForecast.model_validate_json(forecast_answer(release, place, now))
    start = now.replace(minute=0, second=0, microsecond=0)
    before = [
        _hour(start - HOUR * back, release.ladder.hour(place, start - HOUR * back).factor.estimate)
        for back in range(HOURS_BEFORE, 0, -1)
    ]
    ahead = [
        Hour(
            start=hour.interval_start,
            intensity=Estimate(value=hour.value, low=hour.low, high=hour.high),
        )
        for hour in forecast.hours
    ]
    cleanest = forecast.cleanest_start
    words = _words(forecast, cleanest) if cleanest else "No hourly curve is known for this grid."
    lowest = next((index for index, hour in enumerate(ahead) if hour.start == cleanest), 0)
    hours = (*before, *ahead)
    return Day(
        place=place,
        forecast=forecast,
        has_curve=cleanest is not None,
        words=words,
        curve=curve(
            hours,
            now_index=HOURS_BEFORE,
            lowest_index=HOURS_BEFORE + lowest,
            summary=f"Grid intensity in {place.name}. {words}",
        ),
        spark=sparkline([hour.intensity.value for hour in ahead], words),
        hours=hours,
        now_index=HOURS_BEFORE,
    )


def _hour(start: datetime, intensity: Estimate) -> Hour:
    return Hour(start=start, intensity=intensity)


def _words(forecast: GridForecast, at: datetime) -> str:
    values = [hour.value for hour in forecast.hours]
    mean = sum(values) / len(values)
    below = 1 - min(values) / mean
    span = f"{at:%H:%M} to {at + HOUR:%H:%M} UTC"
    if forecast.swing_percent < 100 * WORTHWHILE_SWING:
        return (
            f"The next 24 hours swing by only {forecast.swing_percent:.0f} %: "
            f"timing does not help here (lowest: {span})."
        )
    return (
        f"Lowest from {span}: {below:.0%} below the mean of the next 24 hours, "
        f"which swing by {forecast.swing_percent:.0f} %. Timing helps here."
    )
