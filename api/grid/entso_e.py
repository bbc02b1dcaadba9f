"""ENTSO-E Transparency Platform: generation by type in Europe, with an own token.

`GET /api` with document A75 (actual generation per type), process A16 (realised); the answer is
XML. We compute the lifecycle intensity of production from it (IPCC AR5 medians). That is not the
flow-traced consumption of our levels, so its basis is named `lifecycle-production`: it is kept,
shown and good for fitting curves, and does not enter a footprint as it is. Terms of reuse differ
by data item: readings are kept as not redistributable.
"""

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from api.catalogue import ZoneId
from api.grid.asking import KeyedSource, fetch, moment, number, of_each
from api.grid.intensity import Reading
from protocol.errors import SourceError

URL = "https://web-api.tp.entsoe.eu"
AREAS = {
    "BE": "10YBE----------2",
    "CH": "10YCH-SWISSGRIDZ",
    "DE": "10Y1001A1001A82H",
    "ES": "10YES-REE------0",
    "FI": "10YFI-1--------U",
    "FR": "10YFR-RTE------C",
    "IE": "10Y1001A1001A59C",
    "IT-NO": "10Y1001A1001A73I",
    "NL": "10YNL----------L",
    "PL": "10YPL-AREA-----S",
    "SE-SE3": "10Y1001A1001A46L",
}
"""Our zones to bidding zones (Energy Identification Codes)."""
LIFECYCLE_G_PER_KWH = {
    "B01": 230.0,
    "B02": 820.0,
    "B03": 490.0,
    "B04": 490.0,
    "B05": 820.0,
    "B06": 650.0,
    "B07": 650.0,
    "B08": 820.0,
    "B09": 38.0,
    "B11": 24.0,
    "B12": 24.0,
    "B13": 24.0,
    "B14": 12.0,
    "B15": 230.0,
    "B16": 45.0,
    "B17": 700.0,
    "B18": 11.0,
    "B19": 11.0,
    "B20": 700.0,
}
"""By production type (ENTSO-E code list): IPCC AR5 WGIII Annex III medians. Peat counts as
coal, other renewables as biomass, waste and other as unknown (conventions). Storage (B10, B25)
gives back what was generated before and is left out."""
HOUR = timedelta(hours=1)
RESOLUTIONS = {
    "PT15M": timedelta(minutes=15),
    "PT30M": timedelta(minutes=30),
    "PT60M": HOUR,
}
MAX_POINTS = 24 * 4 * 3
_EMPTY = "Acknowledgement_MarketDocument"


class EntsoE(KeyedSource):
    """The live source of generation in Europe."""

    name = "ENTSO-E"
    url = URL

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """The whole hours of the last day that are published."""
        known = [zone for zone in zones if zone in AREAS]
        return await of_each(known, partial(self._zone, now=now))

    async def _zone(self, zone: ZoneId, now: datetime) -> list[Reading]:
        params = {
            "securityToken": self._token,
            "documentType": "A75",
            "processType": "A16",
            "in_Domain": AREAS[zone],
            "periodStart": f"{now - 24 * HOUR:%Y%m%d%H00}",
            "periodEnd": f"{now:%Y%m%d%H00}",
        }
        document = parsed(await fetch(self._client, f"{self._url}/api", params=params))
        hours: dict[datetime, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        ends: dict[str, datetime] = {}
        for series in document.iterfind("{*}TimeSeries"):
            for start, end, kind, energy_mwh in _generated(series):
                hour = start.replace(minute=0, second=0)
                hours[hour][kind] += energy_mwh
                ends[kind] = max(end, ends.get(kind, end))
        # An hour for which some type is not reported yet would look cleaner or dirtier than it is.
        covered = min(ends.values(), default=now)
        return [
            self._reading(zone, hour, mix)
            for hour, mix in sorted(hours.items())
            if hour + HOUR <= covered and any(mix.values())
        ]

    def _reading(self, zone: ZoneId, hour: datetime, mix: dict[str, float]) -> Reading:
        grams = sum(LIFECYCLE_G_PER_KWH[kind] * made for kind, made in mix.items())
        return Reading(
            zone=zone,
            start=hour,
            end=hour + HOUR,
            intensity_g_per_kwh=grams / sum(mix.values()),
            basis="lifecycle-production",
            signal="average",
            is_estimated=False,
            source=self.name,
            licence="ENTSO-E terms",
            is_redistributable=False,
        )


def parsed(body: bytes) -> ET.Element:
    """The document; an acknowledgement that there are no data is an empty one.

    Raises:
        SourceError: If it is not XML, carries a document type of its own, or refuses.
    """
    if b"<!" in body.replace(b"<!--", b""):
        raise SourceError("the answer defines entities of its own")
    try:
        document = ET.fromstring(body)  # noqa: S314 - it can define no entity, see above
    except ET.ParseError as fault:
        raise SourceError("the answer is not XML") from fault
    name = document.tag.rpartition("}")[2]
    if name == _EMPTY:
        reason = document.findtext("{*}Reason/{*}text", "")
        if "No matching data" not in reason:
            raise SourceError(f"refused: {reason[:200]}")
    elif name != "GL_MarketDocument":
        raise SourceError(f"not a generation document: {name[:60]}")
    return document


def _generated(series: ET.Element) -> Iterator[tuple[datetime, datetime, str, float]]:
    """Start, end, type and energy (MWh) of each step.

    What storage takes up and types without a factor are left out.
    """
    kind = series.findtext("{*}MktPSRType/{*}psrType", "")
    if kind not in LIFECYCLE_G_PER_KWH or series.find("{*}outBiddingZone_Domain.mRID") is not None:
        return
    for period in series.iterfind("{*}Period"):
        start = moment(period.findtext("{*}timeInterval/{*}start"))
        end = moment(period.findtext("{*}timeInterval/{*}end"))
        step = RESOLUTIONS.get(period.findtext("{*}resolution", ""))
        if step is None or not start < end <= start + MAX_POINTS * step:
            raise SourceError("a period of an unknown resolution or length")
        for position, power_mw in _powers(period, (end - start) // step):
            at = start + position * step
            yield at, at + step, kind, max(0.0, power_mw) * (step / HOUR)


def _powers(period: ET.Element, count: int) -> Iterator[tuple[int, float]]:
    """Power at each position; one that is left out repeats the one before (curve type A03)."""
    stated: dict[int, float] = {}
    for point in period.iterfind("{*}Point"):
        position = number(point.findtext("{*}position"))
        stated[int(position) - 1] = number(point.findtext("{*}quantity"))
    if 0 not in stated:
        raise SourceError("a period without its first point")
    power = 0.0
    for position in range(count):
        power = stated.get(position, power)
        yield position, power
