"""Power curves of GPU work, for benchmarks and tests: LLM-like, and free-running bursts."""

import random
from collections.abc import Iterator

from scripts.devnet.gpu.config import Segment

IDLE_WATTS = 80.0
_PREFILL_SHARE = 0.15
_PREFILL_WATTS = 650.0
_DECODE = ((0.012, 340.0), (0.018, 440.0))
"""Decode ripples: 12 and 18 ms at two powers."""
_FLOOR_WATTS = 95.0


def language_model(length_seconds: float) -> tuple[Segment, ...]:
    """Prefill at 650 W for 15 % of the time, then decode in 12 and 18 ms ripples."""
    return tuple(_language_model(length_seconds))


def bursts(length_seconds: float, chance: random.Random) -> tuple[Segment, ...]:
    """Bursts of 50 to 400 ms at 400 to 680 W, with pauses of 20 to 300 ms at 95 W."""
    return tuple(_bursts(length_seconds, chance))


def _language_model(length_seconds: float) -> Iterator[Segment]:
    prefill = _PREFILL_SHARE * length_seconds
    yield _flat(prefill, _PREFILL_WATTS)
    left, turn = length_seconds - prefill, 0
    while left > 0:
        duration, power = _DECODE[turn % len(_DECODE)]
        yield _flat(min(duration, left), power)
        left, turn = left - duration, turn + 1


def _bursts(length_seconds: float, chance: random.Random) -> Iterator[Segment]:
    at = 0.0
    while at < length_seconds:
        burst, pause = chance.uniform(0.05, 0.4), chance.uniform(0.02, 0.3)
        yield _flat(burst, chance.uniform(400, 680))
        yield _flat(pause, _FLOOR_WATTS)
        at += burst + pause


def _flat(duration_seconds: float, power_watts: float) -> Segment:
    return Segment(
        duration_seconds=duration_seconds, start_watts=power_watts, end_watts=power_watts
    )
