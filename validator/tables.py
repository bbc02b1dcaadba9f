"""The validator's tables. `migrations/` makes them; a test holds the two together.

All names start with `validator_`, so that an API node may share the database.
"""

from sqlalchemy import BigInteger, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

VERSION_TABLE = "validator_alembic_version"
"""Where Alembic notes the revision."""

_HOTKEY = 64
_DIGEST = 64


class Base(DeclarativeBase):
    """Base of all tables."""


class IdentityRow(Base):
    """Whose database this is: one row."""

    __tablename__ = "validator_identity"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hotkey: Mapped[str] = mapped_column(String(_HOTKEY))
    genesis_hash: Mapped[str] = mapped_column(String(66))
    netuid: Mapped[int]


class RoundRow(Base):
    """A round, from its opening to its weights."""

    __tablename__ = "validator_rounds"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    start_block: Mapped[int] = mapped_column(BigInteger)
    block_hash: Mapped[str] = mapped_column(String(66))
    opened_unix_ms: Mapped[int | None] = mapped_column(BigInteger)
    beacon_hash: Mapped[str | None] = mapped_column(String(66))
    scored_block: Mapped[int | None] = mapped_column(BigInteger, index=True)
    weights_block: Mapped[int | None] = mapped_column(BigInteger)
    weights_json: Mapped[str | None] = mapped_column(Text)


class SeatRow(Base):
    """One miner in one round."""

    __tablename__ = "validator_seats"

    round: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hotkey: Mapped[str] = mapped_column(String(_HOTKEY), primary_key=True)
    coldkey: Mapped[str] = mapped_column(String(_HOTKEY))
    uid: Mapped[int]
    ip: Mapped[str] = mapped_column(String(64))
    port: Mapped[int]
    profile: Mapped[bytes | None] = mapped_column(LargeBinary)
    commitment: Mapped[bytes | None] = mapped_column(LargeBinary)
    commitment_block: Mapped[int | None] = mapped_column(BigInteger)
    commitment_unix_ms: Mapped[int | None] = mapped_column(BigInteger)
    report_digest: Mapped[str | None] = mapped_column(String(_DIGEST))
    failure_code: Mapped[str | None] = mapped_column(String(64))
    failure_detail: Mapped[str | None] = mapped_column(Text)
    asked_block: Mapped[int | None] = mapped_column(BigInteger)


class ReportRow(Base):
    """A revealed report, as signed."""

    __tablename__ = "validator_reports"

    digest: Mapped[str] = mapped_column(String(_DIGEST), primary_key=True)
    round: Mapped[int] = mapped_column(BigInteger, index=True)
    miner: Mapped[str] = mapped_column(String(_HOTKEY))
    data: Mapped[bytes] = mapped_column(LargeBinary)


class EntryRow(Base):
    """A verdict or a round record: pending until it has its place in the log.

    The columns after `data` repeat what a verdict says, for the questions of later rounds.
    """

    __tablename__ = "validator_entries"

    round: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    miner: Mapped[str] = mapped_column(String(_HOTKEY), primary_key=True)
    """Empty for the round record, of which there is one."""
    position: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    """Place in the log, from 0."""
    digest: Mapped[str] = mapped_column(String(_DIGEST), unique=True)
    leaf_hash: Mapped[bytes] = mapped_column(LargeBinary)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    """Canonical bytes of the signed envelope: the leaf."""
    outcome: Mapped[str | None] = mapped_column(String(16))
    code: Mapped[str | None] = mapped_column(String(64))
    coldkey: Mapped[str | None] = mapped_column(String(_HOTKEY))
    cell_key: Mapped[str | None] = mapped_column(Text, index=True)
    log_nano: Mapped[int | None] = mapped_column(BigInteger)
    energy_mj: Mapped[int | None] = mapped_column(BigInteger)
    duration_us: Mapped[int | None] = mapped_column(BigInteger)
    trace_digest: Mapped[str | None] = mapped_column(String(_DIGEST), index=True)
    trace_shape: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Changes of power from row to row, as little-endian int32 (mW)."""


class AnnouncementRow(Base):
    """A profile as it was served before the round began for which it holds."""

    __tablename__ = "validator_announcements"

    round: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hotkey: Mapped[str] = mapped_column(String(_HOTKEY), primary_key=True)
    profile: Mapped[bytes] = mapped_column(LargeBinary)


class ScoreRow(Base):
    """A miner's score of a concluded round."""

    __tablename__ = "validator_scores"

    round: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    miner: Mapped[str] = mapped_column(String(_HOTKEY), primary_key=True)
    operator: Mapped[str] = mapped_column(String(_HOTKEY))
    average_ppm: Mapped[int] = mapped_column(BigInteger)


class WeightAttemptRow(Base):
    """One attempt to bring a round's weights on chain, or why there was none."""

    __tablename__ = "validator_weight_attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    round: Mapped[int] = mapped_column(BigInteger, index=True)
    block: Mapped[int] = mapped_column(BigInteger)
    unix_ms: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(String(16), index=True)
    cause: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
    weights_json: Mapped[str] = mapped_column(Text)
    reveal_round: Mapped[int | None] = mapped_column(BigInteger)


class HeadRow(Base):
    """A signed tree head."""

    __tablename__ = "validator_heads"

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    round: Mapped[int] = mapped_column(BigInteger, unique=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    committed: Mapped[bool]
    """Whether its root is on chain."""
