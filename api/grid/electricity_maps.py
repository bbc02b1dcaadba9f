"""Electricity Maps v3: average lifecycle intensity of the last 24 hours, with an own token.

`GET /v3/carbon-intensity/history`, header `auth-token`. `disableCallerLookup` is set, because
an unknown zone would otherwise be answered for the caller's place. The terms forbid passing
values on: readings are kept as not redistributable.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import httpx

from api.catalogue import ZoneId
from api.grid.asking import Json, RefusedError, ask, moment, number, rows
from api.grid.intensity import Reading
from protocol.errors import SourceError

URL = "https://api.electricitymaps.com"
CONCURRENCY = 4
HOUR = timedelta(hours=1)


class ElectricityMaps:
    """The live source behind the tiers `live`, `live_stale` and `persistence`."""

    name = "Electricity Maps v3"

    def __init__(self, client: httpx.AsyncClient, token: str, url: str = URL) -> None:
        self._client = client
        self._token = token
        self._url = url.rstrip("/")

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """The hours of the last day; zones that the plan does not include are left out."""
        gate = asyncio.Semaphore(CONCURRENCY)

        async def one(zone: ZoneId) -> list[Reading] | SourceError:
            async with gate:
                try:
                    return await self._zone(zone)
                except SourceError as fault:
                    return fault

        answers = await asyncio.gather(*(one(zone) for zone in zones))
        found = [reading for answer in answers if isinstance(answer, list) for reading in answer]
        faults = [answer for answer in answers if isinstance(answer, SourceError)]
        if faults and not found:
            raise next((f for f in faults if isinstance(f, RefusedError)), faults[0])
        return found

    async def _zone(self, zone: ZoneId) -> list[Reading]:
        body = await ask(
            self._client,
            f"{self._url}/v3/carbon-intensity/history",
            params={
                "zone": zone,
                "emissionFactorType": "lifecycle",
                "disableCallerLookup": "true",
            },
            headers={"auth-token": self._token},
        )
        if not isinstance(body, dict) or body.get("zone") != zone:
            raise SourceError(f"the answer is not for {zone}")
        return [self._reading(zone, item) for item in rows(body, "history")]

    def _reading(self, zone: ZoneId, item: dict[str, Json]) -> Reading:
        start = moment(item.get("datetime"))
        return Reading(
            zone=zone,
            start=start,
            end=start + HOUR,
            intensity_g_per_kwh=number(item.get("carbonIntensity")),
            basis=str(item.get("emissionFactorType", "lifecycle")),
            signal="average",
            is_estimated=bool(item.get("isEstimated", True)),
            source=self.name,
            licence="Electricity Maps terms",
            is_redistributable=False,
        )
