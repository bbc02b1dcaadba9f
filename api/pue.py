"""Power usage effectiveness: how much the facility draws for each kWh of its machines. Pure."""

from collections.abc import Sequence

from api.catalogue import Evidence, ProviderId, PueRecord
from api.footprint import Estimate, Factor
from protocol.messages import Status

PUE_ASSUMED = Estimate(value=1.25, low=1.1, high=1.5)
"""For whoever publishes none (our convention)."""
PUE_UNCERTAINTY = 0.03
"""A published yearly PUE is taken to be known to 0.03 (our assumption)."""


def pue_of(evidence: Evidence, records: Sequence[PueRecord]) -> Factor:
    """The PUE under which an offer runs: the region's, the provider's range, or assumed."""
    return pue_at(evidence.provider, evidence.region, records)


def pue_at(provider: ProviderId, region: str, records: Sequence[PueRecord]) -> Factor:
    """The PUE of a provider's region: its own, the provider's range, or assumed."""
    own = [r for r in records if r.provider == provider]
    here = [r for r in own if r.region == region]
    if here:
        record = max(here, key=lambda r: r.year)
        return Factor(
            estimate=Estimate(
                value=record.pue,
                low=max(1.0, record.pue - PUE_UNCERTAINTY),
                high=record.pue + PUE_UNCERTAINTY,
            ),
            unit="ratio",
            status=Status.PUBLISHED,
            source=record.source,
            date=str(record.year),
            licence=record.licence,
            note=f"region's own, +-{PUE_UNCERTAINTY}",
        )
    if not own:
        return assumed_pue("a provider that publishes none")
    values = [record.pue for record in own]
    return Factor(
        estimate=Estimate(value=sum(values) / len(values), low=min(values), high=max(values)),
        unit="ratio",
        status=Status.ASSUMED,
        source=own[0].source,
        date=str(max(record.year for record in own)),
        licence=own[0].licence,
        note=f"mean and range of the provider's {len(own)} published regions",
    )


def assumed_pue(whose: str) -> Factor:
    """What stands for whoever publishes none."""
    return Factor(
        estimate=PUE_ASSUMED,
        unit="ratio",
        status=Status.ASSUMED,
        source="our convention",
        date="2026",
        licence="CC-BY-4.0",
        note=f"assumed for {whose}: 1.25, between 1.1 and 1.5",
    )
