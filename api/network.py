"""What the network says: verified round records of several validators, merged per cell.

Pure. Each validator's newest value of a cell counts; several are merged by the weighted
median, and the interval spans them all, so that a disagreement is seen and not averaged away.
The least trusted status wins: one validator's `simulated` makes the figure simulated.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from api.catalogue import Model, ModelSlug
from api.energy import ENERGY_UNIT, EnergyFigure, Regime
from api.footprint import Estimate, Factor, sensor_spread
from protocol.ids import Digest, Hotkey
from protocol.messages import Cell, CellValue, RoundRecord, Status
from protocol.units import wh_per_1k_from_uwh, wh_per_mtok
from protocol.workload import FULL_TAGGED

_TRUST = ("verified", "estimated", "simulated")
_FAMILIES = (
    ("deepseek", "DeepSeek"),
    ("llama", "Llama"),
    ("gpt", "GPT"),
    ("claude", "Claude"),
    ("mistral", "Mistral"),
    ("mixtral", "Mistral"),
    ("ministral", "Mistral"),
    ("gemma", "Gemma"),
    ("qwen", "Qwen"),
    ("phi", "Phi"),
    ("falcon", "Falcon"),
    ("command", "Cohere"),
    ("aya", "Cohere"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecord:
    """A round record whose signature, chain and place in the log were verified."""

    record: RoundRecord
    digest: Digest
    """Of the record's canonical bytes."""
    validator: Hotkey
    weight: float
    """Stake behind the validator, or 1 when it is not known."""
    signed_at: datetime
    """Time of the tree head that first covered it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One validator's newest value of one cell."""

    value: CellValue
    source: SignedRecord


def newest_opinions(records: Iterable[SignedRecord]) -> dict[str, tuple[Opinion, ...]]:
    """Per cell key, the newest value of each validator, in hotkey order."""
    newest: dict[tuple[str, Hotkey], Opinion] = {}
    for source in records:
        for value in source.record.cells:
            key = (value.cell.key, source.validator)
            held = newest.get(key)
            if held is None or held.source.record.round <= source.record.round:
                newest[key] = Opinion(value=value, source=source)
    merged: dict[str, list[Opinion]] = defaultdict(list)
    for (cell, _), opinion in sorted(newest.items(), key=lambda item: item[0]):
        merged[cell].append(opinion)
    return {cell: tuple(opinions) for cell, opinions in merged.items()}


def network_figures(
    records: Iterable[SignedRecord], names: Mapping[str, ModelSlug]
) -> tuple[EnergyFigure, ...]:
    """One figure per cell that any validator has a value for."""
    return tuple(
        _figure(opinions, names)
        for opinions in newest_opinions(records).values()
        if opinions[0].value.energy_per_1k_output_tokens_uwh > 0
    )


def network_models(
    records: Iterable[SignedRecord], names: Mapping[str, ModelSlug]
) -> dict[ModelSlug, Model]:
    """Models that the network measured and the tables do not hold."""
    found: dict[ModelSlug, Model] = {}
    for opinions in newest_opinions(records).values():
        repository = opinions[0].value.cell.model
        if repository.lower() not in names:
            slug = _slug(repository)
            found[slug] = Model(
                id=slug,
                name=repository.rsplit("/", 1)[-1],
                family=_family(slug),
                vendor=repository.partition("/")[0],
                is_open=True,
                total_low_b=None,
                total_high_b=None,
                active_low_b=None,
                active_high_b=None,
                parameters_source="",
                repositories=(repository,),
            )
    return found


def weighted_median(values: Sequence[tuple[float, float]]) -> float:
    """Lower weighted median of (value, weight) pairs.

    Raises:
        ValueError: If there is no value or a weight is not positive.
    """
    if not values or any(weight <= 0 for _, weight in values):
        raise ValueError("a weighted median needs values of positive weight")
    half = sum(weight for _, weight in values) / 2
    reached = 0.0
    ordered = sorted(values)
    for value, weight in ordered:
        reached += weight
        if reached >= half:
            return value
    return ordered[-1][0]


def _figure(opinions: tuple[Opinion, ...], names: Mapping[str, ModelSlug]) -> EnergyFigure:
    values = [opinion.value for opinion in opinions]
    cell = values[0].cell
    status = Status(max((value.status for value in values), key=_TRUST.index))
    middle = _middle(opinions)
    energy = _energy(opinions, middle, status)
    return EnergyFigure(
        id="network-" + hashlib.sha256(cell.key.encode()).hexdigest()[:10],
        model=names.get(cell.model.lower(), _slug(cell.model)),
        regime=Regime.SINGLE,
        energy=energy,
        provider_energy=energy,
        embodied=None,
        method=f"CarbonBench {cell.workload}",
        hardware=_hardware(cell),
        gpu_count=cell.gpu_count,
        precision=cell.dtype,
        batch=1.0,
        task="text_generation",
        repository=f"{cell.model}@{cell.revision}",
        speed_tokens_per_second=None,
        energy_wh_per_1k_queries=wh_per_1k_from_uwh(middle.value.energy_per_1k_queries_uwh),
        is_comparable=cell.workload == FULL_TAGGED.key,
        validator_count=len(opinions),
        disagreement=_disagreement(opinions),
        operator_count=max(value.operator_count for value in values),
        report_count=max(value.report_count for value in values),
        agreement=middle.value.label,
        evidence=middle.source.digest,
    )


def _middle(opinions: tuple[Opinion, ...]) -> Opinion:
    median = weighted_median(
        [(float(o.value.energy_per_1k_output_tokens_uwh), o.source.weight) for o in opinions]
    )
    return min(opinions, key=lambda o: abs(o.value.energy_per_1k_output_tokens_uwh - median))


def _energy(opinions: tuple[Opinion, ...], middle: Opinion, status: Status) -> Factor:
    sensor = sensor_spread()
    value = _per_mtok(middle.value.energy_per_1k_output_tokens_uwh)
    low = min(_per_mtok(o.value.low_uwh) for o in opinions)
    high = max(_per_mtok(o.value.high_uwh) for o in opinions)
    rounds = sorted({o.source.record.round for o in opinions})
    validators = f"{len(opinions)} validator{'s' if len(opinions) > 1 else ''}"
    newest = max(o.source.signed_at for o in opinions)
    spread = _disagreement(opinions)
    disagreement = "" if spread is None else f"; they differ by {spread:.1%}"
    return Factor(
        estimate=Estimate(
            value=value, low=min(low, value) / sensor, high=max(high, value) * sensor
        ),
        unit=ENERGY_UNIT,
        status=status,
        source=f"CarbonBench network, {validators}",
        date=newest.astimezone(UTC).date().isoformat(),
        licence="CC-BY-4.0",
        note=f"{middle.value.method} of {middle.value.operator_count} operators in round "
        f"{rounds[-1]}; sensor gain of 5 % (k = 1) included{disagreement}",
    )


def _disagreement(opinions: tuple[Opinion, ...]) -> float | None:
    if len(opinions) == 1:
        return None
    values = [_uwh(opinion) for opinion in opinions]
    return max(values) / min(values) - 1


def _uwh(opinion: Opinion) -> int:
    return max(1, opinion.value.energy_per_1k_output_tokens_uwh)


def _per_mtok(energy_uwh: int) -> float:
    return wh_per_mtok(wh_per_1k_from_uwh(energy_uwh))


def _hardware(cell: Cell) -> str:
    return f"{cell.gpu} at {cell.power_limit_w} W" if cell.power_limit_w else cell.gpu


def _slug(repository: str) -> ModelSlug:
    return ModelSlug(repository.rsplit("/", 1)[-1].lower())


def _family(slug: str) -> str:
    return next((family for part, family in _FAMILIES if part in slug), "other")
