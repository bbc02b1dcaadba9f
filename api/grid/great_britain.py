"""GB Carbon Intensity (NESO): half-hourly direct intensity of Great Britain, no key, CC BY 4.0.

`GET /intensity/{from}/{to}`. Direct, so it is kept and shown but never enters a lifecycle
footprint.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import httpx

from api.catalogue import ZoneId
from api.grid.asking import ask, moment, number, rows
from api.grid.intensity import Reading

URL = "https://api.carbonintensity.org.uk"
ZONE = ZoneId("GB")


class GreatBritain:
    """The live source of Great Britain's direct intensity."""

    name = "GB Carbon Intensity (NESO)"

    def __init__(self, client: httpx.AsyncClient, url: str = URL) -> None:
        self._client = client
        self._url = url.rstrip("/")

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """The hours of the last day, each the mean of its half-hours that were measured."""
        if ZONE not in zones:
            return []
        start = (now - timedelta(hours=24)).replace(minute=0)
        span = f"{start:%Y-%m-%dT%H:%MZ}/{now:%Y-%m-%dT%H:%MZ}"
        body = await ask(self._client, f"{self._url}/intensity/{span}")
        hours: dict[datetime, list[float]] = {}
        for item in rows(body, "data"):
            intensity = item.get("intensity")
            actual = intensity.get("actual") if isinstance(intensity, dict) else None
            if actual is not None:
                hour = moment(item.get("from")).replace(minute=0)
                hours.setdefault(hour, []).append(number(actual))
        return [self._reading(hour, values) for hour, values in sorted(hours.items())]

    def _reading(self, hour: datetime, values: list[float]) -> Reading:
        return Reading(
            zone=ZONE,
            start=hour,
            end=hour + timedelta(hours=1),
            intensity_g_per_kwh=sum(values) / len(values),
            basis="direct",
            signal="average",
            is_estimated=False,
            source=self.name,
            licence="CC-BY-4.0",
            is_redistributable=True,
        )
