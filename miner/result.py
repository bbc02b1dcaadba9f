"""The result of `carbonbench-miner measure`: what ran, what it took, what stands behind it. Pure.

Three denominators, always named: queries, output tokens, total tokens (input and output). A
result without an energy says why, and holds no figure in its place.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import hypot
from statistics import quantiles

from miner.measurement import Measurement, Method
from miner.outcome import reason_of
from miner.reporting import PromptRun, Task
from protocol.canonical import canonical_json
from protocol.errors import Error
from protocol.units import (
    Joules,
    Seconds,
    WhPer1kTokens,
    ratio,
    seconds_from_us,
    wh_per_1k,
)
from protocol.workload import WORKLOAD_NAME, WorkloadForm

SCHEMA = "carbonbench-measure/1"
_NORMAL_95 = 1.96
"""Standard deviations in half of a 95 % interval."""
_PERCENTILES = 20
"""Cut points of the latency; the last is the 95th percentile."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Watt-hours per 1,000 of something, with a 95 % interval that includes the sensor's gain."""

    value: WhPer1kTokens
    low: WhPer1kTokens
    high: WhPer1kTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no energy."""

    code: str
    detail: str
    hint: str

    @classmethod
    def of(cls, error: Error) -> "Refusal":
        """The refusal that an error stands for."""
        return cls(code=reason_of(error), detail=str(error), hint=error.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine of a run, as far as a reader needs it."""

    engine: str
    device: str
    """Torch device."""
    gpus: tuple[tuple[str, str], ...]
    """(name, UUID) of the metered GPUs."""
    versions: dict[str, str]
    """Version by distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of the workload on this machine."""

    task: Task
    host: Host
    runs: tuple[PromptRun, ...]
    measured: Measurement | Refusal

    @property
    def energy(self) -> Measurement | None:
        """The measurement; None when it was refused."""
        return self.measured if isinstance(self.measured, Measurement) else None

    @property
    def label(self) -> Label:
        """What stands behind the energy."""
        if self.energy is None:
            return Label.REFUSED
        if self.energy.method is Method.ESTIMATE:
            return Label.ESTIMATED
        simulated = any("SIMULATED" in name or "SIMULATED" in uuid for name, uuid in self.host.gpus)
        return Label.SIMULATED if simulated else Label.MEASURED

    @property
    def input_tokens(self) -> int:
        """Tokens of all prompts, tags included."""
        return sum(len(run.input_ids) for run in self.runs)

    @property
    def output_tokens(self) -> int:
        """Tokens of all answers."""
        return sum(len(run.output_ids) for run in self.runs)

    @property
    def duration(self) -> Seconds:
        """First prompt to last answer."""
        return seconds_from_us(self.runs[-1].end[0] - self.runs[0].start[0])

    @property
    def tokens_digest(self) -> str:
        """SHA-256 over all answers' token ids: equal for equal runs."""
        answers = canonical_json([list(run.output_ids) for run in self.runs])
        return hashlib.sha256(answers).hexdigest()

    @property
    def comparable_with_ai_energy_score(self) -> bool:
        """Whether this is AI Energy Score's text generation, whole and untouched."""
        workload = self.task.workload
        return workload.name == WORKLOAD_NAME and workload.form is WorkloadForm.PLAIN

    def per_1k(self, count: int) -> Figure | None:
        """Watt-hours per 1,000 of what was counted so often; None without an energy."""
        return None if self.energy is None else figure(self.energy, count)


def figure(measurement: Measurement, count: int) -> Figure:
    """Watt-hours per 1,000 of something, from the energy of a window."""
    gain = _NORMAL_95 * ratio(measurement.systematic_ppm) * measurement.energy
    half_width = hypot(measurement.half_width, gain)
    low = max(0.0, measurement.energy - half_width)
    return Figure(
        value=wh_per_1k(measurement.energy, count),
        low=wh_per_1k(Joules(low), count),
        high=wh_per_1k(Joules(measurement.energy + half_width), count),
    )


def result_json(result: Result) -> Json:
    """The documented JSON form of a result."""
    workload = result.task.workload
    total_tokens = result.input_tokens + result.output_tokens
    return {
        "schema": SCHEMA,
        "status": result.label,
        "refusal": asdict(result.measured) if isinstance(result.measured, Refusal) else None,
        "workload": {
            "key": workload.key,
            "name": workload.name,
            "form": workload.form,
            "prompt_set": workload.prompts,
            "prompt_count": workload.prompt_count,
            "new_tokens": workload.new_tokens,
            "batch_size": workload.batch_size,
            "comparable_with_ai_energy_score": result.comparable_with_ai_energy_score,
        },
        "model": result.task.model.model_dump(mode="json"),
        "engine": {
            "name": result.host.engine,
            "device": result.host.device,
            "versions": result.host.versions,
        },
        "gpus": [{"name": name, "uuid": uuid} for name, uuid in result.host.gpus],
        "tokens": {
            "input": result.input_tokens,
            "output": result.output_tokens,
            "total": total_tokens,
            "digest": result.tokens_digest,
        },
        "time": _time_json(result),
        "energy": _energy_json(result.energy),
        "energy_wh_per_1k_queries": _figure_json(result.per_1k(len(result.runs))),
        "energy_wh_per_1k_output_tokens": _figure_json(result.per_1k(result.output_tokens)),
        "energy_wh_per_1k_total_tokens": _figure_json(result.per_1k(total_tokens)),
    }


def latencies(runs: Sequence[PromptRun]) -> tuple[Seconds, Seconds]:
    """Median and 95th percentile of the time per prompt."""
    times = [seconds_from_us(run.end[0] - run.start[0]) for run in runs]
    if len(times) == 1:
        return times[0], times[0]
    cuts = quantiles(times, n=_PERCENTILES, method="inclusive")
    return Seconds(cuts[_PERCENTILES // 2 - 1]), Seconds(cuts[-1])


def _time_json(result: Result) -> Json:
    median, high = latencies(result.runs)
    return {
        "duration_seconds": result.duration,
        "output_tokens_per_second": result.output_tokens / result.duration,
        "latency_p50_seconds": median,
        "latency_p95_seconds": high,
    }


def _energy_json(measurement: Measurement | None) -> Json | None:
    if measurement is None:
        return None
    return {
        "energy_joules": measurement.energy,
        "statistical_half_width_joules": measurement.half_width,
        "systematic_ppm": measurement.systematic_ppm,
        "window_seconds": measurement.duration,
        "mean_power_watts": measurement.mean_power,
        "method": measurement.method,
        "flags": list(measurement.flags),
    }


def _figure_json(value: Figure | None) -> Json | None:
    return None if value is None else asdict(value)
