"""How often a caller may ask, in memory: the generic cell rate algorithm (ITU-T I.371).

It grants what a token bucket grants, with one number a caller: when its grants so far would have
been used up at the steady rate. Pure: the time is given. One process holds one table, so a node
that runs several processes grants the sum of theirs.
"""

from dataclasses import dataclass
from operator import itemgetter

MAX_CALLERS = 20_000
"""Callers remembered; beyond, the half that used the least of theirs starts with a full burst."""
_TOLERANCE_SECONDS = 1e-6
"""Sums of intervals are not exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A steady rate with room for bursts.

    Attributes:
        per_minute: Requests a minute that are granted for ever (> 0).
        burst: Requests that are granted at once after silence (>= 1).
    """

    per_minute: float
    burst: int


class Limiter:
    """Grants or delays requests by caller."""

    def __init__(self) -> None:
        self._used_up: dict[str, float] = {}
        """Monotonic time until which each caller's grants reach; past for whoever is silent."""

    def wait_seconds(self, caller: str, rate: Rate, now_seconds: float) -> float:
        """Take one grant; 0 when there was one, else the time until there is.

        Args:
            caller: Whose: an address or a key's name.
            rate: What this caller is granted.
            now_seconds: Monotonic time.
        """
        interval_seconds = 60.0 / rate.per_minute
        ahead_seconds = max(0.0, self._used_up.get(caller, 0.0) - now_seconds)
        wait_seconds = ahead_seconds - (rate.burst - 1) * interval_seconds
        if wait_seconds > _TOLERANCE_SECONDS:
            return wait_seconds
        self._used_up[caller] = now_seconds + ahead_seconds + interval_seconds
        if len(self._used_up) > MAX_CALLERS:
            self._forget()
        return 0.0

    def _forget(self) -> None:
        by_use = sorted(self._used_up.items(), key=itemgetter(1))
        self._used_up = dict(by_use[len(by_use) // 2 :])
