"""From readings to a measurement: sums, cross-checks, flags, refusals."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.counter import Edges
from miner.measurement import (
    DeviceReadings,
    Flag,
    Measurement,
    Method,
    measure_window,
    refuse_unless_consistent,
)
from miner.power_trace import TraceRow
from miner.refusals import (
    CounterJumpedError,
    EdgesUnknownError,
    TraceApartError,
    WindowTooShortError,
)
from miner.ticks import Reading, Tick, TickCalibration
from protocol.ids import GpuUuid
from protocol.units import Seconds

TICK_NS = 100_000_000
START_NS, END_NS = 10 * TICK_NS, 60 * TICK_NS
"""A window of 5 s."""
CALIBRATION = TickCalibration(period_ns=TICK_NS, jitter_ns=0, drift_ns=0.0, count=10)
IDLE_MJ, BUSY_MJ = 8_000, 40_000
"""Energy per tick at 80 W and at 400 W."""


def counter_mj(number: int) -> int:
    """Counter after so many ticks: idle, 50 ticks busy, idle."""
    busy = min(max(number - 10, 0), 50)
    return 1_000_000 + IDLE_MJ * (number - busy) + BUSY_MJ * busy


def row(number: int, power_mw: int) -> TraceRow:
    return TraceRow(
        at_ns=number * TICK_NS + TICK_NS // 2,
        power_mw=power_mw,
        average_power_mw=power_mw,
        temperature_c=50,
        sm_clock_mhz=1980,
    )


def readings(trace_mw: int = 400_000, uuid: str = "GPU-a") -> DeviceReadings:
    def at(at_ns: int, number: int) -> Reading:
        return Reading(before_ns=at_ns, after_ns=at_ns, energy_mj=counter_mj(number))

    return DeviceReadings(
        uuid=GpuUuid(uuid),
        start=at(START_NS, 10),
        end=at(END_NS, 60),
        ticks=[
            Tick(
                earliest_ns=n * TICK_NS - 1_000,
                latest_ns=n * TICK_NS,
                energy_mj=counter_mj(n),
            )
            for n in range(1, 71)
        ],
        rows=[row(n, trace_mw if 10 <= n < 60 else 80_000) for n in range(1, 70)],
        calibration=CALIBRATION,
        power_limit_mw=700_000,
    )


def measured(*devices: DeviceReadings, edges: Edges = Edges.IDLE) -> Measurement:
    return measure_window(devices or [readings()], start_ns=START_NS, end_ns=END_NS, edges=edges)


def test_a_window_has_energy_duration_and_powers() -> None:
    result = measured()

    assert result.energy == pytest.approx(2_000, rel=1e-5)
    assert result.energy_mj == pytest.approx(2_000_000, rel=1e-5)
    assert result.duration == Seconds(5)
    assert result.duration_us == 5_000_000
    assert result.mean_power == pytest.approx(400, rel=1e-5)
    assert result.net_energy == pytest.approx(1_600, rel=1e-4)
    assert result.method is Method.COUNTER
    assert result.flags == ()
    assert result.systematic_ppm == 50_000
    part = result.devices[0]
    assert part.peak_power == pytest.approx(400)
    assert part.idle_before == pytest.approx(80, rel=1e-3)
    assert part.trace_energy == pytest.approx(2_000, rel=0.02)
    assert (part.counter_start_mj, part.counter_end_mj) == (counter_mj(10), counter_mj(60))


def test_interval_and_deviation_are_small_and_positive() -> None:
    result = measured()

    assert 0 < result.deviation < result.half_width < 0.01
    assert result.deviation_ppm < 5


def test_devices_add_up_and_their_uncertainties_in_quadrature() -> None:
    one, two = measured(), measured(readings(), readings(uuid="GPU-b"))

    assert two.energy == pytest.approx(2 * one.energy)
    assert two.half_width == pytest.approx(2**0.5 * one.half_width)


def test_busy_edges_share_the_tick_out() -> None:
    result = measured(edges=Edges.BUSY)

    assert result.devices[0].edges is Edges.BUSY
    assert result.energy == pytest.approx(2_000, rel=1e-3)
    assert result.devices[0].idle_before is None
    assert result.net_energy is None


@pytest.mark.parametrize(
    ("trace_mw", "apart"), [(400_000, False), (385_000, True), (280_000, True)]
)
def test_trace_and_counter_are_compared(trace_mw: int, apart: bool) -> None:
    """At 5 s two ticks are 4 %; the rows at both edges are half idle."""
    result = measured(readings(trace_mw))

    assert (Flag.TRACE_APART in result.flags) is apart
    if apart:
        with pytest.raises(TraceApartError):
            refuse_unless_consistent(result)
    else:
        refuse_unless_consistent(result)


def test_a_window_without_trace_is_flagged() -> None:
    assert Flag.TRACE_MISSING in measured(replace(readings(), rows=[])).flags


def test_a_rise_that_no_board_can_draw_is_refused() -> None:
    with pytest.raises(CounterJumpedError, match="limited to 150 W"):
        measured(replace(readings(), power_limit_mw=150_000))


def test_a_board_without_a_known_limit_is_measured() -> None:
    assert measured(replace(readings(), power_limit_mw=None)).energy > 0


def test_a_window_below_a_tick_is_refused() -> None:
    with pytest.raises(WindowTooShortError):
        measure_window(
            [readings()], start_ns=START_NS, end_ns=START_NS + TICK_NS // 2, edges=Edges.IDLE
        )


def test_a_trace_that_does_not_cover_the_window_is_refused() -> None:
    bare = replace(readings(), start=None, end=None, rows=[row(30, 400_000)])

    with pytest.raises(EdgesUnknownError):
        measured(bare)


def test_a_trace_tier_marks_the_whole_measurement() -> None:
    bare = replace(readings(uuid="GPU-b"), start=None, end=None)

    result = measured(readings(), bare)

    assert result.method is Method.TRACE
    assert [part.method for part in result.devices] == [Method.COUNTER, Method.TRACE]


@given(flags=st.lists(st.sampled_from(list(Flag)), unique=True))
def test_flags_of_devices_are_flags_of_the_whole_in_one_order(flags: list[Flag]) -> None:
    result = measured(replace(readings(), flags=tuple(flags)))

    assert list(result.flags) == [flag for flag in Flag if flag in flags]
