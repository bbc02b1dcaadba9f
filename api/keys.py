"""API keys: given once, kept as digests only.

A key is 256 random bits, so a plain SHA-256 of it cannot be searched; a slow password hash
would add nothing and cost every request (OWASP Password Storage: slow hashes are for secrets
that people choose).
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from api.database import Base, Database, utc
from protocol.errors import ConfigurationError

PREFIX = "cbk_"
"""Starts every key, so that a leaked one is found by scanners."""


class ApiKeyRow(Base):
    """A key that was given out."""

    __tablename__ = "api_key"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    per_minute: Mapped[int]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as kept: all but the key itself.

    Attributes:
        name: Who has it.
        digest: SHA-256 of the key, 64 hex digits.
        per_minute: Requests a minute granted to it.
        created_at: When it was given out (UTC).
        revoked_at: When it was taken back (UTC); None while it holds.
    """

    name: str
    digest: str
    per_minute: int
    created_at: datetime
    revoked_at: datetime | None


def key_digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing(Database):
    """The keys of this node."""

    def add(self, name: str, per_minute: int, now: datetime | None = None) -> str:
        """Make a key; it is shown this once.

        Args:
            name: Who gets it (1 to 64 characters); a revoked name cannot be given again.
            per_minute: Requests a minute (>= 1).
            now: When, the present by default.

        Raises:
            ConfigurationError: If the name is taken.
        """
        key = PREFIX + secrets.token_urlsafe(32)
        row = ApiKeyRow(
            name=name,
            digest=key_digest(key),
            per_minute=per_minute,
            created_at=now or datetime.now(UTC),
            revoked_at=None,
        )
        with self.writing() as session:
            if session.get(ApiKeyRow, name) is not None:
                raise _taken(name)
            session.add(row)
        return key

    def revoke(self, name: str, now: datetime | None = None) -> None:
        """Take a key back; doing so again changes nothing.

        Raises:
            ConfigurationError: If no key has that name.
        """
        with self.writing() as session:
            row = session.get(ApiKeyRow, name)
            if row is None:
                raise ConfigurationError(
                    f"no key is named {name!r}", hint="See carbonbench-api keys list."
                )
            row.revoked_at = row.revoked_at or now or datetime.now(UTC)

    def all_keys(self) -> Sequence[ApiKey]:
        """All keys ever given, oldest first."""
        with self.reading() as session:
            rows = session.scalars(sa.select(ApiKeyRow).order_by(ApiKeyRow.created_at))
            return [_key(row) for row in rows]


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        name=row.name,
        digest=row.digest,
        per_minute=row.per_minute,
        created_at=utc(row.created_at),
        revoked_at=utc(row.revoked_at) if row.revoked_at else None,
    )


def _taken(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"a key is named {name!r} already", hint="Choose another name; names are not used twice."
    )
