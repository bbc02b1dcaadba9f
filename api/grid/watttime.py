"""WattTime v3: marginal intensity (`co2_moer`), a separate signal that is never blended in.

`GET /login` with user and password gives a token for 30 minutes, `GET /v3/historical` the
values in lb/MWh.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import httpx

from api.catalogue import ZoneId
from api.grid.asking import Json, ask, moment, number, of_each, rows
from api.grid.intensity import Reading
from protocol.errors import SourceError

URL = "https://api.watttime.org"
G_PER_KWH_PER_LB_PER_MWH = 0.453_592_37
"""The international pound is 453.59237 g."""
REGIONS = {
    "US-MIDA-PJM": "PJM_DC",
    "US-NW-BPAT": "BPA",
    "US-MIDW-MISO": "MISO_MASON_CITY",
    "US-TEX-ERCO": "ERCOT_SANANTONIO",
    "US-CAL-CISO": "CAISO_NORTH",
    "IE": "IE",
    "NL": "NL",
    "DE": "DE",
    "FR": "FR",
    "SE-SE3": "SE",
    "FI": "FI",
    "GB": "UK",
    "CA-QC": "HQ",
    "SG": "SGP",
    "JP-TK": "JP_TK",
    "AU-NSW": "NEM_NSW",
    "IN-WE": "IND",
    "BR-CS": "BRA",
}
"""Our zones to WattTime's regions, where a tabulated place lies in one."""


class WattTime:
    """The live source of marginal intensity."""

    name = "WattTime v3"

    def __init__(self, client: httpx.AsyncClient, user: str, password: str, url: str = URL) -> None:
        self._client = client
        self._credentials = (user, password)
        self._url = url.rstrip("/")

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """The hours of the last day; regions that the plan does not include are left out."""
        login = await ask(self._client, f"{self._url}/login", auth=self._credentials)
        token = login.get("token") if isinstance(login, dict) else None
        if not isinstance(token, str):
            raise SourceError("the login gave no token")
        known = [zone for zone in zones if zone in REGIONS]
        return await of_each(known, partial(self._zone, token=token, now=now))

    async def _zone(self, zone: ZoneId, *, token: str, now: datetime) -> list[Reading]:
        body = await ask(
            self._client,
            f"{self._url}/v3/historical",
            params={
                "region": REGIONS[zone],
                "start": f"{now - timedelta(hours=24):%Y-%m-%dT%H:%MZ}",
                "end": f"{now:%Y-%m-%dT%H:%MZ}",
                "signal_type": "co2_moer",
            },
            headers={"authorization": f"Bearer {token}"},
        )
        hours: dict[datetime, list[float]] = {}
        for item in rows(body, "data"):
            hour = moment(item.get("point_time")).replace(minute=0, second=0)
            hours.setdefault(hour, []).append(_value(item))
        return [
            Reading(
                zone=zone,
                start=hour,
                end=hour + timedelta(hours=1),
                intensity_g_per_kwh=sum(values) / len(values),
                basis="direct",
                signal="marginal",
                is_estimated=True,
                source=self.name,
                licence="WattTime terms",
                is_redistributable=False,
            )
            for hour, values in sorted(hours.items())
        ]


def _value(item: dict[str, Json]) -> float:
    return number(item.get("value")) * G_PER_KWH_PER_LB_PER_MWH
