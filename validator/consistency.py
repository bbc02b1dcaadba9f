"""Do the joules fit what is known beside this report? Checks 8, 13, 14, 15 and 17.

All are soft: they are shown in the verdict, and the cohort's distance lowers the score once the
round is scored (`validator.scoring`). None of them can be proven: whoever owns the machine can
forge a trace. They make it laborious, and they make two names for one GPU visible.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from protocol.constants import PLATEAU_Z, TRACE_RATE_HZ
from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import DeviceEnergy, Finding, PowerTrace, Report
from protocol.units import PPM_ONE, uwh_per_1k
from validator.checks import bounded, none_of
from validator.cohorts import Observation, log_nano, operator_logs
from validator.cohorts import median as median_log
from validator.hardware import contradictions, is_simulated
from validator.operators import COPIED_CORRELATION_PPM, likeness_ppm, trace_shape
from validator.scoring import distance_milli

_TRACE_RATE_MIN_PPM = 500_000
"""Evidence comes at 10 Hz; a loaded host may lose half of the rows."""
_RAMP_PPM = 1_100_000
"""Idle before the window draws no more than the plateau, and 10 % for a small load."""
_THERMAL_RESIDUAL_MK = 5_000
"""What one first-order thermal fit may leave (root mean square)."""
_THERMAL_TAUS_SECONDS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_THERMAL_MIN_ROWS = 20
_POWER_REPEAT_PPM = 950_000
"""Share of one and the same reading among all; sensors are noisier, to 1 W even."""
_CROSS_CELL_PPM = 100_000
"""A miner's offset is its own: 10 % of change between its cells is three times the 3 % that
models and workloads explain."""
_OTHERS_MIN = 2
"""Operators beside one's own that make a cell's median."""
_SIMULTANEOUS_SLACK_US = 10_000_000
"""The validator may see the round's first block later than the miners do."""
_MILLI = 10**3
_NANO_PER_PPM = 10**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What the rounds before this one say."""

    cohorts: Mapping[str, Mapping[Coldkey, int]]
    """Operators' values by cell, as `cohorts.operator_logs` gives them."""
    operators: Mapping[Hotkey, Coldkey]
    """The operator under which each miner was last scored."""


NO_PRIOR = Prior(cohorts={}, operators={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Runs of one round that name one of the same GPUs, this one included."""

    durations_us: tuple[int, ...]
    observed_us: int
    """From the round's first block to the last of their commitments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a report is held against, beside itself and physics."""

    miner: Hotkey
    coldkey: Coldkey
    prior: Prior = NO_PRIOR
    earlier_shapes: Sequence[Sequence[int]] = ()
    """Traces of the same miner's earlier reports in the same cell (`operators.trace_shape`)."""
    sharing: Sharing | None = None
    """None when nobody else names these GPUs."""

    @property
    def operator(self) -> Coldkey:
        """Whose report it is, as far as is known before the round is scored."""
        return self.prior.operators.get(self.miner, self.coldkey)


def prior_of(history: Iterable[Observation], *, now: RoundNumber, round_blocks: int) -> Prior:
    """What the reports of earlier rounds come to."""
    by_cell: defaultdict[str, list[Observation]] = defaultdict(list)
    operators: dict[Hotkey, Coldkey] = {}
    for seen in history:
        by_cell[seen.cell_key].append(seen)
        operators[seen.miner] = seen.operator
    cohorts = {
        key: operator_logs(reports, now=now, round_blocks=round_blocks)
        for key, reports in by_cell.items()
    }
    return Prior(cohorts=cohorts, operators=operators)


def check_consistency(report: Report, cell_key: str, standing: Standing) -> tuple[Finding, ...]:
    """All findings on how the report fits what else is known; none of them is hard."""
    return (
        *check_trace_shape(report),
        *check_trace_likeness(report, standing.earlier_shapes),
        *check_cohort(report, cell_key, standing),
        *check_cross_cell(report, cell_key, standing),
        *check_simultaneous(standing.sharing),
        check_digits(report),
        none_of("device_fact_count", contradictions(report.devices), hard=False),
    )


def check_trace_shape(report: Report) -> tuple[Finding, ...]:
    """Check 8: rows at the agreed rate, idle below the plateau, one thermal law for all rows."""
    parts = report.device_energy
    rates = [_rate_ppm(part, report.duration_us) for part in parts]
    ramps = [ramp for part in parts if (ramp := _ramp_ppm(part.trace, report.duration_us))]
    found = [bounded("trace_rate_ppm", min(rates), low=_TRACE_RATE_MIN_PPM, hard=False)]
    if ramps:
        found.append(bounded("trace_ramp_ppm", max(ramps), high=_RAMP_PPM, hard=False))
    residuals = [rest for part in parts if (rest := thermal_residual_mk(part.trace)) is not None]
    if residuals:
        high = _THERMAL_RESIDUAL_MK
        found.append(bounded("thermal_residual_mk", max(residuals), high=high, hard=False))
    return tuple(found)


def check_trace_likeness(report: Report, earlier: Sequence[Sequence[int]]) -> tuple[Finding, ...]:
    """Check 8: no trace has the noise of one of the miner's earlier ones."""
    shape = trace_shape(report.device_energy[0].trace) if report.device_energy else ()
    likeness = [likeness_ppm(shape, other) for other in earlier]
    known = [value for value in likeness if value is not None]
    if not known:
        return ()
    high = COPIED_CORRELATION_PPM - 1
    return (bounded("trace_likeness_ppm", max(known), high=high, hard=False),)


def check_cohort(report: Report, cell_key: str, standing: Standing) -> tuple[Finding, ...]:
    """Check 13: z against the cell's other operators, as the rounds before left it.

    The score's own z counts this round's reports as well.
    """
    own = _log(report)
    logs = standing.prior.cohorts.get(cell_key, {})
    others = [log for operator, log in logs.items() if operator != standing.operator]
    z_milli = None if own is None else distance_milli(own, others)
    if z_milli is None:
        return ()
    limit = PLATEAU_Z * _MILLI
    return (bounded("cohort_z_milli", z_milli, low=-limit, high=limit, hard=False),)


def check_cross_cell(report: Report, cell_key: str, standing: Standing) -> tuple[Finding, ...]:
    """Check 14: log E = model + GPU + miner: a miner's offset is the same in all its cells."""
    own = _log(report)
    here = None if own is None else _offset(own, cell_key, standing)
    elsewhere = [
        offset
        for key, logs in standing.prior.cohorts.items()
        if key != cell_key
        and standing.operator in logs
        and (offset := _offset(logs[standing.operator], key, standing)) is not None
    ]
    if here is None or not elsewhere:
        return ()
    gap = (here - median_log(elsewhere)) // _NANO_PER_PPM
    low, high = -_CROSS_CELL_PPM, _CROSS_CELL_PPM
    return (bounded("cross_cell_gap_ppm", gap, low=low, high=high, hard=False),)


def check_simultaneous(sharing: Sharing | None) -> tuple[Finding, ...]:
    """Check 15: one GPU cannot serve several serial chains at once.

    All miners are challenged by the same block; runs that name one GPU must fit one after the
    other between that block and the last commitment, or some of them ran elsewhere.
    """
    if sharing is None:
        return ()
    total = sum(sharing.durations_us)
    high = sharing.observed_us + _SIMULTANEOUS_SLACK_US
    return (bounded("simultaneous_time_us", total, high=high, hard=False),)


def check_digits(report: Report) -> Finding:
    """Check 17: a sensor does not give one and the same reading all the time.

    Simulated devices have no noise, and say that they are simulated.
    """
    shares = [
        _repeat_ppm(_within(part.trace, report.duration_us))
        for part, device in zip(report.device_energy, report.devices, strict=False)
        if not is_simulated(device)
    ]
    return bounded("power_repeat_ppm", max(shares, default=0), high=_POWER_REPEAT_PPM, hard=False)


def thermal_residual_mk(trace: PowerTrace) -> int | None:
    """What the best first-order thermal fit T = a + r P_tau leaves (mK, root mean square).

    P_tau is power through a low-pass of one of several time constants. None for traces that are
    too short or have no even columns.
    """
    rows = len(trace.elapsed_ms)
    if rows < _THERMAL_MIN_ROWS or not rows == len(trace.power_mw) == len(trace.temperature_c):
        return None
    temperatures = [float(value) for value in trace.temperature_c]
    best = min(_fit_residual(_filtered(trace, tau), temperatures) for tau in _THERMAL_TAUS_SECONDS)
    return round(best * _MILLI)


def _filtered(trace: PowerTrace, tau_seconds: float) -> list[float]:
    level = float(trace.power_mw[0])
    levels = [level]
    for (earlier, later), power in zip(pairwise(trace.elapsed_ms), trace.power_mw[1:], strict=True):
        kept = math.exp(-max(later - earlier, 0) / _MILLI / tau_seconds)
        level = kept * level + (1 - kept) * power
        levels.append(level)
    return levels


def _fit_residual(levels: Sequence[float], values: Sequence[float]) -> float:
    """Root mean square of what the least squares line leaves."""
    mean_level, mean_value = fmean(levels), fmean(values)
    spread = sum((level - mean_level) ** 2 for level in levels)
    joint = sum(
        (level - mean_level) * (value - mean_value)
        for level, value in zip(levels, values, strict=True)
    )
    slope = max(joint / spread, 0.0) if spread else 0.0
    squares = (
        (value - mean_value - slope * (level - mean_level)) ** 2
        for level, value in zip(levels, values, strict=True)
    )
    return math.sqrt(fmean(squares))


def _rate_ppm(part: DeviceEnergy, duration_us: int) -> int:
    expected = max(duration_us * TRACE_RATE_HZ // PPM_ONE, 1)
    return len(_within(part.trace, duration_us)) * PPM_ONE // expected


def _ramp_ppm(trace: PowerTrace, duration_us: int) -> int | None:
    before = [power for at, power in _rows(trace) if at < 0]
    within = _within(trace, duration_us)
    plateau = median(within) if within else 0
    return round(PPM_ONE * median(before) / plateau) if before and plateau else None


def _within(trace: PowerTrace, duration_us: int) -> list[int]:
    return [power for at, power in _rows(trace) if 0 <= at * _MILLI <= duration_us]


def _rows(trace: PowerTrace) -> Iterable[tuple[int, int]]:
    return zip(trace.elapsed_ms, trace.power_mw, strict=False)


def _repeat_ppm(powers: Sequence[int]) -> int:
    if len(powers) < _THERMAL_MIN_ROWS:
        return 0
    return Counter(powers).most_common(1)[0][1] * PPM_ONE // len(powers)


def _offset(log: int, cell_key: str, standing: Standing) -> int | None:
    """A value's distance from the median of the cell's other operators (10^-9 log)."""
    logs = standing.prior.cohorts.get(cell_key, {})
    others = [value for operator, value in logs.items() if operator != standing.operator]
    return log - median_log(others) if len(others) >= _OTHERS_MIN else None


def _log(report: Report) -> int | None:
    tokens = sum(len(leaf.output_ids) for leaf in report.leaves)
    energy = uwh_per_1k(report.energy_mj, tokens) if tokens else 0
    return log_nano(energy) if energy else None
