"""Run by Alembic: applies the migrations on the connection that `validator.database` gives."""

from alembic import context

from validator.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
