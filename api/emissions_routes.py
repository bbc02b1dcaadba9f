"""Routes of the GSF Carbon Aware SDK (`/emissions/...`), so that its clients work here.

The item is theirs: location, time, rating (gCO2e per kWh) and duration. It has no room for
interval or tier: `/api/v1/grid` gives those.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.catalogue import Place
from api.footprint import rounded
from api.problems import ProblemError
from api.reference_routes import place_named
from api.release import Holder, Release
from api.routes import PROBLEMS, current
from api.schemas import Answer

HOUR = timedelta(hours=1)
MAX_HOURS = 31 * 24
Location = Annotated[str, Query(min_length=1, max_length=40)]
Locations = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=40)]], Query(max_length=20)
]
Moment = Annotated[datetime | None, Query()]


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


def build_emissions_routes(holder: Holder) -> APIRouter:
    """The SDK's routes over the release that answers now."""
    router = APIRouter(tags=["carbon-aware-sdk"], responses=PROBLEMS)

    @router.get("/emissions/bylocation")
    def by_location(
        location: Location,
        time: Moment = None,
        toTime: Moment = None,  # noqa: N803
    ) -> list[EmissionsData]:
        release = current(holder)
        return _span(release, place_named(release, location), time, toTime)

    @router.get("/emissions/bylocations")
    def by_locations(
        location: Locations,
        time: Moment = None,
        toTime: Moment = None,  # noqa: N803
    ) -> list[EmissionsData]:
        release = current(holder)
        places = [place_named(release, name) for name in location]
        return [item for place in places for item in _span(release, place, time, toTime)]

    @router.get("/emissions/bylocations/best")
    def best(
        location: Locations,
        time: Moment = None,
        toTime: Moment = None,  # noqa: N803
    ) -> list[EmissionsData]:
        found = by_locations(location, time, toTime)
        lowest = min((item.rating for item in found), default=None)
        return [item for item in found if item.rating == lowest]

    @router.get("/emissions/forecasts/current")
    def forecast(location: Locations) -> list[EmissionsForecast]:
        release, now = current(holder), datetime.now(UTC)
        start = now.replace(minute=0, second=0, microsecond=0)
        return [_forecast(release, place_named(release, name), start, now) for name in location]

    @router.get("/locations")
    def locations() -> list[LocationAnswer]:
        places = current(holder).catalogue.places.values()
        return [
            LocationAnswer(name=place.id, zone=place.zone, displayName=place.name)
            for place in places
        ]

    return router


def _forecast(release: Release, place: Place, start: datetime, now: datetime) -> EmissionsForecast:
    items = _items(release, place, start, start + 24 * HOUR)
    lowest = min(item.rating for item in items)
    return EmissionsForecast(
        generatedAt=now,
        location=place.id,
        optimalDataPoints=[item for item in items if item.rating == lowest],
        forecastData=items,
    )


def _span(
    release: Release, place: Place, time: datetime | None, until: datetime | None
) -> list[EmissionsData]:
    start = _hour(time or datetime.now(UTC))
    end = _hour(until) if until else start + HOUR
    if not start <= end <= start + MAX_HOURS * HOUR:
        detail = f"toTime must lie within {MAX_HOURS} hours after time"
        raise ProblemError(422, "invalid_parameters", detail)
    return _items(release, place, start, max(end, start + HOUR))


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
