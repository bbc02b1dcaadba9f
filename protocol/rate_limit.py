"""How often a caller may ask: a bucket of tokens for each, and a bound on how many are known.

One process counts for itself; with several workers a caller gets as many times the rate.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_KNOWN_CALLERS = 4_096


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_seconds: float


@dataclass(slots=True, kw_only=True)
class RateLimit:
    """Lets each caller ask `burst` times at once, and `per_second` times in the long run.

    Args:
        per_second: Tokens that a caller gets back per second.
        burst: Tokens that it has at most.
        now: Monotonic clock (s).
    """

    per_second: float
    burst: int
    now: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict, repr=False)

    def wait_seconds(self, caller: str) -> float:
        """Take one token; 0 if there was one, else the time until there is."""
        now = self.now()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(float(self.burst), now)
            if len(self._buckets) > _KNOWN_CALLERS:  # whoever has been silent longest is full again
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(caller)
        earned = (now - bucket.at_seconds) * self.per_second
        bucket.tokens, bucket.at_seconds = min(float(self.burst), bucket.tokens + earned), now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / self.per_second
