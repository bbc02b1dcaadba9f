"""Runs the API's migrations over the connection that `api.store.migrate` hands in."""

from alembic import context

import api.keys  # noqa: F401 - its table
from api.database import VERSION_TABLE, Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
