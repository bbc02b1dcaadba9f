"""Logs, faults, releases, prices and grid readings.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "api_log_source",
        sa.Column("url", sa.String(500), primary_key=True),
        sa.Column("validator", sa.String(64), nullable=False),
        sa.Column("genesis_hash", sa.String(66), nullable=False),
        sa.Column("netuid", _INTEGER, nullable=False),
        sa.Column("size", _INTEGER, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("head_json", sa.Text, nullable=False),
        sa.Column("head_unix_ms", _INTEGER, nullable=False),
    )
    op.create_table(
        "api_log_entry",
        sa.Column("url", sa.String(500), primary_key=True),
        sa.Column("position", _INTEGER, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False, index=True),
        sa.Column("round", _INTEGER, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, index=True),
        sa.Column("leaf_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("head_unix_ms", _INTEGER, nullable=False),
    )
    op.create_table(
        "api_log_fault",
        sa.Column("id", _INTEGER, primary_key=True, autoincrement=True),
        sa.Column("url", sa.String(500), nullable=False, index=True),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "api_release",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("computed_at", _MOMENT, nullable=False, index=True),
        sa.Column("inputs_digest", sa.String(64), nullable=False),
        sa.Column("methodology", sa.String(20), nullable=False),
        sa.Column("row_count", _INTEGER, nullable=False),
        sa.Column("network_count", _INTEGER, nullable=False),
    )
    _create_series()


def _create_series() -> None:
    op.create_table(
        "api_price",
        sa.Column("id", _INTEGER, primary_key=True, autoincrement=True),
        sa.Column("provider", sa.String(40), nullable=False, index=True),
        sa.Column("model", sa.String(120), nullable=False, index=True),
        sa.Column("region", sa.String(60), nullable=False),
        sa.Column("input_usd_per_mtok", sa.String(40)),
        sa.Column("output_usd_per_mtok", sa.String(40)),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("licence", sa.String(60), nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "api_grid_reading",
        sa.Column("zone", sa.String(40), primary_key=True),
        sa.Column("start", _MOMENT, primary_key=True),
        sa.Column("source", sa.String(80), primary_key=True),
        sa.Column("signal", sa.String(16), primary_key=True),
        sa.Column("basis", sa.String(16), primary_key=True),
        sa.Column("end", _MOMENT, nullable=False),
        sa.Column("intensity_g_per_kwh", sa.Double, nullable=False),
        sa.Column("is_estimated", sa.Boolean, nullable=False),
        sa.Column("licence", sa.String(60), nullable=False),
        sa.Column("is_redistributable", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "api_grid_reading",
        "api_price",
        "api_release",
        "api_log_fault",
        "api_log_entry",
        "api_log_source",
    ):
        op.drop_table(table)
