"""Counter ticks and edges: the arithmetic of the meter, on a counter whose truth is known."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.counter import (
    Edges,
    Energy,
    closing_edge,
    coverage_factor,
    edge_ticks,
    energy_between,
    interpolated_edge,
    opening_edge,
)
from miner.refusals import (
    EdgesUnknownError,
)
from miner.ticks import Reading, Tick, TickCalibration, find_ticks
from protocol.units import Seconds, Watts, nanoseconds, seconds
from scripts.bench.loads import IDLE_WATTS, language_model
from scripts.devnet.gpu.config import Segment
from scripts.devnet.gpu.curve import PowerCurve
from tests.support.metering import chance_of, meter_bench, virtual_timer

PERIOD_NS = 100_000_000
CALIBRATION = TickCalibration(period_ns=PERIOD_NS, jitter_ns=0, drift_ns=0.0, count=10)


def reading(at_ns: int, energy_mj: int) -> Reading:
    return Reading(before_ns=at_ns, after_ns=at_ns, energy_mj=energy_mj)


@dataclass(frozen=True)
class Counter:
    """A counter over a known curve: 1 s idle, the load, 1 s idle; scaled."""

    window_seconds: float
    phase: float
    scale: float = 1.0
    idle_watts: float = IDLE_WATTS
    lead_seconds: float = 1.0

    @property
    def curve(self) -> PowerCurve:
        curve = PowerCurve(Watts(self.idle_watts))
        curve.play(language_model(self.window_seconds), at=Seconds(self.lead_seconds))
        return curve

    @property
    def window(self) -> tuple[int, int]:
        end_seconds = self.lead_seconds + self.window_seconds
        return nanoseconds(Seconds(self.lead_seconds)), nanoseconds(Seconds(end_seconds))

    @property
    def truth_mj(self) -> float:
        curve, (start_ns, end_ns) = self.curve, self.window
        return 1e3 * self.scale * (curve.energy(seconds(end_ns)) - curve.energy(seconds(start_ns)))

    def readings(self, chance: random.Random) -> list[Reading]:
        """Polled every 0.2 to 1.2 ms, in a random order."""
        curve, found, at_ns = self.curve, [], 0
        until_ns = self.window[1] + 1_000_000_000
        while at_ns < until_ns:
            found.append(reading(at_ns, self._shown_mj(curve, at_ns)))
            at_ns += chance.randrange(200_000, 1_200_000)
        chance.shuffle(found)
        return found

    def _shown_mj(self, curve: PowerCurve, at_ns: int) -> int:
        turns = (at_ns - self.phase * PERIOD_NS) // PERIOD_NS
        ticked_ns = turns * PERIOD_NS + self.phase * PERIOD_NS
        return 10_000_000 + round(self.scale * 1e3 * curve.energy(seconds(ticked_ns)))


def measured(counter: Counter, seed: int = 0) -> Energy:
    ticks = find_ticks(counter.readings(chance_of(seed)))
    start_ns, end_ns = counter.window
    return energy_between(
        opening_edge(ticks, start_ns, CALIBRATION), closing_edge(ticks, end_ns, CALIBRATION)
    )


phases = st.floats(min_value=0.0, max_value=0.999)
few = settings(max_examples=20)
"""Each example polls a counter for seconds."""
seeds = st.integers(min_value=0, max_value=10_000)
lengths = st.floats(min_value=0.2, max_value=2.0)


@few
@given(phase=phases, seed=seeds, length=lengths)
def test_any_phase_and_order_of_readings_gives_the_truth_within_the_polling(
    phase: float, seed: int, length: float
) -> None:
    counter = Counter(window_seconds=length, phase=phase)

    energy = measured(counter, seed)

    assert abs(energy.energy_mj - counter.truth_mj) <= 3 * energy.half_width_mj + 2
    assert energy.half_width_mj <= 4 * IDLE_WATTS


@few
@given(phase=phases, scale=st.floats(min_value=0.5, max_value=20.0))
def test_scaling_the_curve_scales_the_energy(phase: float, scale: float) -> None:
    plain = measured(Counter(window_seconds=0.5, phase=phase))
    scaled = measured(Counter(window_seconds=0.5, phase=phase, scale=scale))

    assert scaled.energy_mj == pytest.approx(scale * plain.energy_mj, abs=2 + 2 * scale)


@few
@given(phase=phases, lead=st.integers(min_value=10, max_value=30))
def test_a_longer_idle_edge_changes_nothing(phase: float, lead: int) -> None:
    short = measured(Counter(window_seconds=0.5, phase=phase))
    longer = measured(Counter(window_seconds=0.5, phase=phase, lead_seconds=lead / 10))

    difference = abs(short.energy_mj - longer.energy_mj)

    assert difference <= short.half_width_mj + longer.half_width_mj + 2


@few
@given(phase=phases, cut=st.floats(min_value=0.2, max_value=0.8), seed=seeds)
def test_adjoining_windows_add_up(phase: float, cut: float, seed: int) -> None:
    counter = Counter(window_seconds=2.0, phase=phase)
    ticks = find_ticks(counter.readings(chance_of(seed)))
    start_ns, end_ns = counter.window
    middle_ns = start_ns + round(cut * (end_ns - start_ns))
    first, middle, last = (
        interpolated_edge(ticks, at_ns, CALIBRATION) for at_ns in (start_ns, middle_ns, end_ns)
    )

    whole = energy_between(first, last).energy_mj
    parts = energy_between(first, middle).energy_mj + energy_between(middle, last).energy_mj

    assert parts == pytest.approx(whole, abs=1e-6)


def test_an_edge_without_ticks_beside_it_is_unknown() -> None:
    tick = Tick(earliest_ns=0, latest_ns=1, energy_mj=1)

    with pytest.raises(EdgesUnknownError):
        opening_edge([tick], 10, CALIBRATION)
    with pytest.raises(EdgesUnknownError):
        interpolated_edge([tick], 10, CALIBRATION)


def test_a_badly_timed_tick_is_passed_over_at_a_quiet_edge() -> None:
    """80 W flat, and one tick whose poll came 40 ms late: the others carry the edge."""
    ticks = [
        Tick(earliest_ns=n * PERIOD_NS, latest_ns=n * PERIOD_NS + 100_000, energy_mj=8_000 * n)
        for n in range(1, 8)
    ]
    ticks[0] = Tick(earliest_ns=PERIOD_NS, latest_ns=PERIOD_NS + 40_000_000, energy_mj=8_000)

    edge = closing_edge(ticks, PERIOD_NS // 2, CALIBRATION)

    assert edge.energy_mj == pytest.approx(4_000, abs=8)
    assert edge.steadiness.blur_mw < 200


def test_changes_that_cannot_be_told_apart_are_no_edge() -> None:
    ticks = [
        Tick(earliest_ns=10, latest_ns=10, energy_mj=1),
        Tick(earliest_ns=0, latest_ns=20_000_000, energy_mj=2),
    ]
    calibration = TickCalibration(period_ns=10, jitter_ns=10**9, drift_ns=0.0, count=10)

    edge = interpolated_edge(ticks, 10, calibration)
    with pytest.raises(EdgesUnknownError):
        interpolated_edge([ticks[1], ticks[1]], 10_000_000, calibration)

    assert edge.half_widths_mj


def test_a_blurred_tick_after_a_busy_edge_is_placed_by_the_sharp_one_before() -> None:
    start = Tick(earliest_ns=0, latest_ns=0, energy_mj=0)
    seen_late = Tick(earliest_ns=20_000_000, latest_ns=180_000_000, energy_mj=40_000)

    edge = interpolated_edge([start, seen_late], 50_000_000, CALIBRATION)

    assert edge.energy_mj == pytest.approx(20_000, rel=1e-6)


def test_a_span_of_two_ticks_ends_with_the_second() -> None:
    start = Tick(earliest_ns=0, latest_ns=0, energy_mj=0)
    seen_later = Tick(earliest_ns=20_000_000, latest_ns=260_000_000, energy_mj=80_000)

    edge = interpolated_edge([start, seen_later], 70_000_000, CALIBRATION)

    assert edge.energy_mj == pytest.approx(28_000, rel=1e-6)


@pytest.mark.parametrize(
    ("half_widths", "factor"), [([1.0], 1.645), ([1.0, 1.0], 1.902), ([1.0] * 100, 1.960)]
)
def test_coverage_factor_meets_its_three_exact_points(
    half_widths: list[float], factor: float
) -> None:
    assert coverage_factor(half_widths) == pytest.approx(factor, abs=0.002)


@given(st.lists(st.floats(min_value=0.001, max_value=1.0), min_size=1, max_size=6), seeds)
def test_coverage_factor_holds_for_any_mix_of_uniform_errors(
    half_widths: list[float], seed: int
) -> None:
    chance = chance_of(seed)
    deviation = (sum(width**2 for width in half_widths) / 3) ** 0.5
    limit = coverage_factor(half_widths) * deviation

    sums = [abs(sum(chance.uniform(-w, w) for w in half_widths)) for _ in range(1_000)]

    assert 0.92 <= sum(error <= limit for error in sums) / 1_000 <= 0.98


def test_fast_counters_get_more_ticks_at_an_edge() -> None:
    fast = TickCalibration(period_ns=10_000_000, jitter_ns=0, drift_ns=0.0, count=10)

    assert edge_ticks(CALIBRATION) < edge_ticks(fast)


@pytest.mark.timeout(600)
def test_the_stated_interval_covers_the_truth_in_95_of_100_windows() -> None:
    """1,000 windows of 0.2 to 0.7 s, idle power unsteady by 0.5 to 4 W, polls late at random."""
    chance, covered, windows = chance_of(5), 0, 1_000
    with meter_bench(timer=virtual_timer(6)) as bench:
        bench.meter.calibrate()
        for _ in range(windows):
            idle_watts, noise_watts = chance.uniform(60, 120), chance.uniform(0.5, 4)
            bench.device.play(_unsteady(chance, idle_watts, noise_watts))
            bench.timer.sleep(chance.uniform(0.1, 0.2))
            length = chance.uniform(0.2, 0.7)
            with bench.meter.window(edges=Edges.IDLE) as window:
                quiet = _unsteady(chance, idle_watts, noise_watts)
                bench.device.play((*language_model(length), *quiet))
                bench.timer.sleep(length)
            truth = bench.device.true_energy(window.start_ns, window.end_ns)
            covered += abs(window.measurement.energy - truth) <= window.measurement.half_width

    assert 0.93 <= covered / windows <= 0.97


def _unsteady(chance: random.Random, mean_watts: float, deviation_watts: float) -> list[Segment]:
    powers = [chance.gauss(mean_watts, deviation_watts) for _ in range(70)]
    return [Segment(duration_seconds=0.02, start_watts=power, end_watts=power) for power in powers]
