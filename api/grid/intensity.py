"""Records of grid intensity, and the port that live sources implement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from api.catalogue import ZoneId
from api.footprint import Factor


class Tier(StrEnum):
    """How a value came about, best first; named in every answer."""

    LIVE = "live"
    """Reported for this very hour."""
    LIVE_STALE = "live_stale"
    """The newest report, less than 24 hours old."""
    PERSISTENCE = "persistence"
    """The same hour of the day before."""
    PROFILE = "profile"
    """Yearly level times the zone's typical hourly curve."""
    ANNUAL = "annual"
    """Yearly level of the zone."""
    COUNTRY = "country"
    """Yearly level of the country."""


class Period(StrEnum):
    """What time a ranking speaks about."""

    YEAR = "year"
    """The newest whole year: stable, the default."""
    MONTH = "30d"
    """The last 30 days."""
    NOW = "now"
    """The current hour: an overlay, not a ranking to keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Grid intensity of one zone over one span of time (gCO2e per kWh)."""

    zone: ZoneId
    tier: Tier
    factor: Factor
    start: datetime
    end: datetime
    """End of the span, exclusive."""
    accounting: str = "consumption"
    basis: str = "lifecycle"
    is_redistributable: bool = True
    """False for values whose source forbids passing them on in bulk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value that a live source reported."""

    zone: ZoneId
    start: datetime
    end: datetime
    intensity_g_per_kwh: float
    basis: str
    """`lifecycle` or `direct`; only lifecycle readings enter a footprint."""
    signal: str
    """`average` or `marginal`; only average readings enter a footprint."""
    is_estimated: bool
    source: str
    licence: str
    is_redistributable: bool


class IntensitySource(Protocol):
    """A live source of grid intensity. Raises `SourceError` when it does not deliver."""

    @property
    def name(self) -> str:
        """Its name in answers and in the table of sources."""
        ...

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """What it has for these zones in the last 24 hours; zones it lacks are left out."""
        ...


History = Mapping[ZoneId, Mapping[datetime, Reading]]
"""Readings by zone and start of the hour (UTC)."""
