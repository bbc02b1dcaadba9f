"""Electricity Maps v3: average lifecycle intensity of the last 24 hours, with an own token.

`GET /v3/carbon-intensity/history`, header `auth-token`. `disableCallerLookup` is set, because
an unknown zone would otherwise be answered for the caller's place. The terms forbid passing
values on: readings are kept as not redistributable.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from api.catalogue import ZoneId
from api.grid.asking import Json, KeyedSource, ask, moment, number, of_each, rows
from api.grid.intensity import Reading
from protocol.errors import SourceError

URL = "https://api.electricitymaps.com"
HOUR = timedelta(hours=1)


class ElectricityMaps(KeyedSource):
    """The live source behind the tiers `live`, `live_stale` and `persistence`."""

    name = "Electricity Maps v3"
    url = URL

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """The hours of the last day; zones that the plan does not include are left out."""
        return await of_each(zones, self._zone)

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
