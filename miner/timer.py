"""Time as the meter needs it: a monotonic clock, sleep, and something repeated beside the work."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

_YIELD_SECONDS = 0.00005
"""Shortest pause of a repeated step. A thread that polls without any keeps the interpreter for
5 ms at a time, and the work that is metered would start so much late."""

Step = Callable[[], float | None]
"""One repetition; gives the seconds until the next, or None to end."""


class Background(Protocol):
    """Something that is repeated beside the work."""

    @property
    def is_alive(self) -> bool:
        """Whether it is still being repeated."""
        ...

    def wake(self) -> None:
        """Run the next step now instead of when it is due."""
        ...

    def stop(self) -> None:
        """End it; returns once no step runs any more."""
        ...


class Timer(Protocol):
    """Real time, or virtual time in tests."""

    def now_ns(self) -> int:
        """Monotonic time."""
        ...

    def sleep(self, duration_seconds: float) -> None:
        """Wait."""
        ...

    def repeat(self, step: Step) -> Background:
        """Repeat a step beside the work, from now on."""
        ...


class SystemTimer:
    """The machine's monotonic clock, and a thread for what is repeated."""

    def now_ns(self) -> int:
        """Monotonic time."""
        return time.monotonic_ns()

    def sleep(self, duration_seconds: float) -> None:
        """Wait."""
        time.sleep(duration_seconds)

    def repeat(self, step: Step) -> Background:
        """Repeat a step in a thread of its own."""
        return _Thread(step)


class _Thread:
    def __init__(self, step: Step) -> None:
        self._step = step
        self._called = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="meter-sampler", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        self._called.set()

    def stop(self) -> None:
        self._stopping = True
        self._called.set()
        self._thread.join()

    def _run(self) -> None:
        wait = self._step()
        while wait is not None:
            self._called.wait(max(wait, _YIELD_SECONDS))
            self._called.clear()
            if self._stopping:
                return
            wait = self._step()
