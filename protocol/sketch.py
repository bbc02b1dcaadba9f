"""A miner's fingerprint of its activations: 24 bytes per prompt, one per position.

The tokens of an answer show a change of weights only where two tokens nearly tie. The hidden
state before the output head shows it everywhere. So a miner may add a sketch to each leaf: at
each of the last positions that the model read (prompt and answer, but for the last token) the
final hidden state is projected on a direction that the prompt's nonce picks, divided by the
state's length, and rounded to a step that honest rounding noise fills by a few units; only the
low byte is kept. A validator computes the same numbers from the miner's tokens and looks at the
mean square of the differences, which grows with the square of the weights' error.

The idea of comparing projected activations is that of TOPLOC (arXiv 2501.16007) and
Activation-DiFR (arXiv 2511.20621). Unlike TOPLOC there is no interpolation, no search for the
largest values and no modulus that indices could collide in; all positions count alike.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence

from protocol.ids import Nonce

SKETCH_POSITIONS = 24
"""Positions sketched per prompt: the last ones; fewer where the sequence is shorter."""
STEPS_PER_UNIT = 256
"""Rounding steps per unit; a projection on random signs has a standard deviation of 1 unit."""

_BYTE = 256
_HALF = 128
_DOMAIN = b"carbonbench/sketch/1\x00"


def sign_bits(nonce: Nonce, width: int) -> bytes:
    """The directions of one prompt: a bit per position and hidden value, 1 for plus.

    Positions count from the last one backwards, `width` bits each, most significant bit first
    (SHAKE-256 of the nonce, so nobody knows a direction before the answer before it).
    """
    return hashlib.shake_256(_DOMAIN + nonce).digest(-(-SKETCH_POSITIONS * width // 8))


def sketched_positions(prompt_tokens: int, output_tokens: int) -> int:
    """How many positions a sketch of such a prompt and answer has."""
    return min(SKETCH_POSITIONS, prompt_tokens + output_tokens - 1)


def pack_sketch(projections: Sequence[float]) -> str:
    """Projections (units of one standard deviation), first position first, as base64url text."""
    steps = bytes(round(value * STEPS_PER_UNIT) % _BYTE for value in projections)
    return base64.urlsafe_b64encode(steps).decode("ascii").rstrip("=")


def unpack_sketch(text: str) -> tuple[int, ...] | None:
    """The bytes of a sketch; None if the text is no base64url."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        return tuple(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error):
        return None


def squared_distance(sketch: Sequence[int], projections: Sequence[float]) -> float:
    """Mean square of the differences (steps^2) between a sketch and a validator's projections.

    Differences wrap around: the largest is half a byte, what unrelated activations show is
    5461 on average.

    Raises:
        ValueError: If the lengths differ or there are none.
    """
    if len(sketch) != len(projections) or not sketch:
        raise ValueError(f"{len(sketch)} bytes of sketch for {len(projections)} positions")
    wrapped = [
        (byte - value * STEPS_PER_UNIT + _HALF) % _BYTE - _HALF
        for byte, value in zip(sketch, projections, strict=True)
    ]
    return sum(difference * difference for difference in wrapped) / len(wrapped)
