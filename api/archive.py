"""The past: which releases there were, what they held, and how each row changed.

A release is frozen with its figures over the year, which do not depend on the hour: releases
that differ in the hour only share one body. Changes of a row are kept from the first release
on and never rewritten, so that history starts on day one.
"""

import gzip
import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from api.database import (
    Database,
    PriceRow,
    ReleaseBodyRow,
    ReleaseRow,
    RowChangeRow,
    utc,
)
from api.exports import export_rows
from api.footprint import METHODOLOGY_VERSION, rounded
from api.grid.intensity import Period
from api.offerings import Row
from api.release import Release

GZIP_LEVEL = 6
State = dict[str, float | str | None]
"""What is remembered of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRelease:
    """A release as the archive names it."""

    id: str
    computed_at: datetime
    methodology: str
    row_count: int
    network_count: int
    is_frozen: bool
    """Whether its figures are kept; releases of older versions have only their name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """How a row changed in a release."""

    id: int
    release: str
    at: datetime
    row: str
    before: State | None
    after: State | None


class Archive(Database):
    """The reading side; every method raises `StoreError` when the database fails."""

    def releases(self, limit: int, before: datetime | None = None) -> tuple[KeptRelease, ...]:
        """The newest releases first, from a moment back."""
        query = sa.select(ReleaseRow).order_by(ReleaseRow.computed_at.desc(), ReleaseRow.id)
        if before is not None:
            query = query.where(ReleaseRow.computed_at < before)
        with self.reading() as session:
            return tuple(map(_kept, session.scalars(query.limit(limit))))

    def release(self, name: str) -> KeptRelease | None:
        """The release of that id, or the newest one of that day (`2026-11-21`)."""
        query = sa.select(ReleaseRow).order_by(ReleaseRow.computed_at.desc()).limit(1)
        with self.reading() as session:
            found = (
                session.get(ReleaseRow, name)
                or session.scalars(
                    query.where(ReleaseRow.id.startswith(f"{name}-", autoescape=True))
                ).first()
            )
            return _kept(found) if found else None

    def rows_json(self, release: str) -> bytes | None:
        """The frozen rows of a release: a JSON list; None when they are not kept."""
        query = (
            sa.select(ReleaseBodyRow.body)
            .join(ReleaseRow, ReleaseRow.body_digest == ReleaseBodyRow.digest)
            .where(ReleaseRow.id == release)
        )
        with self.reading() as session:
            body = session.scalar(query)
        return None if body is None else gzip.decompress(body)

    def row_changes(self, row: str, limit: int = 1_000) -> tuple[RowChange, ...]:
        """The changes of one row, oldest first."""
        query = sa.select(RowChangeRow).where(RowChangeRow.row == row).order_by(RowChangeRow.id)
        with self.reading() as session:
            return tuple(map(_change, session.scalars(query.limit(limit))))

    def changes(self, limit: int, before_id: int | None = None) -> tuple[RowChange, ...]:
        """The newest changes of any row first; a row's first sight in an empty archive is none."""
        first = sa.select(sa.func.min(RowChangeRow.id)).scalar_subquery()
        opening = sa.select(RowChangeRow.release).where(RowChangeRow.id == first).scalar_subquery()
        query = sa.select(RowChangeRow).where(RowChangeRow.release != opening)
        if before_id is not None:
            query = query.where(RowChangeRow.id < before_id)
        with self.reading() as session:
            newest = query.order_by(RowChangeRow.id.desc()).limit(limit)
            return tuple(map(_change, session.scalars(newest)))


def keep_release(database: Database, release: Release, inputs_digest: str) -> None:
    """Keep a release in one transaction; keeping it twice changes nothing.

    Raises:
        StoreError: If the database does not take it; then nothing of it is kept.
    """
    digest = _figures_digest(release)
    with database.writing() as session:
        session.merge(
            ReleaseRow(
                id=release.id,
                computed_at=release.computed_at,
                inputs_digest=inputs_digest,
                methodology=release.meta().methodology,
                row_count=len(release.rows),
                network_count=sum(1 for figure in release.figures if figure.evidence),
                body_digest=digest,
            )
        )
        if session.get(ReleaseBodyRow, digest) is None:
            rows = json.dumps(list(export_rows(release)), separators=(",", ":")).encode()
            body = gzip.compress(rows, GZIP_LEVEL, mtime=0)
            session.add(ReleaseBodyRow(digest=digest, body=body))
            _keep_prices(session, release)
        if _newest_states_differ(session, release, digest):
            session.add_all(_changes(session, release))


def _newest_states_differ(session: Session, release: Release, digest: str) -> bool:
    """Whether the release before has other figures; then the rows are compared one by one."""
    query = (
        sa.select(ReleaseRow.body_digest)
        .where(ReleaseRow.id != release.id, ReleaseRow.body_digest.is_not(None))
        .order_by(ReleaseRow.computed_at.desc())
        .limit(1)
    )
    return session.scalar(query) != digest


def _figures_digest(release: Release) -> str:
    """Names the figures over the year, by what they follow from: what a frozen release holds."""
    figures = array("d")
    texts = [METHODOLOGY_VERSION]
    for row in release.index.rows:
        figures.extend(row.carbon.factors(Period.YEAR))
        figures.append(row.energy.estimate.value)
        price = row.price and (row.price.input_usd_per_mtok, row.price.output_usd_per_mtok)
        texts += (row.id, row.status.value, repr(price))
    hashed = hashlib.sha256("\n".join(texts).encode())
    hashed.update(figures)
    return hashed.hexdigest()


def _changes(session: Session, release: Release) -> Iterator[RowChangeRow]:
    texts = {row.id: json.dumps(_state(row), separators=(",", ":")) for row in release.rows}
    newest = sa.select(sa.func.max(RowChangeRow.id)).group_by(RowChangeRow.row)
    query = sa.select(RowChangeRow.row, RowChangeRow.after_json).where(RowChangeRow.id.in_(newest))
    known = {name: text for name, text in session.execute(query) if text is not None}
    for name in sorted(known.keys() | texts.keys()):
        before, after = known.get(name), texts.get(name)
        if before != after:
            yield RowChangeRow(
                release=release.id,
                changed_at=release.computed_at,
                row=name,
                before_json=before,
                after_json=after,
            )


def _state(row: Row) -> State:
    carbon, price = row.carbon[Period.YEAR].total, row.price
    return {
        "carbon_g_per_mtok": rounded(carbon.value),
        "carbon_low": rounded(carbon.low),
        "carbon_high": rounded(carbon.high),
        "energy_wh_per_mtok": rounded(row.energy.estimate.value),
        "pue": rounded(row.pue.estimate.value),
        "intensity_g_per_kwh": rounded(row.grid[Period.YEAR].factor.estimate.value),
        "status": row.status.value,
        "input_usd_per_mtok": _plain(price.input_usd_per_mtok if price else None),
        "output_usd_per_mtok": _plain(price.output_usd_per_mtok if price else None),
    }


def _kept(row: ReleaseRow) -> KeptRelease:
    return KeptRelease(
        id=row.id,
        computed_at=utc(row.computed_at),
        methodology=row.methodology,
        row_count=row.row_count,
        network_count=row.network_count,
        is_frozen=row.body_digest is not None,
    )


def _change(row: RowChangeRow) -> RowChange:
    return RowChange(
        id=row.id,
        release=row.release,
        at=utc(row.changed_at),
        row=row.row,
        before=json.loads(row.before_json) if row.before_json else None,
        after=json.loads(row.after_json) if row.after_json else None,
    )


def _keep_prices(session: Session, release: Release) -> None:
    newest: dict[tuple[str, str, str], tuple[str | None, str | None]] = {
        (row.provider, row.model, row.region): (row.input_usd_per_mtok, row.output_usd_per_mtok)
        for row in session.scalars(sa.select(PriceRow).order_by(PriceRow.id))
    }
    for row in release.rows:
        if row.price is None:
            continue
        key = (row.provider.id, row.model.id, row.region or row.certainty.value)
        price = (_plain(row.price.input_usd_per_mtok), _plain(row.price.output_usd_per_mtok))
        if newest.get(key) != price:
            newest[key] = price
            session.add(
                PriceRow(
                    provider=key[0],
                    model=key[1],
                    region=key[2],
                    input_usd_per_mtok=price[0],
                    output_usd_per_mtok=price[1],
                    source=row.price.source,
                    licence=row.price.licence,
                    seen_at=release.computed_at,
                )
            )


def _plain(money: Decimal | None) -> str | None:
    return None if money is None else format(money.normalize(), "f")
