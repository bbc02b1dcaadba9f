"""The public JSON contract: what every answer looks like, with units in names or beside.

Money is a decimal string, instants are RFC 3339 in UTC, figures have four significant
digits. `/openapi.json` is made from these models.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.catalogue import Access, Certainty
from api.energy import Regime
from api.footprint import INTERVAL_LEVEL, PER
from api.grid.intensity import Period, Tier
from api.ranking import Sort
from protocol.messages import Status

Usd = Annotated[Decimal, Field(ge=0)]


class Answer(BaseModel):
    """Base of all answers: closed, frozen, attribute docstrings become descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Problem(Answer):
    """An error as RFC 9457 describes it."""

    type: str
    """Stable address of this kind of problem."""
    title: str
    status: int
    detail: str
    code: str
    """Short stable name of this kind of problem."""
    hint: str = ""
    """What the caller can do."""
    suggestions: list[str] = []
    """Names that may have been meant."""
    errors: list["FieldError"] = []
    """Faults of single parameters."""


class FieldError(Answer):
    """One faulty parameter."""

    pointer: str
    """JSON pointer into the query or body."""
    detail: str


class Carbon(Answer):
    """Greenhouse gas of a million output tokens, with its interval."""

    value: float
    low: float
    high: float
    level: float
    """Level of the interval."""
    method: str
    unit: Literal["gCO2e"] = "gCO2e"
    per: str
    operational: float
    """Part from electricity."""
    embodied: float | None
    """Part from making the hardware; null where the source allows none."""


class FactorAnswer(Answer):
    """One factor of the footprint and what stands behind it."""

    value: float
    low: float
    high: float
    unit: str
    status: Status
    source: str
    date: str
    """Year, month or day that the value stands for."""
    licence: str
    note: str


class EnergyFactor(FactorAnswer):
    """GPU energy, and how it was measured."""

    method: str
    hardware: str
    gpu_count: int | None
    precision: str
    batch: float
    task: str
    measured_repository: str
    """What was measured; empty when nothing was."""
    wh_per_1k_queries: float | None
    validator_count: int | None
    """Validators whose values were merged by the stake-weighted median."""
    disagreement_percent: float | None
    """By how much their highest value exceeds their lowest; null where one alone has a value."""
    operator_count: int | None
    """Independent operators behind a network figure."""
    report_count: int | None
    agreement: str
    """The network's label: single, corroborated, verified, contested; else empty."""
    evidence: str
    """Digest of the signed round record behind a network figure; else empty."""


class GridFactor(FactorAnswer):
    """Grid intensity, and over which span it holds."""

    zone: str
    tier: Tier
    accounting: str
    basis: str
    signal: Literal["average"] = "average"
    interval_start: datetime
    interval_end: datetime
    is_redistributable: bool
    """False where the source forbids passing values on in bulk: exports leave such rows out."""


class Factors(Answer):
    """All factors of a footprint."""

    energy: EnergyFactor
    pue: FactorAnswer
    grid: GridFactor
    embodied: FactorAnswer | None


class ModelName(Answer):
    """A model in a row."""

    id: str
    name: str
    family: str


class ProviderName(Answer):
    """A provider in a row."""

    id: str
    name: str
    access: Access


class PlaceAnswer(Answer):
    """Where a row is computed, as far as it is known."""

    id: str | None
    """Our place id; null when not pinned."""
    name: str
    region: str
    """The provider's own name; empty when it states none."""
    certainty: Certainty
    zones: list[str]
    """Grid zones that it may be."""


class PriceAnswer(Answer):
    """What the provider asks."""

    input_usd_per_mtok: Usd | None
    output_usd_per_mtok: Usd | None
    blended_usd_per_mtok: Usd | None
    """Three input tokens to one output token."""
    status: Literal[Status.PUBLISHED] = Status.PUBLISHED
    """The provider's list price."""
    observed: date
    """Day on which it was seen."""
    source: str
    licence: str


class NowOverlay(Answer):
    """The same row at this hour."""

    carbon: Carbon
    tier: Tier
    interval_start: datetime
    interval_end: datetime


class RowBody(Answer):
    """One way to run a model, with its footprint."""

    id: str
    model: ModelName
    provider: ProviderName
    place: PlaceAnswer
    regime: Regime
    status: Status
    """Of the energy figure."""
    labels: list[str]
    carbon: Carbon
    now: NowOverlay
    price: PriceAnswer | None
    speed_tokens_per_second: float | None
    """Output speed of one request on the measured machine, published with its energy figure,
    whose source and date it shares; not the provider's."""
    factors: Factors


class RowAnswer(RowBody):
    """One row of a ranking."""

    rank: int
    rank_low: int
    """Best rank that the carbon intervals allow."""
    rank_high: int
    """Worst rank that the carbon intervals allow."""


class Boundary(Answer):
    """What the figures count."""

    includes: list[str]
    excludes: list[str]


class SourceState(Answer):
    """A validator's log, price book or grid source as last seen."""

    name: str
    kind: Literal["log", "prices", "grid", "tables", "store"]
    state: Literal["ok", "empty", "refused", "unreachable"]
    detail: str
    data_as_of: datetime | None
    """Time of the newest data that is in use."""
    entries: int | None
    """Verified log entries in use."""
    validator: str | None


class Meta(Answer):
    """What every answer says about itself."""

    release: str
    """Name of the immutable release that answered."""
    methodology: str
    data_as_of: datetime
    computed_at: datetime
    scope: str
    accounting: str
    boundary: Boundary
    attribution: list[str]
    sources: list[SourceState]


class Query(Answer):
    """The question as it was understood."""

    regime: Regime
    access: Access | None
    status: list[Status]
    period: Period
    sort: Sort
    family: list[str]
    model: list[str]
    provider: list[str]
    place: list[str]
    certainty: list[Certainty]
    max_price: Decimal | None
    min_speed: float | None
    limit: int


class Leaderboard(Answer):
    """A ranking."""

    query: Query
    total: int
    """Rows that the filters admit."""
    rows: list[RowAnswer]
    next: str | None
    """Cursor of the next page, valid within this release."""
    regime_note: str
    meta: Meta


class WhyNot(Answer):
    """An option that is not the best one, and why."""

    option: str
    reason: str


class Savings(Answer):
    """What the best option saves against another, in gCO2e per 1e6 output tokens."""

    against: str
    value: float
    low: float
    high: float
    unit: Literal["gCO2e"] = "gCO2e"
    per: str = PER
    level: float = INTERVAL_LEVEL
    """Level of the interval."""
    percent: float
    """Of what the other emits."""
    is_meaningful: bool
    """False when the intervals overlap: then the order means nothing."""


class Window(Answer):
    """The cleanest hour of the next 24 at the best option's place."""

    start: datetime
    end: datetime
    relative_to_day_mean: float
    swing_percent: float
    """(Highest - lowest) / mean of the 24 hours."""
    is_worthwhile: bool
    tier: Tier
    text: str


class Recommendation(Answer):
    """The lowest-carbon way to run a model."""

    model: ModelName
    best: RowAnswer
    alternatives: list[RowAnswer]
    insight: str
    savings: Savings | None
    best_window: Window | None
    why_not: list[WhyNot]
    meta: Meta


class Readiness(Answer):
    """Whether the data are fresh enough to answer, and from where they come."""

    is_ready: bool
    release: str | None
    refresh_age_seconds: float | None
    max_age_seconds: float
    failure: str
    """Why the newest refresh failed; empty when it did not."""
    sources: list[SourceState]
