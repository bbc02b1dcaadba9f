"""Opening the validator's database: SQLite by default, PostgreSQL by URL, migrated at start."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from protocol.errors import ConfigurationError, StoreError
from validator.tables import VERSION_TABLE

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
)
_URL_HINT = (
    "Give sqlite:///path/to/file.db or postgresql://user:password@host/database, "
    "or leave DATABASE_URL unset for a file in the data directory."
)


def database_url(given: str | None, data_dir: Path) -> URL:
    """The database's URL.

    Args:
        given: What the operator set; None takes a SQLite file in the data directory.
        data_dir: The data directory.

    Raises:
        ConfigurationError: If the URL is no URL, or of a database that we do not know.
    """
    if given is None:
        return URL.create("sqlite", database=str(data_dir / "validator.db"))
    try:
        url = make_url(given)
    except ArgumentError:
        raise ConfigurationError("DATABASE_URL is not a URL", hint=_URL_HINT) from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return url.set(drivername="sqlite")
    raise ConfigurationError(f"DATABASE_URL names {backend!r}", hint=_URL_HINT)


def open_engine(url: URL) -> Engine:
    """A connected engine.

    Raises:
        ConfigurationError: If the database cannot be reached or written.
    """
    shown = url.render_as_string(hide_password=True)
    try:
        engine = create_engine(url, pool_pre_ping=True)
        if url.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (OperationalError, NoSuchModuleError, ModuleNotFoundError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        hint = "Check that the server runs, the database exists and the path is writable."
        raise ConfigurationError(f"cannot open the database {shown}: {cause}", hint=hint) from error
    return engine


def migrate(engine: Engine) -> tuple[str | None, str | None]:
    """Bring the tables up to date; revisions before and after.

    Raises:
        StoreError: If the database is newer than this program, or refuses.
    """
    config = Config()
    config.set_main_option("script_location", "validator:migrations")
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # Python's driver opens no transaction for DDL; a kill would leave half a schema.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            before = MigrationContext.configure(
                connection, opts={"version_table": VERSION_TABLE}
            ).get_current_revision()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        hint = "Run the version of carbonbench that last used it, or a newer one."
        raise StoreError(f"the database has an unknown revision: {error}", hint=hint) from error
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise StoreError(f"cannot migrate the database: {cause}") from error
    return before, ScriptDirectory.from_config(config).get_current_head()


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns what the database raises into `StoreError`."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        hint = "Check the disk and the database server; nothing of this step was kept."
        raise StoreError(f"the database refuses: {cause}", hint=hint) from error


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
