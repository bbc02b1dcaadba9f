"""What the tables under `api/data` say: models, providers, places, regions, factors.

Pure records and look-ups; `api.tables` reads them from disk. Each record keeps the source
and licence of its figures, because every answer names them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from typing import NewType

ModelSlug = NewType("ModelSlug", str)
"""Our name of a model, such as `llama-3.1-8b`; base and instruct weights share it."""
ProviderId = NewType("ProviderId", str)
PlaceId = NewType("PlaceId", str)
ZoneId = NewType("ZoneId", str)
"""A grid area (Electricity Maps key)."""

SELF_HOSTED = ProviderId("self-hosted")


class Certainty(StrEnum):
    """How well it is known where a request is computed."""

    PINNED = "pinned"
    """One place."""
    DATA_ZONE = "data_zone"
    """A named set of places; the provider chooses one."""
    GLOBAL = "global"
    """Any of the provider's places."""
    UNDISCLOSED = "undisclosed"
    """The provider or our source does not say."""


class Access(StrEnum):
    """How one gets at the model."""

    API = "api"
    """A provider sells it by the token."""
    SELF_HOSTED = "self-hosted"
    """The measured machine, set on a grid of one's choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model; parameter counts in billions, low and high where only a range is known."""

    id: ModelSlug
    name: str
    family: str
    vendor: str
    is_open: bool
    total_low_b: float | None
    total_high_b: float | None
    active_low_b: float | None
    active_high_b: float | None
    parameters_source: str
    repositories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Who runs models for others."""

    id: ProviderId
    name: str
    access: Access
    accelerator: str
    """`gpu`, `lpu` or `undisclosed`."""
    areas: tuple[str, ...]
    energy_note: str
    location_note: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A data-centre area and its grid zone."""

    id: PlaceId
    name: str
    area: str
    """`us`, `eu`, `apac`, `ca` or `sa`."""
    country: str
    """ISO 3166-1 alpha-3."""
    zone: ZoneId
    alternative_zone: ZoneId | None
    """The other candidate where public maps disagree; its value enters the interval."""
    tabulated: bool
    """Whether measured machines are set on this place's grid."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A provider's name for a place."""

    provider: ProviderId
    name: str
    place: PlaceId


@dataclass(frozen=True, slots=True, kw_only=True)
class PueRecord:
    """A provider's published PUE of one region and year."""

    provider: ProviderId
    region: str
    year: int
    pue: float
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One line of proof that a provider sells a model, and where."""

    provider: ProviderId
    provider_model: str
    model: ModelSlug
    certainty: Certainty
    region: str
    """Region for `pinned`, area for `data_zone`, empty otherwise."""
    input_usd_per_mtok: Decimal | None
    output_usd_per_mtok: Decimal | None
    deprecation_date: date | None
    observed: date
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPoint:
    """One measured configuration of a batched server (ML.ENERGY)."""

    model: ModelSlug
    repository: str
    task: str
    method: str
    published: str
    gpu: str
    gpu_count: int
    precision: str
    engine: str
    batch: float
    energy_j_per_output_token: float
    output_tokens_per_second: float
    inter_token_ms: float | None
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleRecord:
    """One measured model at batch 1 (AI Energy Score)."""

    model: ModelSlug
    repository: str
    task: str
    reasoning_effort: str
    method: str
    published: str
    gpu: str
    energy_wh_per_1k_queries: float
    output_tokens_per_query: int | None
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GridLevel:
    """Yearly mean intensity of a zone or country."""

    area: str
    year: int
    intensity_g_per_kwh: float
    basis: str
    accounting: str
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GridShape:
    """15 coefficients of a zone's hourly curve relative to its yearly mean."""

    zone: ZoneId
    coefficients: tuple[float, ...]
    """Order: yearly {1, cos, sin} x daily {1, cos, sin, cos 2, sin 2}."""
    mean_absolute_error: float
    """Of the shape over the year it was fitted to, relative to the mean."""
    source: str
    licence: str


class Method(StrEnum):
    """A way to say what an hour will be."""

    PERSISTENCE = "persistence"
    """The same hour of the day before."""
    STALE = "stale"
    """The report of three hours before."""
    PROFILE = "profile"
    """Mean times the typical hourly curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastError:
    """How far a method was off in a zone: mean absolute error over the mean intensity."""

    zone: ZoneId
    method: Method
    mean_absolute_error: float
    hours: int
    """Hours that it was measured on."""
    source: str
    licence: str


ErrorTable = Mapping[tuple[ZoneId, Method], ForecastError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All tables; read once per process."""

    models: Mapping[ModelSlug, Model]
    providers: Mapping[ProviderId, Provider]
    places: Mapping[PlaceId, Place]
    regions: Sequence[Region]
    pue: Sequence[PueRecord]
    evidence: Sequence[Evidence]
    served: Sequence[ServedPoint]
    single: Sequence[SingleRecord]
    zone_levels: Sequence[GridLevel]
    country_levels: Sequence[GridLevel]
    shapes: Mapping[ZoneId, GridShape]
    errors: ErrorTable
    content_digest: str
    """SHA-256 over all table files."""


def model_names(models: Mapping[ModelSlug, Model]) -> dict[str, ModelSlug]:
    """Every name under which a model can be asked for, in lower case, to its slug."""
    names: dict[str, ModelSlug] = {}
    for model in models.values():
        for repository in model.repositories:
            names.setdefault(repository.lower(), model.id)
            names.setdefault(repository.rsplit("/", 1)[-1].lower(), model.id)
        names.setdefault(model.name.lower(), model.id)
    names.update({model.id.lower(): model.id for model in models.values()})
    return names


def find_model(query: str, names: Mapping[str, ModelSlug]) -> ModelSlug | tuple[ModelSlug, ...]:
    """The model that a name means, or what it may have meant (at most five).

    Spaces and underscores count as hyphens. A part of a name is enough when only one model
    has it; else those that begin with it come first.
    """
    wanted = query.strip().lower().replace(" ", "-").replace("_", "-")
    if wanted in names:
        return names[wanted]
    containing = sorted(
        {slug for name, slug in names.items() if wanted and wanted in name},
        key=lambda slug: (not slug.startswith(wanted), slug),
    )
    if len(containing) == 1:
        return containing[0]
    close = [names[name] for name in get_close_matches(wanted, names, n=10, cutoff=0.5)]
    return tuple(dict.fromkeys([*containing, *close]))[:5]
