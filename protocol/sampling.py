"""Which prompts are re-scored, from a beacon that nobody knew at commitment time.

The sample depends on the beacon block and on the committed report, and not on the
validator: two validators with the same inputs re-score the same prompts and agree to the
byte; anyone can check afterwards that the sampling was done.
"""

import hashlib

from protocol.ids import BlockHash, Digest

_DOMAIN = b"carbonbench/sample/1\n"
_WORD_BITS = 64


def sample_indices(
    *, beacon: BlockHash, report_digest: Digest, population: int, count: int
) -> tuple[int, ...]:
    """Indices drawn without replacement, in ascending order.

    Args:
        beacon: Hash of the beacon block.
        report_digest: Digest of the committed report.
        population: Prompts in the run.
        count: How many to draw; all of them when the run is no longer than that.

    Raises:
        ValueError: If `population` or `count` is negative.
    """
    if population < 0 or count < 0:
        raise ValueError(f"cannot draw {count} of {population}")
    stream = _Words(beacon.encode() + b"\n" + report_digest.encode())
    pool = list(range(population))
    for position in range(min(count, population)):
        chosen = position + stream.below(population - position)
        pool[position], pool[chosen] = pool[chosen], pool[position]
    return tuple(sorted(pool[:count]))


class _Words:
    """SHA-256 in counter mode, read as 64-bit words: the same on every machine."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound), by rejection."""
        limit = (1 << _WORD_BITS) // bound * bound
        while True:
            word = self._next()
            if word < limit:
                return word % bound

    def _next(self) -> int:
        block = hashlib.sha256(_DOMAIN + self._counter.to_bytes(8, "big") + self._key).digest()
        self._counter += 1
        return int.from_bytes(block[:8], "big")
