"""Real time: a monotonic clock, and a thread that repeats a step."""

import threading

from miner.timer import SystemTimer

PATIENCE_SECONDS = 20.0


def test_a_step_is_repeated_until_it_is_stopped() -> None:
    thrice, count = threading.Event(), [0]

    def step() -> float:
        count[0] += 1
        if count[0] == 3:
            thrice.set()
        return 0.001

    background = SystemTimer().repeat(step)

    assert thrice.wait(PATIENCE_SECONDS)
    assert background.is_alive
    background.stop()
    stopped_at = count[0]
    SystemTimer().sleep(0.01)
    assert count[0] == stopped_at


def test_a_step_ends_the_repetition_itself() -> None:
    background = SystemTimer().repeat(lambda: None)

    background.stop()

    assert not background.is_alive


def test_waking_runs_the_next_step_before_it_is_due() -> None:
    second, count = threading.Event(), [0]

    def step() -> float:
        count[0] += 1
        if count[0] == 2:
            second.set()
        return 3600.0

    background = SystemTimer().repeat(step)
    background.wake()

    assert second.wait(PATIENCE_SECONDS)
    background.stop()


def test_time_goes_on() -> None:
    timer = SystemTimer()
    before_ns = timer.now_ns()
    timer.sleep(0.01)

    assert timer.now_ns() - before_ns >= 10_000_000
