"""The counter's ticks: found in readings, timed, and placed on their grid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.refusals import CounterBackwardsError, CounterResetError, CounterStuckError
from miner.ticks import (
    Reading,
    Tick,
    TickCalibration,
    best_timed,
    calibrate_tick,
    find_ticks,
    placed_on_grid,
    tick_between,
)
from tests.support.metering import chance_of

PERIOD_NS = 100_000_000
CALIBRATION = TickCalibration(period_ns=PERIOD_NS, jitter_ns=0, drift_ns=0.0, count=10)


def reading(at_ns: int, energy_mj: int) -> Reading:
    return Reading(before_ns=at_ns, after_ns=at_ns, energy_mj=energy_mj)


def tick(earliest_ns: int, latest_ns: int, energy_mj: int = 0) -> Tick:
    return Tick(earliest_ns=earliest_ns, latest_ns=latest_ns, energy_mj=energy_mj)


@given(values=st.lists(st.integers(min_value=0, max_value=500), min_size=2, max_size=50))
def test_every_change_becomes_one_tick(values: list[int]) -> None:
    total, readings = 1_000, []
    for index, rise in enumerate(values):
        total += rise
        readings.append(reading(index * 10, total))

    ticks = find_ticks(readings)

    assert [tick.energy_mj for tick in ticks] == sorted({r.energy_mj for r in readings})[1:]


def test_a_fall_to_near_zero_is_a_reset() -> None:
    with pytest.raises(CounterResetError):
        tick_between(reading(0, 1_000_000), reading(1, 1_000))


def test_any_other_fall_is_backwards() -> None:
    with pytest.raises(CounterBackwardsError):
        tick_between(reading(0, 1_000_000), reading(1, 999_999))


def test_a_known_period_narrows_a_change_seen_late() -> None:
    tick = tick_between(reading(0, 1), reading(5 * PERIOD_NS, 2), CALIBRATION)

    assert tick == Tick(earliest_ns=4 * PERIOD_NS, latest_ns=5 * PERIOD_NS, energy_mj=2)


def test_calibration_counts_missed_ticks_as_whole_periods() -> None:
    at = [0, 1, 2, 3, 6, 7, 8]
    ticks = [Tick(earliest_ns=n * PERIOD_NS, latest_ns=n * PERIOD_NS, energy_mj=n) for n in at]

    calibration = calibrate_tick(ticks)

    assert (calibration.period_ns, calibration.jitter_ns, calibration.count) == (PERIOD_NS, 0, 6)
    assert calibration.drift_ns < 1


def test_late_polls_do_not_tilt_the_period() -> None:
    """As on a busy machine: one change in five is seen up to 8 ms late, the last one too."""
    chance, period_ns, ticks = chance_of(3), 10_000_000, []
    for number in range(101):
        late_ns = 8_000_000 if number == 100 or chance.random() < 0.2 else 50_000
        seen_ns = number * period_ns + round(late_ns * chance.random())
        ticks.append(Tick(earliest_ns=seen_ns - late_ns, latest_ns=seen_ns, energy_mj=number))

    calibration = calibrate_tick(ticks)

    assert calibration.period_ns == pytest.approx(period_ns, rel=3e-5)
    assert calibration.jitter_ns < 50_000
    assert abs(calibration.period_ns - period_ns) < 4 * calibration.drift_ns + 1


def test_a_counter_that_hardly_moves_is_stuck() -> None:
    with pytest.raises(CounterStuckError):
        calibrate_tick([Tick(earliest_ns=0, latest_ns=1, energy_mj=1)] * 2)


def test_calibration_tells_jitter_from_late_polls() -> None:
    chance = chance_of(1)
    polled, jittered = [], []
    for number in range(200):
        late_ns = chance.randrange(0, 2_000_000)
        polled.append(tick(number * PERIOD_NS + late_ns - 2_000_000, number * PERIOD_NS + late_ns))
        at_ns = number * PERIOD_NS + chance.randrange(-2_000_000, 2_000_000)
        jittered.append(tick(at_ns, at_ns))

    assert calibrate_tick(polled).jitter_ns < 600_000
    assert calibrate_tick(jittered).jitter_ns > 1_000_000
    assert calibrate_tick(polled).period_ns == pytest.approx(PERIOD_NS, rel=1e-4)
    assert calibrate_tick(polled).drift_ns < 10_000


@given(
    late=st.lists(st.integers(min_value=0, max_value=90_000_000), min_size=2, max_size=10),
    sharp=st.integers(min_value=0, max_value=9),
)
def test_late_ticks_are_placed_where_they_came(late: list[int], sharp: int) -> None:
    sharp %= len(late)
    seen = []
    for number, late_ns in enumerate(late):
        at_ns = number * PERIOD_NS
        seen.append(tick(at_ns, at_ns) if number == sharp else tick(at_ns - 1, at_ns + late_ns))

    placed = placed_on_grid(seen, CALIBRATION)

    for number, one in enumerate(placed):
        assert one.earliest_ns <= number * PERIOD_NS <= one.latest_ns
        assert one.half_width_ns <= seen[number].half_width_ns


def test_a_tick_off_the_grid_stays_as_it_was_seen() -> None:
    off = tick(130_000_000, 140_000_000)

    assert placed_on_grid([tick(0, 0), off], CALIBRATION) == [tick(0, 0), off]


def test_a_tick_seen_when_the_next_was_due_is_told_by_its_follower() -> None:
    """Read 1 ms after 200 ms, with 2 ms of slack: the tick of 100 ms, or that of 200 ms?"""
    calibration = TickCalibration(period_ns=PERIOD_NS, jitter_ns=600_000, drift_ns=0.0, count=10)
    seen = tick(105_000_000, 201_000_000)

    at_300 = placed_on_grid([tick(0, 0), seen, tick(290_000_000, 301_000_000)], calibration)
    unknown = placed_on_grid([tick(0, 0), seen], calibration)

    assert at_300[1].earliest_ns == pytest.approx(200_000_000, abs=2_000_000)
    assert unknown[1] == seen


def test_nothing_is_placed_from_nothing() -> None:
    assert placed_on_grid([], CALIBRATION) == []


def test_badly_timed_ticks_are_told_apart() -> None:
    sharp = [tick(0, 10), tick(100, 115), tick(300, 312)]

    assert best_timed([sharp[0], sharp[1], tick(200, 290), sharp[2]]) == sharp


def test_starved_polling_does_not_miscount_the_ticks() -> None:
    """Half of the changes are missed, and the rest seen within 0.1 ms."""
    chance, period_ns = chance_of(4), 10_000_000
    seen = [number for number in range(200) if chance.random() < 0.5]
    ticks = [
        Tick(earliest_ns=n * period_ns - 100_000, latest_ns=n * period_ns, energy_mj=n)
        for n in seen
    ]

    calibration = calibrate_tick(ticks)

    assert calibration.period_ns == pytest.approx(period_ns, rel=1e-5)
    assert calibration.jitter_ns < 100_000


def test_two_ticks_never_share_a_place_on_the_grid() -> None:
    """Only one was due in the time of both: the grid does not fit."""
    anchor = Tick(earliest_ns=0, latest_ns=0, energy_mj=0)
    first = Tick(earliest_ns=2_000_000, latest_ns=19_000_000, energy_mj=10)
    second = Tick(earliest_ns=9_500_000, latest_ns=19_500_000, energy_mj=20)
    calibration = TickCalibration(period_ns=10_000_000, jitter_ns=0, drift_ns=0.0, count=100)

    placed = placed_on_grid([anchor, first, second], calibration)

    assert placed == [anchor, first, second]
