"""Frozen figures of releases, and changes of rows.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables and name the figures of releases."""
    op.create_table(
        "api_release_body",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "api_row_change",
        sa.Column("id", _INTEGER, primary_key=True, autoincrement=True),
        sa.Column("release", sa.String(40), nullable=False, index=True),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("row", sa.String(300), nullable=False, index=True),
        sa.Column("before_json", sa.Text),
        sa.Column("after_json", sa.Text),
    )
    with op.batch_alter_table("api_release") as table:
        table.add_column(sa.Column("body_digest", sa.String(64)))
    # `lifecycle-production` has 20 characters: SQLite took it, PostgreSQL did not.
    with op.batch_alter_table("api_grid_reading") as table:
        table.alter_column("basis", type_=sa.String(32), existing_type=sa.String(16))


def downgrade() -> None:
    """Drop them again."""
    op.execute("DELETE FROM api_grid_reading WHERE LENGTH(basis) > 16")
    with op.batch_alter_table("api_grid_reading") as table:
        table.alter_column("basis", type_=sa.String(16), existing_type=sa.String(32))
    with op.batch_alter_table("api_release") as table:
        table.drop_column("body_digest")
    op.drop_table("api_row_change")
    op.drop_table("api_release_body")
