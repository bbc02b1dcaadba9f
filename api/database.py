"""The API's database: its tables, its connections, its one kind of fault.

SQLAlchemy 2.1, SQLite by default, PostgreSQL by `DATABASE_URL`; Alembic migrations travel in
the package and run at start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

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
    body_digest: Mapped[str | None] = mapped_column(sa.String(64))
    """Frozen figures of the release; several releases may share them."""


class ReleaseBodyRow(Base):
    """Frozen figures, as they were served: all rows over the year, gzipped JSON."""

    __tablename__ = "api_release_body"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    body: Mapped[bytes] = mapped_column(sa.LargeBinary)


class RowChangeRow(Base):
    """A row of the ranking from the release in which it looks so; only ever added."""

    __tablename__ = "api_row_change"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    release: Mapped[str] = mapped_column(sa.String(40), index=True)
    changed_at: Mapped[datetime]
    row: Mapped[str] = mapped_column(sa.String(300), index=True)
    before_json: Mapped[str | None] = mapped_column(sa.Text)
    """None for a row that was not there."""
    after_json: Mapped[str | None] = mapped_column(sa.Text)
    """None for a row that is there no more."""


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
    basis: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    end: Mapped[datetime]
    intensity_g_per_kwh: Mapped[float]
    is_estimated: Mapped[bool]
    licence: Mapped[str] = mapped_column(sa.String(60))
    is_redistributable: Mapped[bool]


class Database:
    """A migrated database. Every method of its children raises `StoreError` when it fails."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._session = sessionmaker(engine)

    @classmethod
    def open(cls, url: str) -> Self:
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

    @classmethod
    def beside(cls, database: "Database") -> Self:
        """Another view of a database that is open already."""
        return cls(database.engine)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads."""
        try:
            with self._session(expire_on_commit=False) as session:
                yield session
        except SQLAlchemyError as fault:
            raise _failed(fault) from fault

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are kept together or not at all."""
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
        if engine.dialect.name == "sqlite":
            # Python's driver opens no transaction for DDL; a kill would leave half a schema.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
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


def _failed(fault: SQLAlchemyError) -> StoreError:
    detail = str(fault).partition("\n")[0]
    return StoreError(f"database: {detail}", hint="Check the disk's space and the database.")


def utc(moment: datetime) -> datetime:
    """SQLite forgets the zone: what is kept is always UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def shown_url(url: str) -> str:
    """A database URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the database"
