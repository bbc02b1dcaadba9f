"""What is kept between refreshes: verified logs, heads, releases, prices, grid readings.

Only the refresh writes, only the refresh reads: answers come from the release in memory, and
those about the past from `api.archive`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from api.archive import keep_release
from api.catalogue import ZoneId
from api.database import (
    VERSION_TABLE,
    Base,
    Database,
    GridReadingRow,
    LogEntryRow,
    LogFaultRow,
    LogSourceRow,
    PriceRow,
    ReleaseRow,
    migrate,
    shown_url,
    utc,
)
from api.grid.intensity import Reading
from api.release import Release

__all__ = [
    "VERSION_TABLE",
    "Base",
    "LogEntryRow",
    "LogFaultRow",
    "LogSourceRow",
    "Store",
    "StoredEntry",
    "migrate",
    "shown_url",
]


_READING_FIELDS = tuple(field.name for field in fields(Reading))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """A log entry as kept."""

    position: int
    kind: str
    round: int
    digest: str
    leaf_hash: bytes
    body: bytes
    head_unix_ms: int


class Store(Database):
    """The database behind a refresh."""

    def log_source(self, url: str) -> LogSourceRow | None:
        """A validator's log as last verified."""
        with self.reading() as session:
            return session.get(LogSourceRow, url)

    def log_entries(self, url: str, kind: str | None = None) -> tuple[StoredEntry, ...]:
        """Verified entries of a log in order, of one kind or all."""
        query = sa.select(LogEntryRow).where(LogEntryRow.url == url)
        if kind is not None:
            query = query.where(LogEntryRow.kind == kind)
        with self.reading() as session:
            return tuple(map(_stored, session.scalars(query.order_by(LogEntryRow.position))))

    def leaf_hashes(self, url: str) -> tuple[bytes, ...]:
        """Leaf hashes of a log in order."""
        query = sa.select(LogEntryRow.leaf_hash).where(LogEntryRow.url == url)
        with self.reading() as session:
            return tuple(session.scalars(query.order_by(LogEntryRow.position)))

    def extend_log(self, head: LogSourceRow, entries: Sequence[StoredEntry]) -> None:
        """Keep new verified entries and the head that covers them, in one transaction."""
        with self.writing() as session:
            session.merge(head)
            session.add_all(
                LogEntryRow(
                    url=head.url,
                    position=entry.position,
                    kind=entry.kind,
                    round=entry.round,
                    digest=entry.digest,
                    leaf_hash=entry.leaf_hash,
                    body=entry.body,
                    head_unix_ms=entry.head_unix_ms,
                )
                for entry in entries
            )

    def record_fault(self, url: str, code: str, detail: str, body: bytes, now: datetime) -> None:
        """Keep what was refused, unless the newest refusal of this source says the same."""
        newest = (
            sa.select(LogFaultRow).where(LogFaultRow.url == url).order_by(LogFaultRow.id.desc())
        )
        with self.writing() as session:
            last = session.scalars(newest.limit(1)).first()
            if last is None or (last.code, last.detail) != (code, detail):
                session.add(LogFaultRow(url=url, seen_at=now, code=code, detail=detail, body=body))

    def faults(self, url: str) -> tuple[LogFaultRow, ...]:
        """What was refused from a source, oldest first."""
        query = sa.select(LogFaultRow).where(LogFaultRow.url == url).order_by(LogFaultRow.id)
        with self.reading() as session:
            return tuple(session.scalars(query))

    def keep(self, release: Release, inputs_digest: str) -> None:
        """Keep a release's name, figures and changes, and the prices that changed with it."""
        keep_release(self, release, inputs_digest)

    def releases(self, limit: int = 100) -> tuple[ReleaseRow, ...]:
        """The newest releases first."""
        query = sa.select(ReleaseRow).order_by(ReleaseRow.computed_at.desc()).limit(limit)
        with self.reading() as session:
            return tuple(session.scalars(query))

    def price_count(self) -> int:
        """Price rows kept so far."""
        with self.reading() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(PriceRow)) or 0

    def keep_readings(self, readings: Sequence[Reading]) -> None:
        """Keep grid readings; a revised value replaces the one before."""
        if not readings:
            return
        keys = ("zone", "start", "source", "signal", "basis")
        values = [
            {name: getattr(reading, name) for name in _READING_FIELDS} for reading in readings
        ]
        insert = postgres_insert if self.engine.dialect.name == "postgresql" else sqlite_insert
        statement = insert(GridReadingRow)
        revised = {name: statement.excluded[name] for name in _READING_FIELDS if name not in keys}
        with self.writing() as session:
            session.execute(
                statement.on_conflict_do_update(index_elements=keys, set_=revised), values
            )

    def readings_since(self, start: datetime) -> tuple[Reading, ...]:
        """Grid readings from a moment on, oldest first."""
        query = sa.select(GridReadingRow).where(GridReadingRow.start >= start)
        with self.reading() as session:
            return tuple(map(reading_of, session.scalars(query.order_by(GridReadingRow.start))))


def _stored(row: LogEntryRow) -> StoredEntry:
    return StoredEntry(
        position=row.position,
        kind=row.kind,
        round=row.round,
        digest=row.digest,
        leaf_hash=row.leaf_hash,
        body=row.body,
        head_unix_ms=row.head_unix_ms,
    )


def reading_of(row: GridReadingRow) -> Reading:
    """A reading as it was kept."""
    return Reading(
        zone=ZoneId(row.zone),
        start=utc(row.start),
        end=utc(row.end),
        intensity_g_per_kwh=row.intensity_g_per_kwh,
        basis=row.basis,
        signal=row.signal,
        is_estimated=row.is_estimated,
        source=row.source,
        licence=row.licence,
        is_redistributable=row.is_redistributable,
    )
