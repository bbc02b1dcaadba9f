"""Shapes of power traces, and profiles announced before a round.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.add_column("validator_entries", sa.Column("trace_shape", sa.LargeBinary(), nullable=True))
    op.create_table(
        "validator_announcements",
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hotkey", sa.String(length=64), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("round", "hotkey"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("validator_announcements")
    with op.batch_alter_table("validator_entries") as table:
        table.drop_column("trace_shape")
