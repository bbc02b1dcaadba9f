"""Opening and migrating the database."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import column, event, inspect, table, update

from protocol.errors import ConfigurationError, StoreError
from validator.database import database_url, migrate, open_engine
from validator.tables import VERSION_TABLE, Base


def test_migrations_make_exactly_the_tables(database: str | None, tmp_path: Path) -> None:
    engine = open_engine(database_url(database, tmp_path))

    before, head = migrate(engine)
    assert before is None

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
    assert migrate(engine) == (head, head)
    assert all(name.startswith("validator_") for name in inspect(engine).get_table_names())
    engine.dispose()


def test_a_migration_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    engine = open_engine(database_url(None, tmp_path))

    def interrupt(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "validator_seats" in statement:
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        migrate(engine)
    event.remove(engine, "before_cursor_execute", interrupt)

    assert inspect(engine).get_table_names() == []
    before, head = migrate(engine)
    assert before is None
    assert head is not None
    engine.dispose()


def test_a_newer_database_is_not_touched(tmp_path: Path) -> None:
    engine = open_engine(database_url(None, tmp_path))
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(
            update(table(VERSION_TABLE, column("version_num"))).values(version_num="9999")
        )

    with pytest.raises(StoreError, match="unknown revision") as caught:
        migrate(engine)

    assert caught.value.hint
    engine.dispose()


@pytest.mark.parametrize("url", ["not a url", "mysql://host/name", "oracle://"])
def test_a_url_of_another_kind_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        database_url(url, tmp_path)

    assert "postgresql://" in caught.value.hint


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    url = database_url("postgresql://user:secret@127.0.0.1:1/name", tmp_path)

    with pytest.raises(ConfigurationError) as caught:
        open_engine(url)

    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot open the database"):
        open_engine(database_url(None, tmp_path / "missing"))
