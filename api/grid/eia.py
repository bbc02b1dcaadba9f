"""EIA-930: hourly generation by fuel in the United States, public domain, about a day late.

`GET /v2/electricity/rto/fuel-type-data/data/` with a free key. We compute the lifecycle
intensity of production from it (IPCC AR5 medians). That differs from the flow-traced
consumption of our levels by 3 to 43 %, so its basis is named `lifecycle-production`: it is
kept, shown and good for fitting curves, and does not enter a footprint as it is.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from api.catalogue import ZoneId
from api.grid.asking import KeyedSource, ask, number, rows
from api.grid.intensity import Reading
from protocol.errors import SourceError

URL = "https://api.eia.gov"
RESPONDENTS = {
    "US-MIDA-PJM": "PJM",
    "US-NW-BPAT": "BPAT",
    "US-NW-PACW": "PACW",
    "US-MIDW-MISO": "MISO",
    "US-CENT-SWPP": "SWPP",
    "US-TEX-ERCO": "ERCO",
    "US-CAL-CISO": "CISO",
}
LIFECYCLE_G_PER_KWH = {
    "COL": 820.0,
    "NG": 490.0,
    "OIL": 650.0,
    "NUC": 12.0,
    "WAT": 24.0,
    "SUN": 45.0,
    "WND": 11.0,
    "OTH": 230.0,
}
"""IPCC AR5 WGIII Annex III medians; oil and other are conventions."""
_BY_RESPONDENT = {respondent: zone for zone, respondent in RESPONDENTS.items()}


class Eia(KeyedSource):
    """The live source of generation in the United States."""

    name = "EIA-930"
    url = URL

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """The hours of the last two days that are published."""
        wanted = [RESPONDENTS[zone] for zone in zones if zone in RESPONDENTS]
        if not wanted:
            return []
        params = {
            "api_key": self._token,
            "frequency": "hourly",
            "data[0]": "value",
            "start": f"{now - timedelta(hours=48):%Y-%m-%dT%H}",
            "end": f"{now:%Y-%m-%dT%H}",
            "length": "5000",
        }
        params |= {f"facets[respondent][{i}]": name for i, name in enumerate(wanted)}
        url = f"{self._url}/v2/electricity/rto/fuel-type-data/data/"
        body = await ask(self._client, url, params=params)
        mixes: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        for item in rows(body, "response", "data"):
            key = (str(item.get("respondent")), str(item.get("period")))
            if key[0] in _BY_RESPONDENT:
                # Pumping and net imports of storage are negative: no generation.
                mixes[key][str(item.get("fueltype"))] = max(0.0, number(item.get("value")))
        return [self._reading(*key, mix) for key, mix in sorted(mixes.items()) if any(mix.values())]

    def _reading(self, respondent: str, period: str, mix: dict[str, float]) -> Reading:
        try:
            start = datetime.strptime(period, "%Y-%m-%dT%H").replace(tzinfo=UTC)
        except ValueError as fault:
            raise SourceError(f"not an hour: {period!r}") from fault
        other = LIFECYCLE_G_PER_KWH["OTH"]
        grams = sum(LIFECYCLE_G_PER_KWH.get(fuel, other) * made for fuel, made in mix.items())
        return Reading(
            zone=ZoneId(_BY_RESPONDENT[respondent]),
            start=start,
            end=start + timedelta(hours=1),
            intensity_g_per_kwh=grams / sum(mix.values()),
            basis="lifecycle-production",
            signal="average",
            is_estimated=False,
            source=self.name,
            licence="public domain",
            is_redistributable=True,
        )
