"""The public JSON contract of the look-ups: models, providers, places, grid, footprint."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from api.catalogue import Method
from api.energy import Regime
from api.grid.intensity import Period, Tier
from api.schemas import (
    Answer,
    EnergyFactor,
    FactorAnswer,
    GridFactor,
    Meta,
    ModelName,
    ProviderName,
    RowAnswer,
    SourceState,
)
from protocol.messages import Status


class Range(Answer):
    """A value with its interval, in the unit that its field names."""

    value: float
    low: float
    high: float


class ModelSummary(ModelName):
    """A model and what is known about it."""

    vendor: str
    is_open: bool
    active_parameters_b: Range | None
    """Billions; low and high where only a range is known."""
    parameters_source: str
    statuses: list[Status]
    regimes: list[Regime]
    offer_count: int
    """Rows of providers."""


class Models(Answer):
    """All models that any figure exists for."""

    models: list[ModelSummary]
    meta: Meta


class Figure(Answer):
    """One energy figure of a model."""

    id: str
    regime: Regime
    energy: EnergyFactor
    """At the stated batch."""
    provider_interval: Range
    """Wh per 1e6 output tokens when the batch is unknown."""
    embodied: FactorAnswer | None
    is_primary: bool
    """Whether it stands for the model in its regime."""


class QueryFigure(Answer):
    """Energy per query where no token count was published: never ranked per token."""

    regime: Regime
    method: str
    task: str
    reasoning_effort: str
    hardware: str
    wh_per_1k_queries: float
    """GPU energy; published without repeats, so without an interval."""
    status: Status
    source: str
    date: str
    licence: str


class Unplaced(Answer):
    """An offer without a place in the ranking."""

    provider: str
    provider_model: str
    reason: str


class ModelDetail(Answer):
    """Everything about one model."""

    model: ModelSummary
    repositories: list[str]
    figures: list[Figure]
    query_figures: list[QueryFigure]
    unranked: list[Unplaced]
    meta: Meta


class ProviderAnswer(ProviderName):
    """A provider."""

    accelerator: str
    energy_note: str
    location_note: str
    source: str
    row_count: int


class Providers(Answer):
    """All providers."""

    providers: list[ProviderAnswer]
    meta: Meta


class RegionAnswer(Answer):
    """A provider's region and the place that it is."""

    provider: str
    region: str
    place: str
    place_name: str
    zone: str
    alternative_zone: str | None
    """The other candidate where public maps disagree."""
    pue: FactorAnswer
    """The region's own, else the provider's range, else assumed."""
    source: str
    """Of the place and its zone."""


class Regions(Answer):
    """All regions."""

    regions: list[RegionAnswer]
    meta: Meta


class MethodError(Answer):
    """How far a method of saying an hour was off in this zone."""

    method: Method
    mean_absolute_error_percent: float
    """Of the zone's mean intensity."""
    hours: int | None
    """Hours that it was measured on; null for the year that a packaged curve was fitted to."""
    source: str
    licence: str


class GridNow(Answer):
    """A zone at this hour, over 30 days and over the newest year."""

    now: GridFactor
    month: GridFactor
    year: GridFactor
    errors: list[MethodError]
    """What is measured of each method; a value's tier names the one that it stands on."""
    meta: Meta


class GridForecast(Answer):
    """The next 24 hours of a zone."""

    zone: str
    hours: list[GridFactor]
    cleanest_start: datetime | None
    """Null where only a yearly level is known, so that hours are not told apart."""
    swing_percent: float
    """(Highest - lowest) / mean of the 24 hours."""
    errors: list[MethodError]
    """What is measured of each method; an hour's tier names the one that it stands on."""
    meta: Meta


class TypicalDay(Answer):
    """Month by hour (UTC) intensities of a zone: the yearly level times the typical curve."""

    zone: str
    unit: Literal["gCO2e per kWh"] = "gCO2e per kWh"
    tier: Tier
    """`profile`, or the level's where no curve is known."""
    status: Status
    level: GridFactor
    """The newest year; its interval holds for every hour, and the curve's error adds to it."""
    intensity_g_per_kwh: list[list[float]]
    """12 months of 24 hours."""
    errors: list[MethodError]
    source: str
    """Of the curve; of the level where no curve is known."""
    licence: str
    meta: Meta


class ReadingAnswer(Answer):
    """A value that a live source reported."""

    start: datetime
    end: datetime
    intensity_g_per_kwh: float
    signal: str
    """`average` or `marginal`."""
    basis: str
    """`lifecycle`, `lifecycle-production` or `direct`."""
    is_estimated: bool
    source: str
    licence: str


class GridHistory(Answer):
    """Readings of the last 31 days that may be passed on, as they enter footprints."""

    zone: str
    readings: list[ReadingAnswer]
    withheld: int
    """Readings that the source does not allow to be passed on."""
    errors: list[MethodError]
    """What is measured of each method in this zone."""
    meta: Meta


class GridSignals(Answer):
    """Readings of the last 31 days that enter no footprint: marginal, direct, production."""

    zone: str
    newest: list[ReadingAnswer]
    """The newest of each source and signal."""
    readings: list[ReadingAnswer]
    """All that their source allows to be passed on in bulk, oldest first."""
    withheld: int
    """Readings that the source does not allow to be passed on."""
    meta: Meta


class SciAnswer(Answer):
    """The software carbon intensity of a row (SCI for AI, consumer's boundary: operation)."""

    standard: Literal["ISO/IEC 21031:2024: SCI = (E x I + M) per R"] = (
        "ISO/IEC 21031:2024: SCI = (E x I + M) per R"
    )
    score_g: float
    """SCI, gCO2e per functional unit."""
    energy_kwh: float
    """E per functional unit, PUE included."""
    intensity_g_per_kwh: float
    """I: gCO2e per kWh, location-based, of the period."""
    embodied_g: float | None
    """M: gCO2e per functional unit; null where it is not known."""
    functional_unit: str
    """R."""


class FootprintAnswer(Answer):
    """An inference carbon footprint of a stated use."""

    row: RowAnswer
    """With status, source and date of each factor."""
    period: Period
    input_tokens_per_query: int
    """Priced only: the measured energy includes reading the prompts of its benchmark."""
    output_tokens_per_query: int
    queries_per_day: int
    days_per_month: float
    interval_level: float
    """Of every low and high here."""
    interval_method: str
    g_per_mtok: Range
    """gCO2e per 1e6 output tokens."""
    g_per_1k_token_request: Range
    """gCO2e of a request that gives 1,000 output tokens."""
    g_per_query: Range
    """gCO2e per query."""
    kg_per_month: Range
    """kgCO2e per month."""
    usd_per_month: Decimal | None
    """Input and output tokens at their prices; null where one is not known."""
    sci: SciAnswer
    defined_term: str
    """The CASRAI term that `g_per_query` and `kg_per_month` are instances of."""
    scope: str
    meta: Meta


class ComparedRow(Answer):
    """A row held against the lowest one."""

    row: RowAnswer
    above_lowest_g: Range
    """gCO2e per 1e6 output tokens, 95 %; factors that cancel are left out of the interval."""
    percent_above_lowest: float
    shared: list[str]
    """Factors that cancel."""
    is_meaningful: bool


class Comparison(Answer):
    """Rows side by side, lowest first."""

    period: Period
    lowest: RowAnswer
    others: list[ComparedRow]
    meta: Meta


class Sources(Answer):
    """Where figures come from."""

    sources: list[SourceState]
    tables: list["TableSource"]
    meta: Meta


class TableSource(Answer):
    """A source named in the tables, with its licence."""

    source: str
    licence: str
    lines: int
