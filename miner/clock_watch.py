"""A watch on the clock that windows are timed with.

All times come from the monotonic clock, so a wall clock that steps (NTP, an operator, a leap
second) changes no figure. What does is a machine that sleeps in the window: the monotonic clock
stands still then, while GPU and energy counter need not. The boot-time clock goes on, and the
difference shows it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from protocol.errors import MeasurementError
from protocol.units import seconds

_TOLERANCE_NS = 100_000_000
"""The two clocks are read one after the other, on a machine that may be busy."""


class ClockJumpedError(MeasurementError):
    """The machine slept while the window was open."""


def slept_ns() -> int:
    """How long this machine has slept since it started (ns): boot-time less monotonic clock."""
    before_ns = time.monotonic_ns()
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before_ns


@contextmanager
def steady_clock(read: Callable[[], int] = slept_ns) -> Iterator[None]:
    """Refuse a window in which the machine slept.

    Args:
        read: How long the machine has slept so far (ns).

    Raises:
        ClockJumpedError: On leaving, if it slept within.
    """
    before_ns = read()
    yield
    jump_ns = read() - before_ns
    if abs(jump_ns) > _TOLERANCE_NS:
        raise ClockJumpedError(
            f"the machine slept for {seconds(jump_ns):.1f} s while the window was open",
            hint="Turn suspend off on this machine (systemd-inhibit does it for one command).",
        )
