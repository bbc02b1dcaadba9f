"""The public JSON contract of exports, kept releases, changes and history."""

from datetime import datetime

from api.schemas import Answer, Meta


class FrozenRow(Answer):
    """One row of a ranking, as a release is frozen with it."""

    id: str
    """Name of the row: model, provider, place and energy figure."""
    rank: int | None
    """Within the exported ranking; null in a frozen release, which holds several."""
    model: str
    family: str
    provider: str
    access: str
    """`api` or `self-hosted`."""
    place: str
    region: str
    """The provider's own name of the place; empty when it states none."""
    certainty: str
    """How well the place is known: `pinned`, `data_zone`, `global` or `undisclosed`."""
    regime: str
    """`served` (batched) or `single` (batch 1): never to be ranked together."""
    status: str
    """Of the energy figure."""
    period: str
    """Time that grid and carbon speak about."""
    carbon_g_per_mtok: float
    """gCO2e per 1e6 output tokens."""
    carbon_low: float
    """gCO2e per 1e6 output tokens, 95 %."""
    carbon_high: float
    """gCO2e per 1e6 output tokens, 95 %."""
    energy_wh_per_mtok: float
    """Wh per 1e6 output tokens, GPUs only."""
    energy_low: float
    """Wh per 1e6 output tokens, 95 %."""
    energy_high: float
    """Wh per 1e6 output tokens, 95 %."""
    pue: float
    """Facility energy over energy of the machines."""
    intensity_g_per_kwh: float
    """gCO2e per kWh: average, lifecycle, location-based."""
    tier: str
    """How the grid intensity came about."""
    embodied_g_per_mtok: float | None
    """gCO2e per 1e6 output tokens from making the hardware; null where the source allows none."""
    input_usd_per_mtok: str | None
    """USD per 1e6 input tokens, decimal string."""
    output_usd_per_mtok: str | None
    """USD per 1e6 output tokens, decimal string."""
    price_observed: str | None
    """Day that the price was seen."""
    speed_tokens_per_second: float | None
    """Output tokens per second of one request on the measured machine; not the provider's."""
    method: str
    """Of the energy figure."""
    hardware: str
    """That the energy was measured on or modelled for."""
    batch: float
    """Requests that the machine served at once."""
    energy_source: str
    energy_date: str
    grid_source: str
    grid_date: str
    evidence: str
    """Digest of the signed round record behind a network figure; else empty."""
    methodology: str
    """Version of the methodology."""
    release: str


class ExportRow(FrozenRow):
    """One row of an export; the columns of the CSV and Parquet files in this order."""

    rank_low: int
    """Best rank that the carbon intervals allow."""
    rank_high: int
    """Worst rank that the carbon intervals allow."""
    energy_licence: str
    pue_low: float
    """Ratio, 95 %."""
    pue_high: float
    """Ratio, 95 %."""
    pue_status: str
    pue_source: str
    pue_date: str
    zone: str
    """Grid zone; `multiple` where the place is one of several."""
    intensity_low: float
    """gCO2e per kWh, 95 %."""
    intensity_high: float
    """gCO2e per kWh, 95 %."""
    grid_status: str
    grid_licence: str
    embodied_low: float | None
    """gCO2e per 1e6 output tokens, 95 %."""
    embodied_high: float | None
    """gCO2e per 1e6 output tokens, 95 %."""
    embodied_status: str | None
    embodied_source: str | None
    embodied_date: str | None
    blended_usd_per_mtok: str | None
    """USD per 1e6 tokens, three input tokens to one output token, decimal string."""
    price_source: str | None


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
    rows: list[FrozenRow]


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
