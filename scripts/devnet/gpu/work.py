"""Power that follows the process's real work: idle watts, and watts per busy CPU."""

import threading
from bisect import bisect_right
from collections.abc import Callable

from protocol.units import Joules, Seconds, Watts

_KEPT_SECONDS = 40.0
"""How far back the energy can be asked for; the longest sensor window is 30 s."""


class WorkSource:
    """Energy from the CPU time of this process and its threads.

    CPU time is taken whenever a reading is made and interpolated in between, so the energy is
    monotone, needs no thread of its own, and is the same for whoever asks again.

    Args:
        idle: Power with no work (W).
        per_cpu: Power on top while one CPU is busy (W).
        cpu_seconds: CPU time of the process so far (s).
    """

    def __init__(self, *, idle: Watts, per_cpu: Watts, cpu_seconds: Callable[[], float]) -> None:
        self._idle = idle
        self._per_cpu = per_cpu
        self._cpu_seconds = cpu_seconds
        self._origin_seconds = cpu_seconds()
        self._times = [0.0]
        self._cpu = [0.0]
        # The meter's own thread and the work's ask at once.
        self._lock = threading.Lock()

    def observe(self, at: Seconds) -> None:
        """Take the CPU time now, which is `at`."""
        with self._lock:
            if at <= self._times[-1]:
                return
            self._times.append(at)
            self._cpu.append(max(self._cpu[-1], self._cpu_seconds() - self._origin_seconds))
            stale = bisect_right(self._times, at - _KEPT_SECONDS) - 1
            if stale > len(self._times) // 2:
                del self._times[:stale], self._cpu[:stale]

    def energy(self, at: Seconds) -> Joules:
        """Energy drawn between time zero and `at`; idle before the first observation."""
        return Joules(self._idle * at + self._per_cpu * self._cpu_at(at))

    def _cpu_at(self, at: float) -> float:
        with self._lock:
            upper = bisect_right(self._times, at)
            if upper == 0:
                return self._cpu[0]
            if upper == len(self._times):
                return self._cpu[-1]
            start, end = self._times[upper - 1], self._times[upper]
            before, after = self._cpu[upper - 1], self._cpu[upper]
        return before + (at - start) / (end - start) * (after - before)
