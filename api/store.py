"""The API's database: log entries seen, heads, releases, prices, grid history.

SQLAlchemy 2.1, SQLite by default, PostgreSQL by `DATABASE_URL`; Alembic migrations travel in
the package and run at start. Only the refresh writes, only the refresh reads: answers come
from the release in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from api.catalogue import ZoneId
from api.grid.intensity import Reading
from api.release import Release
from protocol.errors import ConfigurationError, StoreError

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "api_alembic_version"
"""Own name, so that a validator and an API may share one PostgreSQL database."""


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: sa.DateTime(timezone=True),
        int: sa.BigInteger().with_variant(sa.Integer, "sqlite"),
    }


class LogSourceRow(Base):
    """A validator's log as last verified."""

    __tablename__ = "api_log_source"

    url: Mapped[str] = mapped_column(sa.String(500), primary_key=True)
    validator: Mapped[str] = mapped_column(sa.String(64))
    genesis_hash: Mapped[str] = mapped_column(sa.String(66))
    netuid: Mapped[int]
    size: Mapped[int]
    root: Mapped[str] = mapped_column(sa.String(64))
    head_json: Mapped[str] = mapped_column(sa.Text)
    head_unix_ms: Mapped[int]


class LogEntryRow(Base):
    """One verified entry of a validator's log."""

    __tablename__ = "api_log_entry"

    url: Mapped[str] = mapped_column(sa.String(500), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16), index=True)
    round: Mapped[int]
    digest: Mapped[str] = mapped_column(sa.String(64), index=True)
    leaf_hash: Mapped[bytes] = mapped_column(sa.LargeBinary(32))
    body: Mapped[bytes] = mapped_column(sa.LargeBinary)
    head_unix_ms: Mapped[int]


class LogFaultRow(Base):
    """A head or entry that was refused, kept as evidence."""

    __tablename__ = "api_log_fault"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    url: Mapped[str] = mapped_column(sa.String(500), index=True)
    seen_at: Mapped[datetime]
    code: Mapped[str] = mapped_column(sa.String(64))
    detail: Mapped[str] = mapped_column(sa.Text)
    body: Mapped[bytes] = mapped_column(sa.LargeBinary)


class ReleaseRow(Base):
    """A release that was served."""

    __tablename__ = "api_release"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    computed_at: Mapped[datetime] = mapped_column(index=True)
    inputs_digest: Mapped[str] = mapped_column(sa.String(64))
    methodology: Mapped[str] = mapped_column(sa.String(20))
    row_count: Mapped[int]
    network_count: Mapped[int]


class PriceRow(Base):
    """A price from the day it was first seen; rows are only ever added."""

    __tablename__ = "api_price"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    provider: Mapped[str] = mapped_column(sa.String(40), index=True)
    model: Mapped[str] = mapped_column(sa.String(120), index=True)
    region: Mapped[str] = mapped_column(sa.String(60))
    input_usd_per_mtok: Mapped[str | None] = mapped_column(sa.String(40))
    output_usd_per_mtok: Mapped[str | None] = mapped_column(sa.String(40))
    source: Mapped[str] = mapped_column(sa.String(200))
    licence: Mapped[str] = mapped_column(sa.String(60))
    seen_at: Mapped[datetime]


class GridReadingRow(Base):
    """One reading of a live grid source."""

    __tablename__ = "api_grid_reading"

    zone: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    start: Mapped[datetime] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    signal: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    basis: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    end: Mapped[datetime]
    intensity_g_per_kwh: Mapped[float]
    is_estimated: Mapped[bool]
    licence: Mapped[str] = mapped_column(sa.String(60))
    is_redistributable: Mapped[bool]


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


class Store:
    """The database behind a refresh. Every method raises `StoreError` when it fails."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._session = sessionmaker(engine)

    @classmethod
    def open(cls, url: str) -> "Store":
        """The database of this URL, migrated to the newest schema.

        Raises:
            ConfigurationError: If it cannot be reached, written or migrated.
        """
        hint = "Check DATABASE_URL, or unset it to use SQLite under API_DATA_DIR."
        try:
            engine = _engine(url)
            migrate(engine)
        except (ArgumentError, ModuleNotFoundError) as fault:
            raise ConfigurationError(
                f"DATABASE_URL is not understood: {fault}", hint=hint
            ) from fault
        except (SQLAlchemyError, OSError) as fault:
            shown = shown_url(url)
            detail = str(fault).partition("\n")[0]
            raise ConfigurationError(f"cannot open {shown}: {detail}", hint=hint) from fault
        return cls(engine)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def log_source(self, url: str) -> LogSourceRow | None:
        """A validator's log as last verified."""
        with self._reading() as session:
            return session.get(LogSourceRow, url)

    def log_entries(self, url: str, kind: str | None = None) -> tuple[StoredEntry, ...]:
        """Verified entries of a log in order, of one kind or all."""
        query = sa.select(LogEntryRow).where(LogEntryRow.url == url)
        if kind is not None:
            query = query.where(LogEntryRow.kind == kind)
        with self._reading() as session:
            return tuple(map(_stored, session.scalars(query.order_by(LogEntryRow.position))))

    def leaf_hashes(self, url: str) -> tuple[bytes, ...]:
        """Leaf hashes of a log in order."""
        query = sa.select(LogEntryRow.leaf_hash).where(LogEntryRow.url == url)
        with self._reading() as session:
            return tuple(session.scalars(query.order_by(LogEntryRow.position)))

    def extend_log(self, head: LogSourceRow, entries: Sequence[StoredEntry]) -> None:
        """Keep new verified entries and the head that covers them, in one transaction."""
        with self._writing() as session:
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
        with self._writing() as session:
            last = session.scalars(newest.limit(1)).first()
            if last is None or (last.code, last.detail) != (code, detail):
                session.add(LogFaultRow(url=url, seen_at=now, code=code, detail=detail, body=body))

    def faults(self, url: str) -> tuple[LogFaultRow, ...]:
        """What was refused from a source, oldest first."""
        query = sa.select(LogFaultRow).where(LogFaultRow.url == url).order_by(LogFaultRow.id)
        with self._reading() as session:
            return tuple(session.scalars(query))

    def keep(self, release: Release, inputs_digest: str) -> None:
        """Keep a release's name and the prices that changed with it."""
        with self._writing() as session:
            session.merge(
                ReleaseRow(
                    id=release.id,
                    computed_at=release.computed_at,
                    inputs_digest=inputs_digest,
                    methodology=release.meta().methodology,
                    row_count=len(release.rows),
                    network_count=sum(1 for figure in release.figures if figure.evidence),
                )
            )
            _keep_prices(session, release)

    def releases(self, limit: int = 100) -> tuple[ReleaseRow, ...]:
        """The newest releases first."""
        query = sa.select(ReleaseRow).order_by(ReleaseRow.computed_at.desc()).limit(limit)
        with self._reading() as session:
            return tuple(session.scalars(query))

    def price_count(self) -> int:
        """Price rows kept so far."""
        with self._reading() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(PriceRow)) or 0

    def keep_readings(self, readings: Sequence[Reading]) -> None:
        """Keep grid readings; a revised value replaces the one before."""
        with self._writing() as session:
            for reading in readings:
                session.merge(
                    GridReadingRow(
                        zone=reading.zone,
                        start=reading.start,
                        source=reading.source,
                        signal=reading.signal,
                        basis=reading.basis,
                        end=reading.end,
                        intensity_g_per_kwh=reading.intensity_g_per_kwh,
                        is_estimated=reading.is_estimated,
                        licence=reading.licence,
                        is_redistributable=reading.is_redistributable,
                    )
                )

    def readings_since(self, start: datetime) -> tuple[Reading, ...]:
        """Grid readings from a moment on, oldest first."""
        query = sa.select(GridReadingRow).where(GridReadingRow.start >= start)
        with self._reading() as session:
            return tuple(map(_reading, session.scalars(query.order_by(GridReadingRow.start))))

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        try:
            with self._session(expire_on_commit=False) as session:
                yield session
        except SQLAlchemyError as fault:
            raise _failed(fault) from fault

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        try:
            with self._session.begin() as session:
                yield session
        except SQLAlchemyError as fault:
            raise _failed(fault) from fault


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema to a revision, up or down."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        if revision == "base" or revision.startswith("-"):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def _engine(url: str) -> sa.Engine:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(parsed, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _on_sqlite_connect)
    return engine


def _on_sqlite_connect(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()


def _keep_prices(session: Session, release: Release) -> None:
    newest: dict[tuple[str, str, str], tuple[str | None, str | None]] = {
        (row.provider, row.model, row.region): (row.input_usd_per_mtok, row.output_usd_per_mtok)
        for row in session.scalars(sa.select(PriceRow).order_by(PriceRow.id))
    }
    for row in release.rows:
        if row.price is None:
            continue
        key = (row.provider.id, row.model.id, row.region or row.certainty.value)
        asked, answered = row.price.input_usd_per_mtok, row.price.output_usd_per_mtok
        price = (
            None if asked is None else format(asked.normalize(), "f"),
            None if answered is None else format(answered.normalize(), "f"),
        )
        if newest.get(key) != price:
            newest[key] = price
            session.add(
                PriceRow(
                    provider=key[0],
                    model=key[1],
                    region=key[2],
                    input_usd_per_mtok=price[0],
                    output_usd_per_mtok=price[1],
                    source=row.price.source,
                    licence=row.price.licence,
                    seen_at=release.computed_at,
                )
            )


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


def _reading(row: GridReadingRow) -> Reading:
    return Reading(
        zone=ZoneId(row.zone),
        start=_utc(row.start),
        end=_utc(row.end),
        intensity_g_per_kwh=row.intensity_g_per_kwh,
        basis=row.basis,
        signal=row.signal,
        is_estimated=row.is_estimated,
        source=row.source,
        licence=row.licence,
        is_redistributable=row.is_redistributable,
    )


def _utc(moment: datetime) -> datetime:
    """SQLite forgets the zone: what is kept is always UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _failed(fault: SQLAlchemyError) -> StoreError:
    detail = str(fault).partition("\n")[0]
    return StoreError(f"database: {detail}", hint="Check the disk's space and the database.")


def shown_url(url: str) -> str:
    """A database URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the database"
