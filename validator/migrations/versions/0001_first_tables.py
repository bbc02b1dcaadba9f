"""The first tables.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _create_entries()
    _create_heads()
    _create_identity()
    _create_reports()
    _create_rounds()
    _create_scores()
    _create_seats()


def downgrade() -> None:
    """Drop them."""
    op.drop_table("validator_seats")
    op.drop_table("validator_scores")
    op.drop_table("validator_rounds")
    op.drop_table("validator_reports")
    op.drop_table("validator_identity")
    op.drop_table("validator_heads")
    op.drop_table("validator_entries")


def _create_entries() -> None:
    op.create_table(
        "validator_entries",
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("miner", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("coldkey", sa.String(length=64), nullable=True),
        sa.Column("cell_key", sa.Text(), nullable=True),
        sa.Column("log_nano", sa.BigInteger(), nullable=True),
        sa.Column("energy_mj", sa.BigInteger(), nullable=True),
        sa.Column("duration_us", sa.BigInteger(), nullable=True),
        sa.Column("trace_digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("round", "miner"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("position"),
    )
    op.create_index(
        op.f("ix_validator_entries_cell_key"), "validator_entries", ["cell_key"], unique=False
    )
    op.create_index(
        op.f("ix_validator_entries_trace_digest"),
        "validator_entries",
        ["trace_digest"],
        unique=False,
    )


def _create_heads() -> None:
    op.create_table(
        "validator_heads",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("committed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
        sa.UniqueConstraint("round"),
    )


def _create_identity() -> None:
    op.create_table(
        "validator_identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hotkey", sa.String(length=64), nullable=False),
        sa.Column("genesis_hash", sa.String(length=66), nullable=False),
        sa.Column("netuid", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_reports() -> None:
    op.create_table(
        "validator_reports",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("miner", sa.String(length=64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(
        op.f("ix_validator_reports_round"), "validator_reports", ["round"], unique=False
    )


def _create_rounds() -> None:
    op.create_table(
        "validator_rounds",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_block", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("opened_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("beacon_hash", sa.String(length=66), nullable=True),
        sa.Column("scored_block", sa.BigInteger(), nullable=True),
        sa.Column("weights_block", sa.BigInteger(), nullable=True),
        sa.Column("weights_json", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(
        op.f("ix_validator_rounds_scored_block"), "validator_rounds", ["scored_block"], unique=False
    )


def _create_scores() -> None:
    op.create_table(
        "validator_scores",
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("miner", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=64), nullable=False),
        sa.Column("average_ppm", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("round", "miner"),
    )


def _create_seats() -> None:
    op.create_table(
        "validator_seats",
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hotkey", sa.String(length=64), nullable=False),
        sa.Column("coldkey", sa.String(length=64), nullable=False),
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=True),
        sa.Column("commitment", sa.LargeBinary(), nullable=True),
        sa.Column("commitment_block", sa.BigInteger(), nullable=True),
        sa.Column("commitment_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("report_digest", sa.String(length=64), nullable=True),
        sa.Column("failure_code", sa.String(length=64), nullable=True),
        sa.Column("failure_detail", sa.Text(), nullable=True),
        sa.Column("asked_block", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("round", "hotkey"),
    )
