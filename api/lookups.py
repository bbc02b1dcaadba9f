"""Look-up answers from a release: models, providers, regions, sources. Builds, routes nothing."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from api import reference_schemas as shown
from api.catalogue import Access, Catalogue, Model, ModelSlug
from api.energy import EnergyFigure, Regime, primary
from api.footprint import rounded
from api.present import energy_factor, factor
from api.pue import pue_at
from api.release import Release
from api.schemas import Answer
from protocol.messages import Status

FACTS = "none needed; facts"


class _Sourced(Protocol):
    """A line of a table: it names its source and licence."""

    @property
    def source(self) -> str: ...

    @property
    def licence(self) -> str: ...


def models_answer(release: Release, family: str | None) -> bytes:
    """All models that any figure exists for."""
    known = sorted({figure.model for figure in release.figures})
    models = [release.models[slug] for slug in known]
    wanted = [m for m in models if family is None or m.family.lower() == family.lower()]
    return _json(shown.Models(models=[_summary(release, m) for m in wanted], meta=release.meta()))


def model_answer(release: Release, slug: ModelSlug) -> bytes:
    """Everything about one model."""
    model = release.models[slug]
    figures = [figure for figure in release.figures if figure.model == slug]
    return _json(
        shown.ModelDetail(
            model=_summary(release, model),
            repositories=list(model.repositories),
            figures=[_figure(figure, figures) for figure in figures],
            query_figures=[
                shown.QueryFigure(
                    regime=Regime.SINGLE,
                    method=record.method,
                    task=record.task,
                    reasoning_effort=record.reasoning_effort,
                    hardware=record.gpu,
                    wh_per_1k_queries=rounded(record.energy_wh_per_1k_queries),
                    status=Status.PUBLISHED,
                    source=record.source,
                    date=record.published,
                    licence=record.licence,
                )
                for record in release.catalogue.single
                if record.model == slug and record.output_tokens_per_query is None
            ],
            unranked=[
                shown.Unplaced(
                    provider=item.provider,
                    provider_model=item.provider_model,
                    reason=item.reason,
                )
                for item in release.table.unranked
                if item.model == slug
            ],
            meta=release.meta(),
        )
    )


def providers_answer(release: Release) -> bytes:
    """All providers."""
    counts = Counter(row.provider.id for row in release.rows)
    providers = [
        shown.ProviderAnswer(
            id=provider.id,
            name=provider.name,
            access=provider.access,
            accelerator=provider.accelerator,
            energy_note=provider.energy_note,
            location_note=provider.location_note,
            source=provider.source,
            row_count=counts[provider.id],
        )
        for provider in release.catalogue.providers.values()
    ]
    return _json(shown.Providers(providers=providers, meta=release.meta()))


def regions_answer(release: Release) -> bytes:
    """All regions of the providers, with their zones and PUE."""
    catalogue = release.catalogue
    regions = []
    for region in catalogue.regions:
        place = catalogue.places[region.place]
        regions.append(
            shown.RegionAnswer(
                provider=region.provider,
                region=region.name,
                place=place.id,
                place_name=place.name,
                zone=place.zone,
                alternative_zone=place.alternative_zone,
                pue=factor(pue_at(region.provider, region.name, catalogue.pue)),
                source=place.source,
            )
        )
    return _json(shown.Regions(regions=regions, meta=release.meta()))


def sources_answer(release: Release) -> bytes:
    """Every source that a table names, and the live ones with their state."""
    lines = _table_lines(release.catalogue, release.figures)
    tables = [
        shown.TableSource(source=source, licence=licence, lines=count)
        for (source, licence), count in sorted(lines.items())
    ]
    return _json(shown.Sources(sources=list(release.sources), tables=tables, meta=release.meta()))


def _table_lines(catalogue: Catalogue, figures: Iterable[EnergyFigure]) -> Counter[tuple[str, str]]:
    named: list[_Sourced] = [
        *catalogue.served,
        *catalogue.single,
        *catalogue.evidence,
        *catalogue.pue,
        *catalogue.zone_levels,
        *catalogue.country_levels,
        *catalogue.shapes.values(),
        *catalogue.errors.values(),
        *(figure.embodied for figure in figures if figure.embodied),
    ]
    lines = Counter((line.source, line.licence) for line in named)
    lines.update((place.source, FACTS) for place in catalogue.places.values())
    lines.update(
        (f"parameters: {model.parameters_source}", FACTS)
        for model in catalogue.models.values()
        if model.parameters_source
    )
    return lines


def _summary(release: Release, model: Model) -> shown.ModelSummary:
    figures = [figure for figure in release.figures if figure.model == model.id]
    rows = [row for row in release.rows if row.model.id == model.id]
    return shown.ModelSummary(
        id=model.id,
        name=model.name,
        family=model.family,
        vendor=model.vendor,
        is_open=model.is_open,
        active_parameters_b=_parameters(model),
        parameters_source=model.parameters_source,
        statuses=sorted({figure.status for figure in figures}),
        regimes=sorted({figure.regime for figure in figures}),
        offer_count=sum(row.access is Access.API for row in rows),
    )


def _parameters(model: Model) -> shown.Range | None:
    low, high = model.active_low_b, model.active_high_b
    if low is None or high is None:
        return None
    return shown.Range(value=rounded((low + high) / 2), low=low, high=high)


def _figure(figure: EnergyFigure, figures: list[EnergyFigure]) -> shown.Figure:
    spanned = figure.provider_energy.estimate
    stands = primary(other for other in figures if other.regime is figure.regime)
    return shown.Figure(
        id=figure.id,
        regime=figure.regime,
        energy=energy_factor(figure.energy, figure),
        provider_interval=shown.Range(
            value=rounded(spanned.value), low=rounded(spanned.low), high=rounded(spanned.high)
        ),
        embodied=factor(figure.embodied) if figure.embodied else None,
        is_primary=stands is figure,
    )


def _json(answer: Answer) -> bytes:
    return answer.model_dump_json().encode()
