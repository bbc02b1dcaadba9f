"""Rows and footprints as the public schema shows them: rounded, named, labelled."""

from api import schemas
from api.catalogue import Certainty
from api.energy import EnergyFigure
from api.footprint import (
    INTERVAL_LEVEL,
    INTERVAL_METHOD,
    PER,
    Factor,
    Footprint,
    rounded,
)
from api.grid.intensity import Intensity, Period
from api.offerings import Price, Row

SCOPE = "GHG Protocol scope 3 category 1 for an API's customer, scope 2 for an operator"
ACCOUNTING = "average, location-based, consumption, lifecycle; no offsets or certificates"
BOUNDARY = schemas.Boundary(
    includes=["GPU electricity", "cooling and conversion (PUE)", "making the servers (served)"],
    excludes=["CPU, memory and network of the host", "training", "network", "client"],
)
REGIME_NOTES = {
    "served": "Batched servers, what the customer of an API gets. Energy is that of reference "
    "hardware on the provider's grid, not a measurement inside the provider.",
    "single": "One prompt at a time on the measured machine, set on a grid of choice. Up to 50 "
    "times a served figure; do not read it as a provider's.",
}


def row_body(row: Row, period: Period) -> schemas.RowBody:
    """A row as shown for a period."""
    price, now = row.price, row.grid[Period.NOW]
    return schemas.RowBody(
        id=row.id,
        model=schemas.ModelName(id=row.model.id, name=row.model.name, family=row.model.family),
        provider=schemas.ProviderName(
            id=row.provider.id, name=row.provider.name, access=row.access
        ),
        place=_place(row),
        regime=row.regime,
        status=row.status,
        labels=list(row.labels),
        carbon=carbon(row.carbon[period]),
        now=schemas.NowOverlay(
            carbon=carbon(row.carbon[Period.NOW]),
            tier=now.tier,
            interval_start=now.start,
            interval_end=now.end,
        ),
        price=_price(price) if price else None,
        speed_tokens_per_second=_maybe(row.figure.speed_tokens_per_second),
        factors=_factors(row, period),
    )


def carbon(footprint: Footprint) -> schemas.Carbon:
    """A footprint as shown."""
    total, embodied = footprint.total, footprint.embodied_g
    return schemas.Carbon(
        value=rounded(total.value),
        low=rounded(total.low),
        high=rounded(total.high),
        level=INTERVAL_LEVEL,
        method=INTERVAL_METHOD,
        per=PER,
        operational=rounded(footprint.operational_g),
        embodied=_maybe(embodied),
    )


def factor(shown: Factor) -> schemas.FactorAnswer:
    """A factor as shown."""
    return schemas.FactorAnswer(
        value=rounded(shown.estimate.value),
        low=rounded(shown.estimate.low),
        high=rounded(shown.estimate.high),
        unit=shown.unit,
        status=shown.status,
        source=shown.source,
        date=shown.date,
        licence=shown.licence,
        note=shown.note,
    )


def energy_factor(shown: Factor, figure: EnergyFigure) -> schemas.EnergyFactor:
    """An energy figure as shown."""
    return schemas.EnergyFactor(
        **factor(shown).model_dump(),
        method=figure.method,
        hardware=figure.hardware,
        gpu_count=figure.gpu_count,
        precision=figure.precision,
        batch=rounded(figure.batch),
        task=figure.task,
        measured_repository=figure.repository,
        wh_per_1k_queries=_maybe(figure.energy_wh_per_1k_queries),
        validator_count=figure.validator_count,
        disagreement_percent=_maybe(
            None if figure.disagreement is None else 100 * figure.disagreement
        ),
        operator_count=figure.operator_count,
        report_count=figure.report_count,
        agreement=figure.agreement,
        evidence=figure.evidence,
    )


def grid_factor(shown: Intensity) -> schemas.GridFactor:
    """A grid intensity as shown."""
    return schemas.GridFactor(
        **factor(shown.factor).model_dump(),
        zone=shown.zone,
        tier=shown.tier,
        accounting=shown.accounting,
        basis=shown.basis,
        interval_start=shown.start,
        interval_end=shown.end,
        is_redistributable=shown.is_redistributable,
    )


def _factors(row: Row, period: Period) -> schemas.Factors:
    figure = row.figure
    return schemas.Factors(
        energy=energy_factor(row.energy, figure),
        pue=factor(row.pue),
        grid=grid_factor(row.grid[period]),
        embodied=factor(figure.embodied) if figure.embodied else None,
    )


def _place(row: Row) -> schemas.PlaceAnswer:
    return schemas.PlaceAnswer(
        id=row.places[0].id if row.certainty is Certainty.PINNED else None,
        name=row.place_name,
        region=row.region,
        certainty=row.certainty,
        zones=sorted({place.zone for place in row.places}),
    )


def _price(price: Price) -> schemas.PriceAnswer:
    return schemas.PriceAnswer(
        input_usd_per_mtok=price.input_usd_per_mtok,
        output_usd_per_mtok=price.output_usd_per_mtok,
        blended_usd_per_mtok=price.blended_usd_per_mtok,
        observed=price.observed,
        source=price.source,
        licence=price.licence,
    )


def _maybe(value: float | None) -> float | None:
    return None if value is None else rounded(value)
