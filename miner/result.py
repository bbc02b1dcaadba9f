"""What a local run comes to: figures with intervals, label, standing. Pure.

Everything is computed from the `RunReport`, so a table printed after a run and one printed from
its file say the same. Three denominators, always named: queries, output tokens, total tokens (input
and output). A result without an energy says why, and holds no figure in its place.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from math import hypot
from statistics import quantiles

from miner.published import PUBLISHED_GPU, PublishedRow, published_rows
from miner.stars import Standing, standing
from protocol.canonical import canonical_json
from protocol.messages import Cell, MeterKind
from protocol.models import SizeClass, size_class_of
from protocol.run_report import PromptRecord, RunReport, WindowEnergy
from protocol.units import (
    Joules,
    Seconds,
    Watts,
    WhPer1kTokens,
    joules,
    ratio,
    seconds_from_us,
    watts,
    wh_per_1k,
)
from protocol.workload import WORKLOAD_NAME, Workload, WorkloadForm, workload_of

SCHEMA = "carbonbench-measure/1"
_NORMAL_95 = 1.96
"""Standard deviations in half of a 95 % interval."""
_PERCENTILES = 20
"""Cut points of the latency; the last is the 95th percentile."""
_REFERENCE_GPU = ("H100", "80GB")
"""What the name of the leaderboard's GPU has in it."""

Json = dict[str, object]


class Label(StrEnum):
    """What stands behind a result's energy."""

    MEASURED = "measured"
    """Read from NVML on this machine; nobody has checked it."""
    SIMULATED = "simulated"
    """Read from a simulated device: for trying out only."""
    ESTIMATED = "estimated"
    """Estimated from the host's load, without any energy reading."""
    REFUSED = "refused"
    """There is no energy; the reason stands beside it."""


_LABELS = {
    MeterKind.NVML: Label.MEASURED,
    MeterKind.SIMULATED_NVML: Label.SIMULATED,
    MeterKind.ESTIMATED: Label.ESTIMATED,
    None: Label.REFUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Watt-hours per 1,000 of something, with a 95 % interval that includes the sensor's gain."""

    value: WhPer1kTokens
    low: WhPer1kTokens
    high: WhPer1kTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Energy per 1,000 queries by phase, where a prefill pass was run."""

    prefill: Figure
    decode_wh_per_1k_queries: float
    """The generate pass less the prefill pass; noise may make it negative."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run of the workload on somebody's machine."""

    report: RunReport

    @cached_property
    def workload(self) -> Workload:
        """What was run."""
        return workload_of(self.report.workload)

    @property
    def label(self) -> Label:
        """What stands behind the energy."""
        return _LABELS[self.report.meter]

    @property
    def energy(self) -> WindowEnergy | None:
        """The energy of the generate pass; None when it was refused."""
        return self.report.energy

    @property
    def query_count(self) -> int:
        """Prompts that were answered."""
        return len(self.report.prompts)

    @cached_property
    def input_tokens(self) -> int:
        """Tokens of all prompts, tags included."""
        return sum(record.input_tokens for record in self.report.prompts)

    @cached_property
    def output_tokens(self) -> int:
        """Tokens of all answers."""
        return sum(len(record.output_ids) for record in self.report.prompts)

    @property
    def total_tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    @property
    def duration(self) -> Seconds:
        """First prompt to last answer."""
        records = self.report.prompts
        return seconds_from_us(records[-1].end_us - records[0].start_us)

    @property
    def tokens_digest(self) -> str:
        """SHA-256 over all answers' token ids: equal for equal runs."""
        answers = canonical_json([list(record.output_ids) for record in self.report.prompts])
        return hashlib.sha256(answers).hexdigest()

    @property
    def size_class(self) -> SizeClass:
        """AI Energy Score class by the number of parameters."""
        return size_class_of(self.report.parameters)

    @property
    def cell(self) -> Cell:
        """What must be equal for two results to be ranked."""
        report = self.report
        names = sorted({device.name for device in report.devices})
        limits = {device.power_limit_mw for device in report.devices}
        limit_mw = limits.pop() if len(limits) == 1 else None
        return Cell(
            workload=report.workload,
            model=report.model.id,
            revision=report.model.revision,
            gpu=" + ".join(names) or f"none ({report.torch_device})",
            gpu_count=len(report.devices),
            dtype=report.model.dtype,
            engine=report.engine,
            power_limit_w=round(watts(limit_mw)) if limit_mw else 0,
            meter=report.meter or MeterKind.ESTIMATED,
        )

    @property
    def comparable_with_ai_energy_score(self) -> bool:
        """Whether this is AI Energy Score's text generation, whole and untouched, batch 1."""
        workload = self.workload
        plain = workload.form is WorkloadForm.PLAIN and workload.batch_size == 1
        return workload.name == WORKLOAD_NAME and plain

    @property
    def standing(self) -> Standing | None:
        """Where a measured run on the leaderboard's GPU stands there; None for any other."""
        value = self.per_1k(self.query_count)
        names = [device.name.replace(" ", "").upper() for device in self.report.devices]
        same_gpu = bool(names) and all(part in name for name in names for part in _REFERENCE_GPU)
        comparable = self.comparable_with_ai_energy_score and self.label is Label.MEASURED
        if value is None or not comparable or not same_gpu:
            return None
        return standing(value.value, self.size_class)

    @property
    def published(self) -> tuple[PublishedRow, ...]:
        """The same model's rows of the leaderboard."""
        return published_rows(self.report.model.id)

    @property
    def phases(self) -> Phases | None:
        """Prefill and decode apart; None without a prefill pass or without an energy."""
        whole, first = self.energy, self.report.prefill
        if whole is None or first is None:
            return None
        left = Joules(joules(whole.energy_mj) - joules(first.energy_mj))
        return Phases(
            prefill=figure(first, self.query_count),
            decode_wh_per_1k_queries=wh_per_1k(left, self.query_count),
        )

    def per_1k(self, count: int) -> Figure | None:
        """Watt-hours per 1,000 of what was counted so often; None without an energy."""
        return None if self.energy is None else figure(self.energy, count)


def mean_power(energy: WindowEnergy) -> Watts:
    """Energy over duration."""
    return Watts(joules(energy.energy_mj) / seconds_from_us(energy.duration_us))


def figure(window: WindowEnergy, count: int) -> Figure:
    """Watt-hours per 1,000 of something, from the energy of a window."""
    energy = joules(window.energy_mj)
    gain = _NORMAL_95 * ratio(window.systematic_ppm) * energy
    half_width = hypot(joules(window.half_width_mj or 0), gain)
    low = max(0.0, energy - half_width)
    return Figure(
        value=wh_per_1k(energy, count),
        low=wh_per_1k(Joules(low), count),
        high=wh_per_1k(Joules(energy + half_width), count),
    )


def result_json(result: Result) -> Json:
    """The documented JSON form of a result."""
    report, phases = result.report, result.phases
    standing_found = result.standing
    return {
        "schema": SCHEMA,
        "status": result.label,
        "refusal": report.refusal.model_dump() if report.refusal else None,
        "workload": _workload_json(result),
        "model": report.model.model_dump(mode="json")
        | {"parameters": report.parameters, "size_class": result.size_class},
        "engine": {
            "name": report.engine,
            "device": report.torch_device,
            "versions": report.versions,
        },
        "gpus": [device.model_dump() for device in report.devices],
        "tokens": {
            "input": result.input_tokens,
            "output": result.output_tokens,
            "total": result.total_tokens,
            "digest": result.tokens_digest,
        },
        "time": _time_json(result),
        "energy": _energy_json(result.energy),
        "phases": None if phases is None else asdict(phases),
        "energy_wh_per_1k_queries": _figure_json(result.per_1k(result.query_count)),
        "energy_wh_per_1k_output_tokens": _figure_json(result.per_1k(result.output_tokens)),
        "energy_wh_per_1k_total_tokens": _figure_json(result.per_1k(result.total_tokens)),
        "standing": None if standing_found is None else asdict(standing_found),
        "published": [asdict(row) | {"gpu": PUBLISHED_GPU} for row in result.published],
    }


def latencies(records: Sequence[PromptRecord]) -> tuple[Seconds, Seconds]:
    """Median and 95th percentile of the time per prompt; of its batch, where there is one."""
    times = [seconds_from_us(record.end_us - record.start_us) for record in records]
    if len(times) == 1:
        return times[0], times[0]
    cuts = quantiles(times, n=_PERCENTILES, method="inclusive")
    return Seconds(cuts[_PERCENTILES // 2 - 1]), Seconds(cuts[-1])


def _workload_json(result: Result) -> Json:
    workload = result.workload
    return {
        "key": workload.key,
        "name": workload.name,
        "form": workload.form,
        "prompt_set": workload.prompts,
        "prompt_count": workload.prompt_count,
        "new_tokens": workload.new_tokens,
        "batch_size": workload.batch_size,
        "comparable_with_ai_energy_score": result.comparable_with_ai_energy_score,
    }


def _time_json(result: Result) -> Json:
    median, high = latencies(result.report.prompts)
    return {
        "duration_seconds": result.duration,
        "output_tokens_per_second": result.output_tokens / result.duration,
        "latency_p50_seconds": median,
        "latency_p95_seconds": high,
    }


def _energy_json(window: WindowEnergy | None) -> Json | None:
    if window is None:
        return None
    half_width = None if window.half_width_mj is None else joules(window.half_width_mj)
    return {
        "energy_joules": joules(window.energy_mj),
        "statistical_half_width_joules": half_width,
        "systematic_ppm": window.systematic_ppm,
        "window_seconds": seconds_from_us(window.duration_us),
        "mean_power_watts": mean_power(window),
        "method": window.method,
        "flags": list(window.flags),
    }


def _figure_json(value: Figure | None) -> Json | None:
    return None if value is None else asdict(value)
