"""Routes of the GSF Carbon Aware SDK (`/emissions/...`), so that its clients work here.

Names and shapes are theirs (`EmissionsData`, `EmissionsForecastDTO`, `CarbonIntensityDTO`,
`Location` of their web API). They have no room for unit (gCO2e per kWh), interval or tier:
`/api/v1/grid` gives those. A location is a place, a grid zone or a provider's region.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import ConfigDict, Field

from api.catalogue import Place
from api.footprint import rounded
from api.problems import ProblemError
from api.reference_routes import place_named
from api.release import Holder, Release
from api.routes import BODY_PROBLEMS, PROBLEMS, current
from api.schemas import Answer

HOUR = timedelta(hours=1)
MAX_HOURS = 31 * 24
_WHERE = "A place, a grid zone or a provider's region; /locations lists them."
Name = Annotated[str, Field(min_length=1, max_length=40)]
Location = Annotated[str, Query(min_length=1, max_length=40, description=_WHERE)]
Locations = Annotated[list[Name], Query(max_length=20, description=_WHERE)]
Start = Annotated[datetime | None, Query(description="First hour; now where it is left out.")]
End = Annotated[datetime | None, Query(description="End, exclusive; an hour after the start.")]
WindowMinutes = Annotated[int | None, Field(ge=1, le=24 * 60)]


class EmissionsData(Answer):
    """One hour at one location."""

    location: str
    time: datetime
    rating: float
    """gCO2e per kWh."""
    duration: str


class ForecastPoint(Answer):
    """One window of a forecast."""

    location: str
    timestamp: datetime
    duration: int
    """Minutes."""
    value: float
    """gCO2e per kWh."""


class EmissionsForecast(Answer):
    """The coming hours at one location, and the cleanest window among them."""

    generatedAt: datetime  # noqa: N815 - the SDK's name
    requestedAt: datetime  # noqa: N815 - the SDK's name
    location: str
    dataStartAt: datetime  # noqa: N815 - the SDK's name
    dataEndAt: datetime  # noqa: N815 - the SDK's name
    windowSize: int  # noqa: N815 - the SDK's name
    """Minutes: whole hours."""
    optimalDataPoints: list[ForecastPoint]  # noqa: N815 - the SDK's name
    forecastData: list[ForecastPoint]  # noqa: N815 - the SDK's name
    """The mean of each window that lies within the data; none where it is longer than they are."""


class LocationAnswer(Answer):
    """A location that can be asked for. Coordinates are not kept: the grid zone decides."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    latitude: float | None = Field(default=None, alias="Latitude")
    longitude: float | None = Field(default=None, alias="Longitude")
    name: str = Field(alias="Name")


class ForecastRequest(Answer):
    """A window to find the cleanest hours in."""

    location: Name
    requestedAt: datetime  # noqa: N815 - the SDK's name
    dataStartAt: datetime | None = None  # noqa: N815 - the SDK's name
    dataEndAt: datetime | None = None  # noqa: N815 - the SDK's name
    windowSize: WindowMinutes = None  # noqa: N815 - the SDK's name
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
    @router.get("/emissions/bylocation", summary="Intensity of a location, hour by hour")
    def by_location(
        location: Location,
        time: Start = None,
        toTime: End = None,  # noqa: N803
    ) -> list[EmissionsData]:
        release = current(holder)
        return _span(release, location, time or holder.now(), toTime)

    @router.get("/emissions/bylocations", summary="Intensity of several locations")
    def by_locations(
        location: Locations,
        time: Start = None,
        toTime: End = None,  # noqa: N803
    ) -> list[EmissionsData]:
        release = current(holder)
        start = time or holder.now()
        return [item for name in location for item in _span(release, name, start, toTime)]

    @router.get("/emissions/bylocations/best", summary="The cleanest hours among several locations")
    def best(
        location: Locations,
        time: Start = None,
        toTime: End = None,  # noqa: N803
    ) -> list[EmissionsData]:
        found = by_locations(location, time, toTime)
        lowest = min((item.rating for item in found), default=None)
        return [item for item in found if item.rating == lowest]

    @router.get("/locations", summary="Locations that can be asked for")
    def locations() -> dict[str, LocationAnswer]:
        catalogue = current(holder).catalogue
        names = [*catalogue.places, *(region.name for region in catalogue.regions)]
        return {name: LocationAnswer(name=name) for name in names}


def _add_computed(router: APIRouter, holder: Holder) -> None:
    @router.get(
        "/emissions/forecasts/current", summary="The next 24 hours, and the cleanest window"
    )
    def forecast(
        location: Locations,
        dataStartAt: Start = None,  # noqa: N803
        dataEndAt: Annotated[  # noqa: N803
            datetime | None, Query(description="End, exclusive; 24 hours from now.")
        ] = None,
        windowSize: Annotated[  # noqa: N803
            WindowMinutes, Query(description="Minutes that the work takes; whole hours.")
        ] = None,
    ) -> list[EmissionsForecast]:
        release, now = current(holder), holder.now()
        first = _hour(now)
        start = max(first, _hour(dataStartAt)) if dataStartAt else first
        end = min(first + 24 * HOUR, _hour(dataEndAt)) if dataEndAt else first + 24 * HOUR
        asked = _Window(start=start, end=end, minutes=windowSize, requested=now)
        return [_forecast(release, name, asked, now) for name in location]

    @router.post(
        "/emissions/forecasts/batch", responses=BODY_PROBLEMS, summary="Forecasts of stated windows"
    )
    def forecasts(body: ForecastBatch) -> list[EmissionsForecast]:
        release, now = current(holder), holder.now()
        return [_forecast(release, item.location, _window(item), now) for item in body]

    @router.get("/emissions/average-carbon-intensity", summary="Mean intensity of a span")
    def average(location: Location, startTime: datetime, endTime: datetime) -> AverageIntensity:  # noqa: N803
        wanted = AverageRequest(location=location, startTime=startTime, endTime=endTime)
        return _average(current(holder), wanted)

    @router.post(
        "/emissions/average-carbon-intensity/batch",
        responses=BODY_PROBLEMS,
        summary="Mean intensities of stated spans",
    )
    def averages(body: AverageBatch) -> list[AverageIntensity]:
        release = current(holder)
        return [_average(release, item) for item in body]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """What a forecast is asked for."""

    start: datetime
    end: datetime
    minutes: int | None
    requested: datetime


def _window(wanted: ForecastRequest) -> _Window:
    start = _hour(wanted.dataStartAt or wanted.requestedAt)
    end = _hour(wanted.dataEndAt) if wanted.dataEndAt else _later(start, 24)
    _check_span(start, end)
    return _Window(
        start=start, end=end, minutes=wanted.windowSize, requested=_utc(wanted.requestedAt)
    )


def _forecast(release: Release, name: str, asked: _Window, now: datetime) -> EmissionsForecast:
    """The windows of a span from the curve of today; the past is not forecast again."""
    place = place_named(release, name)
    width = max(1, round((asked.minutes or 60) / 60))
    items = _items(release, place, name, asked.start, asked.end)
    points = [
        ForecastPoint(
            location=name,
            timestamp=items[at].time,
            duration=60 * width,
            value=rounded(math.fsum(item.rating for item in items[at : at + width]) / width),
        )
        for at in range(len(items) - width + 1)
    ]
    lowest = min((point.value for point in points), default=None)
    return EmissionsForecast(
        generatedAt=now,
        requestedAt=asked.requested,
        location=name,
        dataStartAt=asked.start,
        dataEndAt=asked.end,
        windowSize=60 * width,
        optimalDataPoints=[point for point in points if point.value == lowest],
        forecastData=points,
    )


def _average(release: Release, wanted: AverageRequest) -> AverageIntensity:
    place = place_named(release, wanted.location)
    start, end = _hour(wanted.startTime), _hour(wanted.endTime)
    if start == end:
        end = _later(start, 1)
    _check_span(start, end)
    items = _items(release, place, wanted.location, start, end)
    return AverageIntensity(
        location=wanted.location,
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
    release: Release, name: str, time: datetime, until: datetime | None
) -> list[EmissionsData]:
    place = place_named(release, name)
    start = _hour(time)
    end = _hour(until) if until else _later(start, 1)
    if start == end:
        end = _later(start, 1)
    _check_span(start, end)
    return _items(release, place, name, start, end)


def _items(
    release: Release, place: Place, name: str, start: datetime, end: datetime
) -> list[EmissionsData]:
    return [
        EmissionsData(
            location=name,
            time=start + step * HOUR,
            rating=rounded(release.ladder.hour(place, start + step * HOUR).factor.estimate.value),
            duration="01:00:00",
        )
        for step in range((end - start) // HOUR)
    ]


def _hour(moment: datetime) -> datetime:
    """The hour that a moment lies in."""
    return _utc(moment).replace(minute=0, second=0, microsecond=0)


def _utc(moment: datetime) -> datetime:
    """A moment in UTC; one without a zone is UTC, as in the SDK."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        return aware.astimezone(UTC)
    except OverflowError as fault:
        raise ProblemError(422, "invalid_parameters", "the time is out of range") from fault
