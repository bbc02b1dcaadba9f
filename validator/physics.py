"""Could these joules and seconds be true? Checks 1 to 12 and 16 of the verification rules.

Hard bounds are physical: nothing honest lies outside. Soft ones are statistical; a failed one
is shown in the verdict and lowers nothing by itself. What the cohort says (check 13) is known
only when a round is scored: `validator.scoring`.

Symbols: W weight bytes, B memory bandwidth, N generated tokens, E claimed energy, d claimed
duration, P power.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise

from protocol.messages import DeviceEnergy, Finding, Leaf, PowerTrace, Report
from protocol.units import (
    PPM_ONE,
    Joules,
    Seconds,
    Watts,
    joules,
    microseconds,
    millijoules,
    milliwatts,
    nanoseconds,
    parts_per_million,
    seconds_from_us,
    watts,
)
from validator.checks import bounded, none_of
from validator.hardware import Hardware, hardware_of, tick_energy

_CEILING = 1.03
"""Boards overshoot their limit for moments; over a run by 3 % at most."""
_IDLE_SHARE = 0.9
"""Of the least idle power, below which no run can stay."""
_EDGE_TICKS = 3
"""Counter ticks by which two ways of summing the same energy may differ at the edges."""
_PEAK_MARGIN = 2
"""Power within a tick over the largest in the trace."""
_TICK_MAX_US = 250_000
"""Longest update period that widens a bound; counters tick every 100 ms or faster."""
_EDGE_SHARE = 0.05
"""And in proportion: time between the window's edges and the first and last prompt."""
_TRACE_GAP_PPM = 30_000
_TRACE_GAP_SHORT_PPM = 100_000
_TRACE_GAP_HARD_PPM = 300_000
_SHORT_WINDOW = Seconds(30.0)
_OBSERVED_SLACK = Seconds(10.0)
"""The validator may see the round's first block later than the miner does."""
_BANDWIDTH_SHARE = 0.95
_COHORT_BAND = 1.5
"""Mean power within this factor of the cell's median."""
_DURATION_BAND = 1.5
"""A second run in one round would take longer than this factor of the cell's median."""
_REPEAT_MIN_PPM = 500
"""Two honest runs differ by about 1 %; closer than 0.05 % is a copy."""
_COUNTER_SLACK_TICKS = 3
_LEAF_MISMATCH_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What other operators' accepted reports in the same cell look like."""

    median_power: Watts
    median_duration: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What a report is held against, besides itself."""

    parameters: int
    weights_bytes: int
    """Bytes of weights read per generated token."""
    observed: Seconds | None
    """From the round's first block to the commitment, by the validator's clock; None when it
    was not there from the start."""
    baseline: Baseline | None
    earlier_energies_mj: tuple[int, ...]
    """The same miner's earlier reports in the same cell."""
    uuid_claims: int
    """Other hotkeys of this round that name one of these GPUs."""


def check_physics(report: Report, background: Background) -> tuple[Finding, ...]:
    """All findings on time and energy, hard ones first."""
    hardware = hardware_of(report.devices)
    energy = joules(report.energy_mj)
    duration = seconds_from_us(report.duration_us)
    hard = (
        check_leaf_times(report),
        check_time_floor(report, hardware, background),
        *check_observed_time(report, background),
        check_counters_run_forward(report),
        check_devices(report),
        bounded("device_sum_gap_mj", _device_sum_gap_mj(report), low=0, high=0, hard=True),
        check_leaf_sum(report, hardware),
        check_counter_edges(report, hardware),
        check_power_ceiling(report, hardware),
        bounded(
            "idle_floor_mj", report.energy_mj, low=_idle_floor_mj(hardware, duration), hard=True
        ),
        check_data_movement(report, hardware, background),
        *check_trace(report),
    )
    soft = (
        check_leaf_counters(report),
        check_bandwidth(report, hardware, background),
        *check_idle(report, hardware),
        *check_cell(energy, duration, background),
        *check_repeat(report, background),
        none_of("gpu_uuid_claim_count", background.uuid_claims, hard=False),
    )
    return hard + soft


def check_leaf_times(report: Report) -> Finding:
    """Check 7: do prompts follow each other within the window?"""
    leaves = report.leaves
    backwards = sum(leaf.end_us < leaf.start_us for leaf in leaves)
    overlaps = sum(later.start_us < earlier.end_us for earlier, later in pairwise(leaves))
    outside = int(leaves[-1].end_us > report.duration_us)
    return none_of("leaf_time_order_count", backwards + overlaps + outside)


def check_time_floor(report: Report, hardware: Hardware, background: Background) -> Finding:
    """Check 1: d >= N W / B + sum of max(W / B, prefill): reading the weights takes time."""
    once = hardware.weight_reading_time(background.weights_bytes, 1)
    tokens = sum(len(leaf.output_ids) for leaf in report.leaves)
    prefill = sum(
        max(once, hardware.prefill_time(background.parameters, leaf.input_tokens))
        for leaf in report.leaves
    )
    floor = Seconds(once * (tokens - len(report.leaves)) + prefill)
    low = microseconds(nanoseconds(floor))
    return bounded("time_floor_us", report.duration_us, low=low, hard=True)


def check_observed_time(report: Report, background: Background) -> tuple[Finding, ...]:
    """Check 2: the run fits between the round's first block and the commitment."""
    if background.observed is None:
        return ()
    high = microseconds(nanoseconds(Seconds(background.observed + _OBSERVED_SLACK)))
    return (bounded("observed_time_us", report.duration_us, high=high, hard=True),)


def check_counters_run_forward(report: Report) -> Finding:
    """Check 7: the energy counter never runs backwards, in the leaves or in its trace."""
    leaves = report.leaves
    count = sum(leaf.end_mj < leaf.start_mj for leaf in leaves)
    count += sum(later.start_mj < earlier.end_mj for earlier, later in pairwise(leaves))
    for device in report.device_energy:
        count += int(device.counter_end_mj < device.counter_start_mj)
        count += sum(later < earlier for earlier, later in pairwise(device.counter.energy_mj))
        count += sum(later < earlier for earlier, later in pairwise(device.counter.elapsed_us))
    return none_of("counter_backwards_count", count)


def check_devices(report: Report) -> Finding:
    """Is there one energy per device, and are its columns of equal length?"""
    named = [device.uuid for device in report.devices]
    measured = [device.uuid for device in report.device_energy]
    ragged = sum(not _is_even(device) for device in report.device_energy)
    return none_of(
        "device_mismatch_count", int(named != measured or len(set(named)) != len(named)) + ragged
    )


def check_leaf_sum(report: Report, hardware: Hardware) -> Finding:
    """Check 7: the prompts' counter values add up to the energy within the edges."""
    gap = report.leaves[-1].end_mj - report.energy_mj
    step = _edge_allowance_mj(report, hardware)
    return bounded("leaf_sum_gap_mj", gap, low=-step, high=step, hard=True)


def check_counter_edges(report: Report, hardware: Hardware) -> Finding:
    """Check 7: the raw counter's difference is the energy within the edges."""
    raw = sum(device.counter_end_mj - device.counter_start_mj for device in report.device_energy)
    step = _edge_allowance_mj(report, hardware)
    return bounded("counter_gap_mj", raw - report.energy_mj, low=-step, high=step, hard=True)


def check_power_ceiling(report: Report, hardware: Hardware) -> Finding:
    """Check 3: E <= 1.03 P_limit d, and a tick."""
    duration = seconds_from_us(report.duration_us)
    most = Joules(_CEILING * hardware.power_max * duration)
    tick = tick_energy(hardware.power_max, _longest_tick_us(report))
    high = millijoules(Joules(most + tick))
    return bounded("power_ceiling_mj", report.energy_mj, high=high, hard=True)


def check_data_movement(report: Report, hardware: Hardware, background: Background) -> Finding:
    """Check 5: E >= P_idle d_min + energy to read the weights for every token."""
    tokens = sum(len(leaf.output_ids) for leaf in report.leaves)
    shortest = hardware.weight_reading_time(background.weights_bytes, tokens)
    moved = hardware.weight_reading_energy(background.weights_bytes, tokens)
    low = millijoules(Joules(_IDLE_SHARE * hardware.idle_min * shortest + moved))
    return bounded("data_movement_floor_mj", report.energy_mj, low=low, hard=True)


def check_trace(report: Report) -> tuple[Finding, ...]:
    """Check 6: counter and integrated power agree; both come from the same liar."""
    traced = sum(
        trace_energy_mj(device.trace, report.duration_us) for device in report.device_energy
    )
    gap = PPM_ONE if traced == 0 else abs(_ratio_ppm(traced, report.energy_mj) - PPM_ONE)
    short = seconds_from_us(report.duration_us) < _SHORT_WINDOW
    high = _TRACE_GAP_SHORT_PPM if short else _TRACE_GAP_PPM
    return (
        bounded("trace_gap_ppm", gap, high=_TRACE_GAP_HARD_PPM, hard=True),
        bounded("trace_agreement_ppm", gap, high=high, hard=False),
    )


def check_leaf_counters(report: Report) -> Finding:
    """Check 7: at each prompt's end the counter stood where its own trace says it did.

    Only for one device, whose counter the leaves then are.
    """
    if len(report.device_energy) != 1:
        return none_of("leaf_counter_ppm", 0, hard=False)
    device = report.device_energy[0]
    wrong = sum(not _is_on_trace(leaf, device) for leaf in report.leaves)
    share = _ratio_ppm(wrong, len(report.leaves))
    high = parts_per_million(_LEAF_MISMATCH_SHARE)
    return bounded("leaf_counter_ppm", share, high=high, hard=False)


def check_bandwidth(report: Report, hardware: Hardware, background: Background) -> Finding:
    """Check 9: implied memory bandwidth N W / d, as a share of the hardware's."""
    tokens = sum(len(leaf.output_ids) for leaf in report.leaves)
    least = hardware.weight_reading_time(background.weights_bytes, tokens)
    duration = seconds_from_us(max(report.duration_us, 1))
    share = parts_per_million(least / duration)
    high = parts_per_million(_BANDWIDTH_SHARE)
    return bounded("bandwidth_share_ppm", share, high=high, hard=False)


def check_idle(report: Report, hardware: Hardware) -> tuple[Finding, ...]:
    """Check 11: idle power before and after is possible for the hardware."""
    findings = []
    for code, values in (
        ("idle_before_mw", [device.idle_before_mw for device in report.device_energy]),
        ("idle_after_mw", [device.idle_after_mw for device in report.device_energy]),
    ):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            low = milliwatts(Watts(_IDLE_SHARE * hardware.idle_min))
            high = milliwatts(hardware.power_max)
            findings.append(bounded(code, sum(known), low=low, high=high, hard=False))
    return tuple(findings)


def check_cell(energy: Joules, duration: Seconds, background: Background) -> tuple[Finding, ...]:
    """Checks 2 and 10: duration and mean power against the cell's other operators."""
    baseline = background.baseline
    if baseline is None or duration <= 0:
        return ()
    power = parts_per_million(energy / duration / baseline.median_power)
    longer = parts_per_million(duration / baseline.median_duration)
    return (
        bounded(
            "mean_power_ppm",
            power,
            low=parts_per_million(1 / _COHORT_BAND),
            high=parts_per_million(_COHORT_BAND),
            hard=False,
        ),
        bounded("duration_ppm", longer, high=parts_per_million(_DURATION_BAND), hard=False),
    )


def check_repeat(report: Report, background: Background) -> tuple[Finding, ...]:
    """Check 12: no two runs of one miner in one cell use the same energy to 0.05 %."""
    if not background.earlier_energies_mj:
        return ()
    closest = min(abs(report.energy_mj - earlier) for earlier in background.earlier_energies_mj)
    gap = _ratio_ppm(closest, max(report.energy_mj, 1))
    return (bounded("repeat_gap_ppm", gap, low=_REPEAT_MIN_PPM, hard=False),)


def trace_energy_mj(trace: PowerTrace, duration_us: int) -> int:
    """Trapezoid of the instant power over the window [0, duration] (mJ).

    Rows beyond the window's edges are cut by interpolation; where the trace begins late or
    ends early, its first or last power stands for the rest.
    """
    if not trace.elapsed_ms or len(trace.elapsed_ms) != len(trace.power_mw):
        return 0
    end_ms = duration_us / _US_PER_MS
    times = [0.0, *(float(at) for at in trace.elapsed_ms if 0 < at < end_ms), end_ms]
    powers = [_power_at(trace, at) for at in times]
    area = sum(
        (later - earlier) * (before + after) / 2
        for (earlier, later), (before, after) in zip(pairwise(times), pairwise(powers), strict=True)
    )
    return round(area / _US_PER_MS)


_US_PER_MS = 10**3
"""Also mW x ms in a mJ."""


def _power_at(trace: PowerTrace, at_ms: float) -> float:
    place = bisect_left(trace.elapsed_ms, at_ms)
    if place == 0:
        return float(trace.power_mw[0])
    if place == len(trace.elapsed_ms):
        return float(trace.power_mw[-1])
    left, right = trace.elapsed_ms[place - 1], trace.elapsed_ms[place]
    share = (at_ms - left) / (right - left)
    return trace.power_mw[place - 1] * (1 - share) + trace.power_mw[place] * share


def _is_on_trace(leaf: Leaf, device: DeviceEnergy) -> bool:
    counter = device.counter
    raw = device.counter_start_mj + leaf.end_mj
    slack = _COUNTER_SLACK_TICKS * device.tick_us
    before = bisect_right(counter.elapsed_us, leaf.end_us - slack) - 1
    after = bisect_left(counter.elapsed_us, leaf.end_us + slack)
    low = counter.energy_mj[before] if before >= 0 else None
    high = counter.energy_mj[after] if after < len(counter.energy_mj) else None
    return (low is None or low <= raw) and (high is None or raw <= high)


def _is_even(device: DeviceEnergy) -> bool:
    trace, counter = device.trace, device.counter
    columns = (trace.average_power_mw, trace.temperature_c, trace.sm_clock_mhz, trace.power_mw)
    rows = len(trace.elapsed_ms)
    ordered = all(earlier <= later for earlier, later in pairwise(trace.elapsed_ms))
    even = all(len(column) == rows for column in columns)
    return ordered and even and len(counter.elapsed_us) == len(counter.energy_mj)


def _device_sum_gap_mj(report: Report) -> int:
    return sum(device.energy_mj for device in report.device_energy) - report.energy_mj


def _edge_allowance_mj(report: Report, hardware: Hardware) -> int:
    seen_mw = [power for device in report.device_energy for power in device.trace.power_mw]
    peak = watts(_PEAK_MARGIN * max(seen_mw, default=0)) or hardware.power_max
    power = Watts(min(hardware.power_max, peak * len(report.device_energy)))
    ticks = tick_energy(power, _EDGE_TICKS * _longest_tick_us(report))
    return millijoules(Joules(ticks + _EDGE_SHARE * joules(report.energy_mj)))


def _longest_tick_us(report: Report) -> int:
    longest = max((device.tick_us for device in report.device_energy), default=0)
    return min(longest, _TICK_MAX_US)


def _idle_floor_mj(hardware: Hardware, duration: Seconds) -> int:
    return millijoules(Joules(_IDLE_SHARE * hardware.idle_min * duration))


def _ratio_ppm(part: int, whole: int) -> int:
    return part * PPM_ONE // max(whole, 1)
