"""Routes of the GSF Carbon Aware SDK (`/emissions/...`), so that its clients work here.

The item is theirs: location, time, rating (gCO2e per kWh) and duration. It has no room for
interval or tier: `/api/v1/grid` gives those.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import Field

from api.catalogue import Place
from api.footprint import rounded
from api.problems import ProblemError
from api.reference_routes import place_named
from api.release import Holder, Release
from api.routes import BODY_PROBLEMS, PROBLEMS, current
from api.schemas import Answer

HOUR = timedelta(hours=1)
MAX_HOURS = 31 * 24
Location = Annotated[str, Query(min_length=1, max_length=40)]
Locations = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=40)]], Query(max_length=20)
]
Moment = Annotated[datetime | None, Query()]
Name = Annotated[str, Field(min_length=1, max_length=40)]


class EmissionsData(Answer):
    """One hour at one location."""

    location: str
    time: datetime
    rating: float
    """gCO2e per kWh."""
    duration: str


class EmissionsForecast(Answer):
    """The next 24 hours at one location."""

    generatedAt: datetime  # noqa: N815 - the SDK's name
    location: str
    optimalDataPoints: list[EmissionsData]  # noqa: N815 - the SDK's name
    forecastData: list[EmissionsData]  # noqa: N815 - the SDK's name


class LocationAnswer(Answer):
    """A location that can be asked for."""

    name: str
    zone: str
    displayName: str  # noqa: N815 - the SDK's name


class ForecastRequest(Answer):
    """A window to find the cleanest hours in."""

    location: Name
    requestedAt: datetime  # noqa: N815 - the SDK's name
    dataStartAt: datetime | None = None  # noqa: N815 - the SDK's name
    dataEndAt: datetime | None = None  # noqa: N815 - the SDK's name
    windowSize: int | None = Field(default=None, ge=1, le=24 * 60)  # noqa: N815 - the SDK's name
    """Minutes; whole hours are averaged."""


class AverageRequest(Answer):
    """A span to average over."""

    location: Name
    startTime: datetime  # noqa: N815 - the SDK's name
    endTime: datetime  # noqa: N815 - the SDK's name


class AverageIntensity(Answer):
    """Mean intensity of a span."""

    location: str
    startTime: datetime  # noqa: N815 - the SDK's name
    endTime: datetime  # noqa: N815 - the SDK's name
    carbonIntensity: float  # noqa: N815 - the SDK's name
    """gCO2e per kWh."""


ForecastBatch = Annotated[list[ForecastRequest], Body(max_length=20)]
AverageBatch = Annotated[list[AverageRequest], Body(max_length=20)]


def build_emissions_routes(holder: Holder) -> APIRouter:
    """The SDK's routes over the release that answers now."""
    router = APIRouter(tags=["carbon-aware-sdk"], responses=PROBLEMS)
    _add_observed(router, holder)
    _add_computed(router, holder)
    return router


def _add_observed(router: APIRouter, holder: Holder) -> None:
    @router.get("/emissions/bylocation")
    def by_location(
        location: Location,
        time: Moment = None,
        toTime: Moment = None,  # noqa: N803
    ) -> list[EmissionsData]:
        release = current(holder)
        return _span(release, place_named(release, location), time or holder.now(), toTime)

    @router.get("/emissions/bylocations")
    def by_locations(
        location: Locations,
        time: Moment = None,
        toTime: Moment = None,  # noqa: N803
    ) -> list[EmissionsData]:
        release = current(holder)
        start = time or holder.now()
        places = [place_named(release, name) for name in location]
        return [item for place in places for item in _span(release, place, start, toTime)]

    @router.get("/emissions/bylocations/best")
    def best(
        location: Locations,
        time: Moment = None,
        toTime: Moment = None,  # noqa: N803
    ) -> list[EmissionsData]:
        found = by_locations(location, time, toTime)
        lowest = min((item.rating for item in found), default=None)
        return [item for item in found if item.rating == lowest]

    @router.get("/locations")
    def locations() -> list[LocationAnswer]:
        places = current(holder).catalogue.places.values()
        return [
            LocationAnswer(name=place.id, zone=place.zone, displayName=place.name)
            for place in places
        ]


def _add_computed(router: APIRouter, holder: Holder) -> None:
    @router.get("/emissions/forecasts/current")
    def forecast(location: Locations) -> list[EmissionsForecast]:
        release, now = current(holder), holder.now()
        start = now.replace(minute=0, second=0, microsecond=0)
        return [_forecast(release, place_named(release, name), start, now) for name in location]

    @router.post("/emissions/forecasts/batch", responses=BODY_PROBLEMS)
    def forecasts(body: ForecastBatch) -> list[EmissionsForecast]:
        release, now = current(holder), holder.now()
        return [_requested(release, item, now) for item in body]

    @router.get("/emissions/average-carbon-intensity")
    def average(location: Location, startTime: datetime, endTime: datetime) -> AverageIntensity:  # noqa: N803
        wanted = AverageRequest(location=location, startTime=startTime, endTime=endTime)
        return _average(current(holder), wanted)

    @router.post("/emissions/average-carbon-intensity/batch", responses=BODY_PROBLEMS)
    def averages(body: AverageBatch) -> list[AverageIntensity]:
        release = current(holder)
        return [_average(release, item) for item in body]


def _forecast(release: Release, place: Place, start: datetime, now: datetime) -> EmissionsForecast:
    items = _items(release, place, start, start + 24 * HOUR)
    lowest = min(item.rating for item in items)
    return EmissionsForecast(
        generatedAt=now,
        location=place.id,
        optimalDataPoints=[item for item in items if item.rating == lowest],
        forecastData=items,
    )


def _requested(release: Release, wanted: ForecastRequest, now: datetime) -> EmissionsForecast:
    """The hours of a window from the curve of today; the past is not forecast again."""
    place = place_named(release, wanted.location)
    start = _hour(wanted.dataStartAt or wanted.requestedAt)
    end = _hour(wanted.dataEndAt) if wanted.dataEndAt else _later(start, 24)
    _check_span(start, end)
    items = _items(release, place, start, end)
    width = max(1, round((wanted.windowSize or 60) / 60))
    windows = [items[at : at + width] for at in range(max(1, len(items) - width + 1))]
    means = [math.fsum(item.rating for item in window) / len(window) for window in windows]
    lowest = min(means)
    best = [window[0] for window, mean in zip(windows, means, strict=True) if mean == lowest]
    return EmissionsForecast(
        generatedAt=now, location=place.id, optimalDataPoints=best, forecastData=items
    )


def _average(release: Release, wanted: AverageRequest) -> AverageIntensity:
    place = place_named(release, wanted.location)
    start, end = _hour(wanted.startTime), _hour(wanted.endTime)
    if start == end:
        end = _later(start, 1)
    _check_span(start, end)
    items = _items(release, place, start, end)
    return AverageIntensity(
        location=place.id,
        startTime=start,
        endTime=end,
        carbonIntensity=rounded(math.fsum(item.rating for item in items) / len(items)),
    )


def _check_span(start: datetime, end: datetime) -> None:
    if not start < end or end - start > MAX_HOURS * HOUR:
        detail = f"the span must end after it begins, within {MAX_HOURS} hours"
        raise ProblemError(422, "invalid_parameters", detail)


def _later(moment: datetime, hours: int) -> datetime:
    try:
        return moment + hours * HOUR
    except OverflowError as fault:
        raise ProblemError(422, "invalid_parameters", "the time is out of range") from fault


def _span(
    release: Release, place: Place, time: datetime, until: datetime | None
) -> list[EmissionsData]:
    start = _hour(time)
    end = _hour(until) if until else _later(start, 1)
    if start == end:
        end = _later(start, 1)
    _check_span(start, end)
    return _items(release, place, start, end)


def _items(release: Release, place: Place, start: datetime, end: datetime) -> list[EmissionsData]:
    return [
        EmissionsData(
            location=place.id,
            time=start + step * HOUR,
            rating=rounded(release.ladder.hour(place, start + step * HOUR).factor.estimate.value),
            duration="01:00:00",
        )
        for step in range((end - start) // HOUR)
    ]


def _hour(moment: datetime) -> datetime:
    """The hour that a moment lies in; a moment without a zone is UTC, as in the SDK."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        return aware.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    except OverflowError as fault:
        raise ProblemError(422, "invalid_parameters", "the time is out of range") from fault
