"""Live grid sources of a refresh: asked each on its own, remembered in the store."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from api.catalogue import ZoneId
from api.grid.intensity import History, IntensitySource, Reading
from api.schemas import SourceState
from api.store import Store
from protocol.errors import SourceError, StoreError

HISTORY_SPAN = timedelta(days=31)
PULL_EVERY = timedelta(minutes=10)
"""No source is asked more often: quotas, and hourly data do not change faster."""
_FORGET_EVERY = timedelta(days=1)
ABSURD_G_PER_KWH = 3_000.0
"""No grid emits more; such a reading is dropped, as is a negative one."""

log = structlog.get_logger(__name__)


_Key = tuple[ZoneId, datetime, str, str, str]


class LiveReadings:
    """The `GridReadings` of a refresh."""

    def __init__(
        self, sources: Sequence[IntensitySource], zones: Sequence[ZoneId], store: Store
    ) -> None:
        self._sources = sources
        self._ranks = {source.name: rank for rank, source in enumerate(sources)}
        self._zones = zones
        self._store = store
        self._states: dict[str, SourceState] = {}
        self._pulled_at: datetime | None = None
        self._forgot_at: datetime | None = None
        self._history: dict[ZoneId, dict[datetime, Reading]] = {}
        """What enters a footprint, as kept in the store and as reported since."""
        self._is_read = False
        self._saved: Mapping[_Key, Reading] = {}
        """The newest answers, as the store holds them."""
        self._unsaved: tuple[Reading, ...] = ()
        """What the store did not take; tried again with the next answer."""

    async def pull(self, now: datetime) -> None:
        """Ask every source for the last 24 hours, unless it was asked just now."""
        if self._sources and not self._is_read:
            await asyncio.to_thread(self._read, now)
        # The absolute value: a clock that was set back must not silence the sources.
        if not self._sources or (self._pulled_at and abs(now - self._pulled_at) < PULL_EVERY):
            return
        self._pulled_at = now
        found = await asyncio.gather(*(self._ask(source, now) for source in self._sources))
        readings = [reading for answer in found for reading in answer]
        self._take(readings)
        # One more span is held, for a clock that was ahead for a while.
        if self._forgot_at is None or abs(now - self._forgot_at) > _FORGET_EVERY:
            self._forgot_at = now
            self._forget(now - 2 * HISTORY_SPAN)
        await asyncio.to_thread(self._keep, readings)

    def history(self, now: datetime) -> History:
        """Lifecycle average readings of the last 31 days; the first source named wins."""
        since = now - HISTORY_SPAN
        found = {zone: dict(hours) for zone, hours in self._history.items()}
        for hours in found.values():
            for start in [start for start in hours if not since <= start <= now]:
                del hours[start]
        return {zone: hours for zone, hours in found.items() if hours}

    def states(self) -> tuple[SourceState, ...]:
        """Each source as last seen."""
        return tuple(self._states.values())

    async def _ask(self, source: IntensitySource, now: datetime) -> Sequence[Reading]:
        try:
            readings = [r for r in await source.readings(self._zones, now) if is_sane(r, now)]
        except SourceError as fault:
            log.warning("grid source failed", source=source.name, detail=str(fault))
            before = self._states.get(source.name)
            self._note(
                source.name, "unreachable", str(fault), before.data_as_of if before else None
            )
            return ()
        newest = max((reading.end for reading in readings), default=None)
        self._note(source.name, "ok" if readings else "empty", f"{len(readings)} hours", newest)
        return readings

    def _read(self, now: datetime) -> None:
        """Read the store once: what is reported later is taken as it comes."""
        try:
            self._take((*self._store.readings_since(now - HISTORY_SPAN), *self._unsaved))
            self._is_read = True
        except StoreError as fault:
            log.error("grid history not read", detail=str(fault), hint=fault.hint)

    def _take(self, readings: Sequence[Reading]) -> None:
        """Add readings; of one zone and hour the first source named stays, in its newest form."""
        for reading in readings:
            if reading.basis != "lifecycle" or reading.signal != "average":
                continue
            hours = self._history.setdefault(reading.zone, {})
            held = hours.get(reading.start)
            if held is None or self._rank(reading) <= self._rank(held):
                hours[reading.start] = reading

    def _rank(self, reading: Reading) -> int:
        return self._ranks.get(reading.source, len(self._ranks))

    def _forget(self, before: datetime) -> None:
        for hours in self._history.values():
            for start in [start for start in hours if start < before]:
                del hours[start]

    def _keep(self, readings: Sequence[Reading]) -> None:
        """Store what was not stored with the answer before: most hours come again and again."""
        found = {_key(reading): reading for reading in (*self._unsaved, *readings)}
        waiting = tuple(
            reading for key, reading in found.items() if self._saved.get(key) != reading
        )
        try:
            self._store.keep_readings(waiting)
            self._saved, self._unsaved = found, ()
        except StoreError as fault:
            log.error("grid readings not kept", detail=str(fault), hint=fault.hint)
            self._unsaved = waiting

    def _note(self, name: str, state: str, detail: str, newest: datetime | None) -> None:
        self._states[name] = SourceState.model_validate(
            {
                "name": name,
                "kind": "grid",
                "state": state,
                "detail": detail,
                "data_as_of": newest,
                "entries": None,
                "validator": None,
            }
        )


def _key(reading: Reading) -> _Key:
    """What a row of the store is found by."""
    return (reading.zone, reading.start, reading.source, reading.signal, reading.basis)


def is_sane(reading: Reading, now: datetime) -> bool:
    """Whether a reading can be true: a possible value, a whole span, not from the future."""
    return (
        0 <= reading.intensity_g_per_kwh <= ABSURD_G_PER_KWH
        and reading.start < reading.end
        and reading.start <= now + timedelta(hours=1)
    )
