"""A machine that sleeps in the window, and a wall clock that steps."""

import time

import pytest

from miner.clock_watch import ClockJumpedError, slept_ns, steady_clock
from miner.local_run import RefusedMeter
from miner.outcome import reason_of
from miner.refusals import CounterStuckError
from protocol.errors import MeasurementError


def clock(*readings_ns: int) -> object:
    left = list(readings_ns)
    return lambda: left.pop(0)


def test_a_machine_that_slept_in_the_window_gives_no_number() -> None:
    with (
        pytest.raises(ClockJumpedError, match=r"slept for 90\.0 s") as caught,
        steady_clock(clock(5_000_000_000, 95_000_000_000)),  # type: ignore[arg-type]
    ):
        pass
    assert "suspend" in caught.value.hint
    assert reason_of(caught.value) == "clock_jumped"


def test_sleep_before_the_window_does_not_matter() -> None:
    with steady_clock(clock(7_000_000_000, 7_000_050_000)):  # type: ignore[arg-type]
        pass


def test_this_machine_is_awake() -> None:
    before_ns = slept_ns()
    time.sleep(0.01)

    assert abs(slept_ns() - before_ns) < 100_000_000


def test_a_wall_clock_that_steps_changes_no_time_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hour_ns = 3_600_000_000_000
    real_ns = time.time_ns
    stamps: list[tuple[int, int | None]] = []

    def work(stamp: object) -> None:
        stamps.append(stamp())  # type: ignore[operator]
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() - hour_ns)
        monkeypatch.setattr(time, "time", lambda: real_ns() / 1e9 - 3_600)
        stamps.append(stamp())  # type: ignore[operator]

    with pytest.raises(MeasurementError):
        RefusedMeter(CounterStuckError("it stands")).measure(work, lambda: None)

    (before_us, _), (after_us, _) = stamps
    assert 0 <= after_us - before_us < 60_000_000
