"""What can be bought or run where: energy figure x place x price, as rows with a footprint.

A provider's row exists only with evidence that the provider sells the model there. Where the
place is not pinned, the row stands on all places that it may be: their unweighted mean, with
an interval from the cleanest to the dirtiest; never on the best one. A measured machine can
be set on any tabulated grid: those rows are `self-hosted` and have no price.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from api.catalogue import (
    SELF_HOSTED,
    Access,
    Catalogue,
    Certainty,
    Evidence,
    Model,
    ModelSlug,
    Place,
    Provider,
    ProviderId,
)
from api.energy import EnergyFigure, Regime, primary
from api.footprint import (
    Estimate,
    Factor,
    Footprint,
    Logarithmic,
    facility_kwh,
    logarithmic,
    product,
    with_embodied,
)
from api.grid.intensity import Intensity, Period
from api.grid.ladder import Ladder, pooled
from api.pue import assumed_pue, pue_of
from protocol.messages import Status

BLEND_INPUT_SHARE = Decimal("0.75")
"""Three input tokens to one output token in a blended price."""
_AREA_COUNTRY = {"au": "AUS", "jp": "JPN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a provider asks (USD per million tokens)."""

    input_usd_per_mtok: Decimal | None
    output_usd_per_mtok: Decimal | None
    observed: date
    source: str
    licence: str
    note: str = ""

    @property
    def blended_usd_per_mtok(self) -> Decimal | None:
        """Price of a million tokens, three quarters of them input."""
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        share = BLEND_INPUT_SHARE
        return self.input_usd_per_mtok * share + self.output_usd_per_mtok * (1 - share)


class PriceBook(Protocol):
    """Current base prices, as far as somebody keeps them."""

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """What this provider asks for this model now; None when the book does not know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to run a model, with its footprint for each period."""

    id: str
    model: Model
    provider: Provider
    region: str
    places: tuple[Place, ...]
    """One when pinned, else all that it may be."""
    certainty: Certainty
    figure: EnergyFigure
    energy: Factor
    pue: Factor
    grid: Mapping[Period, Intensity]
    carbon: Mapping[Period, Footprint]
    price: Price | None
    labels: tuple[str, ...]

    @property
    def regime(self) -> Regime:
        """How the model is run."""
        return self.figure.regime

    @property
    def status(self) -> Status:
        """What stands behind the energy figure."""
        return self.figure.status

    @property
    def access(self) -> Access:
        """How one gets at it."""
        return self.provider.access

    @property
    def place_name(self) -> str:
        """Where, in words."""
        if self.certainty is Certainty.PINNED:
            return self.places[0].name
        if self.certainty is Certainty.DATA_ZONE:
            return f"somewhere in {self.region.upper()}"
        return "anywhere" if self.certainty is Certainty.GLOBAL else "place not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unranked:
    """An offering that exists and has no place in a carbon ranking, with the reason."""

    model: ModelSlug
    provider: ProviderId
    provider_model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All rows, and what could not become one."""

    rows: tuple[Row, ...]
    unranked: tuple[Unranked, ...]


def build_table(
    *,
    catalogue: Catalogue,
    models: Mapping[ModelSlug, Model],
    figures: Iterable[EnergyFigure],
    ladder: Ladder,
    prices: PriceBook,
    now: datetime,
) -> Table:
    """Every row that figures, evidence and grids support at a time.

    Args:
        catalogue: The tables.
        models: The tables' models and those that the network measured.
        figures: All energy figures.
        ladder: Grid intensities.
        prices: Current base prices.
        now: Aware UTC time.
    """
    join = _Join(catalogue, models, ladder, now)
    by_model: dict[ModelSlug, list[EnergyFigure]] = {}
    for figure in figures:
        by_model.setdefault(figure.model, []).append(figure)
    rows: list[Row] = []
    for slug, candidates in by_model.items():
        rows.extend(join.self_hosted(models[slug], placed_figures(candidates)))
    unranked: list[Unranked] = []
    for evidence in catalogue.evidence:
        found = join.offered(evidence, by_model.get(evidence.model, ()), prices)
        if isinstance(found, Row):
            rows.append(found)
        elif isinstance(found, Unranked):
            unranked.append(found)
    return Table(rows=tuple(rows), unranked=tuple(unranked))


def placed_figures(candidates: Sequence[EnergyFigure]) -> Iterator[EnergyFigure]:
    """Figures of one model that are set on grids: each network cell, else one per regime."""
    for regime in Regime:
        here = [figure for figure in candidates if figure.regime is regime]
        network = [figure for figure in here if figure.evidence]
        yield from network
        chosen = primary(figure for figure in here if not figure.evidence)
        if chosen is not None:
            yield chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """Where a row runs, under which PUE."""

    provider: Provider
    region: str
    places: tuple[Place, ...]
    certainty: Certainty
    pue: Factor


class _Grid:
    """Intensities of a set of places by period, ready to be multiplied."""

    def __init__(self, intensities: dict[Period, Intensity]) -> None:
        self.intensities = intensities
        self._logarithms = {
            period: logarithmic(intensity.factor.estimate)
            for period, intensity in intensities.items()
            if intensity.factor.estimate.value > 0
        }

    def times(self, facility: Logarithmic, period: Period) -> Estimate:
        """Operational carbon of a facility's energy here (g)."""
        grid = self._logarithms.get(period)
        if grid is None:
            return product((facility.estimate(), self.intensities[period].factor.estimate))
        return facility.times(grid).estimate()


class _Join:
    def __init__(
        self,
        catalogue: Catalogue,
        models: Mapping[ModelSlug, Model],
        ladder: Ladder,
        now: datetime,
    ) -> None:
        self._catalogue = catalogue
        self._models = models
        self._ladder = ladder
        self._now = now
        self._grids: dict[tuple[str, ...], _Grid] = {}
        self._facilities: dict[tuple[int, int], Logarithmic] = {}
        self._own_pue = assumed_pue("a machine room of your own")
        self._tabulated = tuple(p for p in catalogue.places.values() if p.tabulated)
        self._regions = {(r.provider, r.name): r.place for r in catalogue.regions}

    def self_hosted(self, model: Model, figures: Iterable[EnergyFigure]) -> Iterator[Row]:
        if not model.is_open:
            return
        provider = self._catalogue.providers[SELF_HOSTED]
        for figure in figures:
            for place in self._tabulated:
                site = _Site(
                    provider=provider,
                    region=place.id,
                    places=(place,),
                    certainty=Certainty.PINNED,
                    pue=self._own_pue,
                )
                yield self._row(model, figure, figure.energy, site, None)

    def offered(
        self, evidence: Evidence, candidates: Sequence[EnergyFigure], prices: PriceBook
    ) -> Row | Unranked | None:
        expired = evidence.deprecation_date
        if expired is not None and expired < self._now.date():
            return None
        provider = self._catalogue.providers[evidence.provider]
        figure = primary(f for f in candidates if f.regime is Regime.SERVED and f.status in _RANKED)
        places = self._places(evidence, provider)
        reason = _obstacle(provider, figure, places)
        if figure is None or reason:
            return Unranked(
                model=evidence.model,
                provider=evidence.provider,
                provider_model=evidence.provider_model,
                reason=reason,
            )
        site = _Site(
            provider=provider,
            region=evidence.region,
            places=places,
            certainty=evidence.certainty,
            pue=pue_of(evidence, self._catalogue.pue),
        )
        price = _price(evidence, prices, self._now)
        return self._row(self._models[evidence.model], figure, figure.provider_energy, site, price)

    def _row(
        self, model: Model, figure: EnergyFigure, energy: Factor, site: _Site, price: Price | None
    ) -> Row:
        grid = self._grid(site.places)
        where = site.region or site.certainty
        facility = self._facility(energy, site.pue)
        embodied = figure.embodied.estimate if figure.embodied else None
        return Row(
            id=f"{model.id}~{site.provider.id}~{where}~{figure.id}",
            model=model,
            provider=site.provider,
            region=site.region,
            places=site.places,
            certainty=site.certainty,
            figure=figure,
            energy=energy,
            pue=site.pue,
            grid=grid.intensities,
            carbon={
                period: with_embodied(grid.times(facility, period), embodied) for period in Period
            },
            price=price,
            labels=_labels(figure, site.provider, site.certainty),
        )

    def _facility(self, energy: Factor, pue: Factor) -> Logarithmic:
        # By identity: a figure's factor serves many places, and comparing costs more.
        key = (id(energy), id(pue))
        if key not in self._facilities:
            self._facilities[key] = logarithmic(facility_kwh(energy.estimate, pue.estimate))
        return self._facilities[key]

    def _grid(self, places: tuple[Place, ...]) -> "_Grid":
        key = tuple(place.id for place in places)
        if key not in self._grids:
            self._grids[key] = _Grid(
                {
                    period: pooled([self._ladder.at(place, period, self._now) for place in places])
                    for period in Period
                }
            )
        return self._grids[key]

    def _places(self, evidence: Evidence, provider: Provider) -> tuple[Place, ...]:
        known = self._catalogue.places
        if evidence.certainty is Certainty.PINNED:
            slug = self._regions.get((evidence.provider, evidence.region))
            return (known[slug],) if slug else ()
        own = {r.place for r in self._catalogue.regions if r.provider == evidence.provider}
        candidates = [known[slug] for slug in sorted(own)] or [
            place for place in self._tabulated if place.area in provider.areas
        ]
        if evidence.certainty is Certainty.DATA_ZONE:
            country = _AREA_COUNTRY.get(evidence.region)
            candidates = [
                place
                for place in candidates
                if (place.country == country if country else place.area == evidence.region)
            ]
        return tuple(candidates)


_RANKED = frozenset({Status.VERIFIED, Status.PUBLISHED, Status.MODELLED})
"""Figures that may stand for a provider's machine; simulated and estimated ones never do."""


def _obstacle(provider: Provider, figure: EnergyFigure | None, places: tuple[Place, ...]) -> str:
    if provider.accelerator == "lpu":
        return provider.energy_note
    if figure is None:
        return "no energy figure of a batched server for this model"
    return "" if places else "the region's grid zone is not known"


def _price(evidence: Evidence, prices: PriceBook, now: datetime) -> Price | None:
    if evidence.certainty not in {Certainty.PINNED, Certainty.DATA_ZONE}:
        current = prices.price(evidence, now)
        if current is not None:
            return current
    if evidence.input_usd_per_mtok is None and evidence.output_usd_per_mtok is None:
        return None
    return Price(
        input_usd_per_mtok=evidence.input_usd_per_mtok,
        output_usd_per_mtok=evidence.output_usd_per_mtok,
        observed=evidence.observed,
        source=evidence.source,
        licence=evidence.licence,
    )


def _labels(figure: EnergyFigure, provider: Provider, certainty: Certainty) -> tuple[str, ...]:
    labels = [f"energy-{figure.status}", f"location-{certainty}"]
    if provider.access is Access.API:
        labels.append("reference-hardware")
    else:
        labels.append("own-placement")
    if figure.agreement:
        labels.append(f"network-{figure.agreement}")
    return tuple(labels)
