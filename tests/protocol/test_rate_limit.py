"""Buckets of tokens: a burst, a rate, and no memory without bound."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.rate_limit import RateLimit


def limit(clock: list[float], *, per_second: float = 2.0, burst: int = 3) -> RateLimit:
    return RateLimit(per_second=per_second, burst=burst, now=lambda: clock[0])


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    clock = [0.0]
    limited = limit(clock)

    assert [limited.wait_seconds("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock[0] = 0.5
    assert limited.wait_seconds("a") == 0.0
    assert limited.wait_seconds("a") > 0


def test_callers_do_not_share() -> None:
    limited = limit([0.0], burst=1)

    assert limited.wait_seconds("a") == 0.0
    assert limited.wait_seconds("a") > 0
    assert limited.wait_seconds("b") == 0.0


def test_only_so_many_callers_are_known() -> None:
    limited = limit([0.0])
    for number in range(10_000):
        limited.wait_seconds(str(number))

    assert len(limited._buckets) == 4_096


@given(st.lists(st.floats(0, 3), max_size=60))
def test_no_caller_gets_more_than_burst_and_rate(pauses: list[float]) -> None:
    clock = [0.0]
    limited = limit(clock)
    taken = 0
    for pause in pauses:
        clock[0] += pause
        taken += limited.wait_seconds("a") == 0.0

    assert taken <= 3 + 2.0 * clock[0] + 1e-6
