"""How often a caller may ask: a token bucket each, in memory.

Pure: the time is given. One process holds one table of buckets, so a node that runs several
processes grants the sum of theirs.
"""

from collections import OrderedDict
from dataclasses import dataclass

MAX_CALLERS = 20_000
"""Callers remembered; the longest silent one is forgotten first, and starts with a full bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A steady rate with room for bursts.

    Attributes:
        per_minute: Requests a minute that are granted for ever (> 0).
        burst: Requests that are granted at once after silence (>= 1).
    """

    per_minute: float
    burst: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    seen_seconds: float


class Limiter:
    """Grants or delays requests by caller."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, caller: str, rate: Rate, now_seconds: float) -> float:
        """Take one token; 0 when it was there, else the time until there is one.

        Args:
            caller: Whose bucket: an address or a key's name.
            rate: What this caller is granted.
            now_seconds: Monotonic time.
        """
        bucket = self._buckets.pop(caller, None) or _Bucket(float(rate.burst), now_seconds)
        per_second = rate.per_minute / 60.0
        elapsed_seconds = max(0.0, now_seconds - bucket.seen_seconds)
        bucket.tokens = min(float(rate.burst), bucket.tokens + elapsed_seconds * per_second)
        bucket.seen_seconds = now_seconds
        self._buckets[caller] = bucket
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0.0
        return (1.0 - bucket.tokens) / per_second
