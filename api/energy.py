"""Which energy figure stands for a model: verified, published or modelled, never merged.

Every figure has a regime. `served`: a batched engine at a stated batch (ML.ENERGY, or the
EcoLogits regression at batch 64). `single`: batch 1 (AI Energy Score, the network's rounds).
The two differ up to 50-fold, so they never share a ranking. All figures count GPU energy
only: cooling and conversion losses come through PUE.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from api.catalogue import Model, ModelSlug, ServedPoint, SingleRecord
from api.footprint import Estimate, Factor, sensor_spread, spread
from api.modelled import ASSUMED_BATCH, embodied, modelled_embodied, modelled_energy
from protocol.messages import Status
from protocol.units import Joules, WhPer1kTokens, WhPerMtok, wh_per_1k, wh_per_mtok

REFERENCE_BATCH = 64
"""Batch that a served figure is read at: EcoLogits' assumption, which all tables measured."""
BATCH_RANGE = (16.0, 512.0)
"""Batches that a provider may run at; the figures measured there span the interval."""
ENERGY_UNIT = "Wh per 1e6 output tokens"
_MS_PER_SECOND = 1_000
_BATCH_SLACK = 0.98
"""A measured average batch of 511 was meant as 512, one of 15.9 as 16."""
_PRIORITY = (
    "ml.energy-v3-h100-80gb",
    "ml.energy-v3-b200",
    "ml.energy-v2-h100-80gb",
    "ml.energy-v2-a100-40gb",
    "ai-energy-score-v2-h100-80gb",
    "ai-energy-score-v1-h100-80gb",
    "ecologits",
)


class Regime(StrEnum):
    """How the model was run."""

    SERVED = "served"
    """In a batched engine: what a provider's API does."""
    SINGLE = "single"
    """One prompt at a time: AI Energy Score and the network's rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyFigure:
    """Energy of a million output tokens on named hardware, by a named method."""

    id: str
    """Unique among a model's figures; part of row ids."""
    model: ModelSlug
    regime: Regime
    energy: Factor
    """For the stated batch: what the operator of that machine gets."""
    provider_energy: Factor
    """For an unknown batch: what the customer of a provider has to reckon with."""
    embodied: Factor | None
    method: str
    hardware: str
    gpu_count: int | None
    precision: str
    batch: float
    task: str
    repository: str
    """What was measured, by its repository name; empty when nothing was."""
    speed_tokens_per_second: float | None
    """Output speed that one request sees."""
    energy_wh_per_1k_queries: float | None = None
    is_comparable: bool = True
    """False for shortened workloads and stand-in prompts: shown, never ranked with the rest."""
    validator_count: int | None = None
    disagreement: float | None = None
    """Highest over lowest of the validators' values, less 1; None where one alone has a value."""
    operator_count: int | None = None
    report_count: int | None = None
    agreement: str = ""
    """The network's own label of a cell: single, corroborated, verified or contested."""
    evidence: str = ""
    """Digest of the log entry behind a network figure."""

    @property
    def status(self) -> Status:
        """What stands behind the figure."""
        return self.energy.status


def primary(figures: Iterable[EnergyFigure]) -> EnergyFigure | None:
    """The figure that stands for a model in one regime: verified, then newest method, H100."""
    return min(figures, key=_preference, default=None)


def _preference(figure: EnergyFigure) -> tuple[int, int, str]:
    if figure.status is Status.VERIFIED:
        return (0, 0, figure.id)
    rank = _PRIORITY.index(figure.id) if figure.id in _PRIORITY else len(_PRIORITY)
    return (1, rank, figure.id)


def served_figures(points: Iterable[ServedPoint]) -> Iterator[EnergyFigure]:
    """One per model, method and GPU: the configuration that needs least at batch 64."""
    groups: dict[tuple[str, str, str, str, int], list[ServedPoint]] = defaultdict(list)
    for point in points:
        setup = (point.precision, point.gpu_count)
        groups[(point.model, point.method, point.gpu, *setup)].append(point)
    best: dict[tuple[str, str, str], EnergyFigure] = {}
    for key, measured in sorted(groups.items()):
        figure = _served(measured)
        held = best.get(key[:3])
        if held is None or figure.energy.estimate.value < held.energy.estimate.value:
            best[key[:3]] = figure
    yield from best.values()


def _served(measured: Sequence[ServedPoint]) -> EnergyFigure:
    point = min(measured, key=lambda p: abs(math.log(p.batch / REFERENCE_BATCH)))
    low, high = BATCH_RANGE
    spanned = [p for p in measured if low * _BATCH_SLACK <= p.batch <= high or p is point]
    energies = [_of_joules(p.energy_j_per_output_token) for p in spanned]
    batches = [p.batch for p in spanned]
    value, sensor = _of_joules(point.energy_j_per_output_token), sensor_spread()
    span = Estimate(value=value, low=min(energies) / sensor, high=max(energies) * sensor)
    return EnergyFigure(
        id=_slug(point.method, point.gpu),
        model=point.model,
        regime=Regime.SERVED,
        energy=_published(point, spread(value, sensor), f"at batch {point.batch:.0f}"),
        provider_energy=_published(
            point,
            span,
            f"at batch {point.batch:.0f}; the interval spans the measured batches "
            f"{min(batches):.0f} to {max(batches):.0f}, for a provider's is unknown",
        ),
        embodied=embodied(gpu_seconds_per_token=point.gpu_count / point.output_tokens_per_second),
        method=point.method,
        hardware=point.gpu,
        gpu_count=point.gpu_count,
        precision=point.precision,
        batch=point.batch,
        task=point.task,
        repository=point.repository,
        speed_tokens_per_second=(
            _MS_PER_SECOND / point.inter_token_ms if point.inter_token_ms else None
        ),
    )


def single_figures(records: Iterable[SingleRecord]) -> Iterator[EnergyFigure]:
    """One per AI Energy Score row that states how many tokens a query gives."""
    for record in records:
        if record.output_tokens_per_query is None:
            continue
        queries_wh = record.energy_wh_per_1k_queries
        per_1k = WhPer1kTokens(queries_wh / record.output_tokens_per_query)
        estimate = spread(wh_per_mtok(per_1k), sensor_spread())
        energy = _published(record, estimate, "batch 1; no repeats published")
        yield EnergyFigure(
            id=_slug(record.method, record.gpu),
            model=record.model,
            regime=Regime.SINGLE,
            energy=energy,
            provider_energy=energy,
            embodied=None,
            method=record.method,
            hardware=record.gpu,
            gpu_count=None,
            precision="",
            batch=1.0,
            task=record.task,
            repository=record.repository,
            speed_tokens_per_second=None,
            energy_wh_per_1k_queries=queries_wh,
        )


def modelled_figures(models: Iterable[Model]) -> Iterator[EnergyFigure]:
    """One per model whose parameters are known or guessed with a range."""
    for model in models:
        found = modelled_energy(model, ENERGY_UNIT)
        if found is None:
            continue
        energy, gpu_count = found
        yield EnergyFigure(
            id="ecologits",
            model=model.id,
            regime=Regime.SERVED,
            energy=energy,
            provider_energy=energy,
            embodied=modelled_embodied(model, gpu_count),
            method="EcoLogits 0.11.3",
            hardware="H100-80GB",
            gpu_count=gpu_count,
            precision="bfloat16",
            batch=float(ASSUMED_BATCH),
            task="",
            repository="",
            speed_tokens_per_second=None,
        )


def _published(record: ServedPoint | SingleRecord, estimate: Estimate, note: str) -> Factor:
    return Factor(
        estimate=estimate,
        unit=ENERGY_UNIT,
        status=Status.PUBLISHED,
        source=record.source,
        date=record.published,
        licence=record.licence,
        note=f"{note}; sensor gain of 5 % (k = 1) included",
    )


def _of_joules(energy_j_per_token: float) -> WhPerMtok:
    return wh_per_mtok(wh_per_1k(Joules(energy_j_per_token), 1))


def _slug(method: str, gpu: str) -> str:
    return f"{method}-{gpu}".lower().replace(" ", "-")
