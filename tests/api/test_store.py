"""The database on SQLite and PostgreSQL: migrations both ways, what is kept, what is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from api.catalogue import ZoneId
from api.grid.intensity import Reading
from api.store import VERSION_TABLE, Base, LogSourceRow, Store, StoredEntry, migrate
from protocol.errors import ConfigurationError, StoreError
from tests.support.postgres import PostgresServer, postgres_server

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
URL = "http://validator"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'api.sqlite3'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database(f"t{abs(hash(tmp_path))}")


@pytest.fixture
def kept(url: str) -> Iterator[Store]:
    store = Store.open(url)
    yield store
    store.close()


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


class PowerCutError(Exception):
    """The end of a process in the middle of its work."""


def test_a_migration_that_is_cut_short_leaves_the_schema_as_it_was(url: str) -> None:
    engine = engine_of(url)
    migrate(engine, "0001")
    before = sorted(sa.inspect(engine).get_table_names())

    def cut(*arguments: object) -> None:
        if "CREATE TABLE api_row_change" in str(arguments[2]):
            raise PowerCutError

    sa.event.listen(engine, "before_cursor_execute", cut)
    with pytest.raises(PowerCutError):
        migrate(engine)
    sa.event.remove(engine, "before_cursor_execute", cut)

    assert sorted(sa.inspect(engine).get_table_names()) == before
    migrate(engine)
    assert "api_row_change" in sa.inspect(engine).get_table_names()
    engine.dispose()


def test_migrations_lead_to_the_models_and_back_to_nothing(url: str) -> None:
    engine = engine_of(url)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []

    migrate(engine, "base")

    left = set(sa.inspect(engine).get_table_names()) - {VERSION_TABLE}
    assert left == set()
    migrate(engine)
    engine.dispose()


def test_a_log_is_kept_with_its_head(kept: Store) -> None:
    kept.extend_log(head(1), [entry(0)])
    kept.extend_log(head(2), [entry(1, kind="verdict")])

    source = kept.log_source(URL)
    assert source is not None
    assert source.size == 2
    assert kept.leaf_hashes(URL) == (b"\0" * 32, b"\1" * 32)
    assert [e.position for e in kept.log_entries(URL, kind="round")] == [0]


def test_an_entry_is_never_kept_twice(kept: Store) -> None:
    kept.extend_log(head(1), [entry(0)])

    with pytest.raises(StoreError):
        kept.extend_log(head(9), [entry(0)])

    source = kept.log_source(URL)
    assert source is not None
    assert source.size == 1


def test_readings_come_back_in_utc_and_a_revision_replaces(kept: Store) -> None:
    kept.keep_readings([reading(NOW, 100.0), reading(NOW - timedelta(hours=1), 90.0)])
    kept.keep_readings([reading(NOW, 120.0)])

    found = kept.readings_since(NOW - timedelta(hours=2))

    assert [(r.start, r.intensity_g_per_kwh) for r in found] == [
        (NOW - timedelta(hours=1), 90.0),
        (NOW, 120.0),
    ]
    assert kept.readings_since(NOW + timedelta(minutes=1)) == ()


@pytest.mark.parametrize(
    "url",
    ["nonsense", "nodialect://x", "sqlite:////dev/null/x.sqlite3", "mysql://u@127.0.0.1/x"],
)
def test_a_database_that_cannot_be_opened_is_our_error_with_a_hint(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Store.open(url)

    assert "DATABASE_URL" in caught.value.hint


def test_a_file_that_is_no_database_is_our_error(tmp_path: Path) -> None:
    path = tmp_path / "api.sqlite3"
    path.write_bytes(b"not a database" * 100)

    with pytest.raises(ConfigurationError, match="cannot open"):
        Store.open(f"sqlite:///{path}")


def head(size: int) -> LogSourceRow:
    return LogSourceRow(
        url=URL,
        validator="5" * 48,
        genesis_hash="0x" + "0" * 64,
        netuid=2,
        size=size,
        root="0" * 64,
        head_json="{}",
        head_unix_ms=1_795_000_000_000,
    )


def entry(position: int, kind: str = "round") -> StoredEntry:
    return StoredEntry(
        position=position,
        kind=kind,
        round=1,
        digest="0" * 64,
        leaf_hash=bytes([position]) * 32,
        body=b"{}",
        head_unix_ms=1_795_000_000_000,
    )


def reading(start: datetime, value: float) -> Reading:
    return Reading(
        zone=ZoneId("NL"),
        start=start,
        end=start + timedelta(hours=1),
        intensity_g_per_kwh=value,
        basis="lifecycle",
        signal="average",
        is_estimated=False,
        source="test",
        licence="CC0",
        is_redistributable=True,
    )
