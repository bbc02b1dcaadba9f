"""Grid readings that enter no footprint: marginal, direct and production, kept apart and shown."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from api import reference_schemas as shown
from api.catalogue import Place, ZoneId
from api.database import Database, GridReadingRow
from api.footprint import rounded
from api.grid.intensity import Reading
from api.release import Release
from api.store import reading_of


def kept_signals(database: Database, zone: ZoneId, since: datetime) -> tuple[Reading, ...]:
    """The readings of a zone that are no lifecycle average, oldest first.

    Raises:
        StoreError: If the database fails.
    """
    query = (
        sa.select(GridReadingRow)
        .where(GridReadingRow.zone == zone, GridReadingRow.start >= since)
        .where(sa.or_(GridReadingRow.signal != "average", GridReadingRow.basis != "lifecycle"))
        .order_by(GridReadingRow.start, GridReadingRow.source)
    )
    with database.reading() as session:
        return tuple(map(reading_of, session.scalars(query)))


def signals_answer(release: Release, place: Place, kept: Iterable[Reading]) -> shown.GridSignals:
    """The newest reading of each signal, and the past ones that may be passed on.

    Args:
        release: The release that answers.
        place: Whose zone it is.
        kept: What `kept_signals` gives.
    """
    readings = tuple(kept)
    newest = {(each.source, each.signal, each.basis): each for each in readings}
    open_ones = [each for each in readings if each.is_redistributable]
    return shown.GridSignals(
        zone=place.zone,
        newest=[shown_reading(each) for _, each in sorted(newest.items())],
        readings=[shown_reading(each) for each in open_ones],
        withheld=len(readings) - len(open_ones),
        meta=release.meta(),
    )


def shown_reading(reading: Reading) -> shown.ReadingAnswer:
    """A reading as shown."""
    return shown.ReadingAnswer(
        start=reading.start,
        end=reading.end,
        intensity_g_per_kwh=rounded(reading.intensity_g_per_kwh),
        signal=reading.signal,
        basis=reading.basis,
        is_estimated=reading.is_estimated,
        source=reading.source,
        licence=reading.licence,
    )
