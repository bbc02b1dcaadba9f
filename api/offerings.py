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
from functools import cache
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
    Factor,
    facility_kwh,
    logarithmic,
)
from api.grid.ladder import Ladder
from api.periods import Footprints, Grid
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
    grid: Grid
    carbon: Footprints
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
    """Where rows run, under which PUE."""

    provider: Provider
    region: str
    places: tuple[Place, ...]
    certainty: Certainty
    pue: Factor
    grid: Grid


class _Machine:
    """What an energy figure was measured on, behind a PUE, ready to be set on grids."""

    def __init__(self, model: Model, figure: EnergyFigure, energy: Factor, pue: Factor) -> None:
        self._model = model
        self._figure = figure
        self._energy = energy
        self._facility = logarithmic(facility_kwh(energy.estimate, pue.estimate))
        self._embodied = figure.embodied.estimate if figure.embodied else None

    def at(self, site: _Site, price: Price | None) -> Row:
        figure, provider = self._figure, site.provider
        where = site.region or site.certainty
        return Row(
            id=f"{self._model.id}~{provider.id}~{where}~{figure.id}",
            model=self._model,
            provider=provider,
            region=site.region,
            places=site.places,
            certainty=site.certainty,
            figure=figure,
            energy=self._energy,
            pue=site.pue,
            grid=site.grid,
            carbon=Footprints(self._facility, site.grid, self._embodied),
            price=price,
            labels=_labels(figure.status, figure.agreement, provider.access, site.certainty),
        )


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
        self._grids: dict[tuple[str, ...], Grid] = {}
        self._sites: dict[tuple[ProviderId, str, Certainty], _Site | None] = {}
        self._figures: dict[ModelSlug, EnergyFigure | None] = {}
        self._tabulated = tuple(p for p in catalogue.places.values() if p.tabulated)
        self._regions = {(r.provider, r.name): r.place for r in catalogue.regions}
        self._own_pue = assumed_pue("a machine room of your own")
        self._own_sites = tuple(map(self._own_site, self._tabulated))

    def self_hosted(self, model: Model, figures: Iterable[EnergyFigure]) -> Iterator[Row]:
        if not model.is_open:
            return
        for figure in figures:
            machine = _Machine(model, figure, figure.energy, self._own_pue)
            for site in self._own_sites:
                yield machine.at(site, None)

    def offered(
        self, evidence: Evidence, candidates: Sequence[EnergyFigure], prices: PriceBook
    ) -> Row | Unranked | None:
        expired = evidence.deprecation_date
        if expired is not None and expired < self._now.date():
            return None
        provider = self._catalogue.providers[evidence.provider]
        figure = self._served(evidence.model, candidates)
        site = self._site(evidence, provider)
        reason = _obstacle(provider, figure, site)
        if figure is None or site is None or reason:
            return Unranked(
                model=evidence.model,
                provider=evidence.provider,
                provider_model=evidence.provider_model,
                reason=reason,
            )
        model = self._models[evidence.model]
        machine = _Machine(model, figure, figure.provider_energy, site.pue)
        return machine.at(site, _price(evidence, prices, self._now))

    def _served(self, model: ModelSlug, candidates: Iterable[EnergyFigure]) -> EnergyFigure | None:
        """The figure that stands for a provider's machine, chosen once a model."""
        if model not in self._figures:
            self._figures[model] = primary(
                f for f in candidates if f.regime is Regime.SERVED and f.status in _RANKED
            )
        return self._figures[model]

    def _site(self, evidence: Evidence, provider: Provider) -> _Site | None:
        """Where an offer runs; None where the place is not known."""
        key = (evidence.provider, evidence.region, evidence.certainty)
        if key not in self._sites:
            places = self._places(evidence, provider)
            self._sites[key] = self._site_in(places, evidence, provider) if places else None
        return self._sites[key]

    def _site_in(self, places: tuple[Place, ...], evidence: Evidence, provider: Provider) -> _Site:
        return _Site(
            provider=provider,
            region=evidence.region,
            places=places,
            certainty=evidence.certainty,
            pue=pue_of(evidence, self._catalogue.pue),
            grid=self._grid(places),
        )

    def _own_site(self, place: Place) -> _Site:
        return _Site(
            provider=self._catalogue.providers[SELF_HOSTED],
            region=place.id,
            places=(place,),
            certainty=Certainty.PINNED,
            pue=self._own_pue,
            grid=self._grid((place,)),
        )

    def _grid(self, places: tuple[Place, ...]) -> Grid:
        key = tuple([place.id for place in places])
        if key not in self._grids:
            self._grids[key] = Grid(self._ladder, places, self._now)
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


def _obstacle(provider: Provider, figure: EnergyFigure | None, site: _Site | None) -> str:
    if provider.accelerator == "lpu":
        return provider.energy_note
    if figure is None:
        return "no energy figure of a batched server for this model"
    return "" if site else "the region's grid zone is not known"


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


@cache
def _labels(
    status: Status, agreement: str, access: Access, certainty: Certainty
) -> tuple[str, ...]:
    labels = [f"energy-{status}", f"location-{certainty}"]
    labels.append("reference-hardware" if access is Access.API else "own-placement")
    if agreement:
        labels.append(f"network-{agreement}")
    return tuple(labels)
