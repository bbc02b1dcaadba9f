"""The public JSON contract of exports, kept releases, changes and history."""

from datetime import datetime

from api.schemas import Answer, Meta


class ExportRow(Answer):
    """One row of an export; the columns of the CSV and Parquet files in this order."""

    id: str
    rank: int | None
    """Within the exported ranking; null in a frozen release, which holds several."""
    model: str
    family: str
    provider: str
    access: str
    place: str
    region: str
    certainty: str
    regime: str
    status: str
    period: str
    carbon_g_per_mtok: float
    carbon_low: float
    carbon_high: float
    energy_wh_per_mtok: float
    energy_low: float
    energy_high: float
    pue: float
    intensity_g_per_kwh: float
    tier: str
    embodied_g_per_mtok: float | None
    input_usd_per_mtok: str | None
    """Decimal string."""
    output_usd_per_mtok: str | None
    price_observed: str | None
    speed_tokens_per_second: float | None
    method: str
    hardware: str
    batch: float
    energy_source: str
    energy_date: str
    grid_source: str
    grid_date: str
    evidence: str
    """Digest of the signed round record behind a network figure; else empty."""
    methodology: str
    release: str


class Export(Answer):
    """A whole ranking."""

    rows: list[ExportRow]
    withheld: int
    """Rows left out because their grid readings may not be passed on in bulk."""
    licence: str
    meta: Meta


class ReleaseSummary(Answer):
    """A release that was served."""

    id: str
    computed_at: datetime
    methodology: str
    row_count: int
    network_count: int
    """Figures that the network measured."""
    is_frozen: bool
    """Whether its figures can be asked for."""
    href: str


class Releases(Answer):
    """Releases, the newest first."""

    releases: list[ReleaseSummary]
    next: str | None
    """Cursor of the page of older ones."""
    meta: Meta


class FrozenRelease(Answer):
    """The figures of a release over the newest year, as they were served."""

    release: ReleaseSummary
    licence: str
    attribution: list[str]
    rows: list[ExportRow]


class RowState(Answer):
    """What is remembered of a row."""

    carbon_g_per_mtok: float
    carbon_low: float
    carbon_high: float
    energy_wh_per_mtok: float
    pue: float
    intensity_g_per_kwh: float
    status: str
    input_usd_per_mtok: str | None
    """Decimal string."""
    output_usd_per_mtok: str | None


class HistoryPoint(Answer):
    """A row from a release on."""

    since: datetime
    release: str
    state: RowState | None
    """Null from the release on in which the row is gone."""


class RowHistory(Answer):
    """How a row changed, oldest first; between two points nothing did."""

    row: str
    is_current: bool
    """Whether the newest release holds it."""
    points: list[HistoryPoint]
    meta: Meta


class Change(Answer):
    """A row that changed in a release."""

    release: str
    at: datetime
    row: str
    kind: str
    """`added`, `removed` or `changed`."""
    before: RowState | None
    after: RowState | None


class Changes(Answer):
    """Changes, the newest first. The rows of the very first release are none."""

    changes: list[Change]
    next: str | None
    """Cursor of the page of older ones."""
    meta: Meta
