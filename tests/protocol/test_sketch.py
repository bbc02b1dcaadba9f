"""Sketches as bytes: packing, wrapping, and the distance that a validator computes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import Nonce
from protocol.sketch import (
    SKETCH_POSITIONS,
    STEPS_PER_UNIT,
    pack_sketch,
    sign_bits,
    sketched_positions,
    squared_distance,
    unpack_sketch,
)

NONCE = Nonce(bytes(range(32)))
PROJECTIONS = st.lists(st.floats(-8, 8), min_size=1, max_size=SKETCH_POSITIONS)


@given(PROJECTIONS)
def test_a_sketch_of_the_same_projections_differs_by_rounding_only(values: list[float]) -> None:
    sketch = unpack_sketch(pack_sketch(values))

    assert sketch is not None
    assert squared_distance(sketch, values) <= 0.25 + 1e-9


@given(PROJECTIONS, st.floats(-0.4, 0.4))
def test_the_distance_is_the_mean_square_of_the_shifts(values: list[float], shift: float) -> None:
    sketch = unpack_sketch(pack_sketch([value + shift for value in values]))

    assert sketch is not None
    root = squared_distance(sketch, values) ** 0.5
    assert root == pytest.approx(abs(shift) * STEPS_PER_UNIT, abs=0.5 + 1e-9)


def test_a_full_sketch_takes_32_characters() -> None:
    text = pack_sketch([0.0, 1.5, -0.25] * 8)

    assert text == "AIDA" * 8
    assert unpack_sketch(text) == (0, 128, 192) * 8


@pytest.mark.parametrize("text", ["AID", "A", "é", "AI D", "AI==A"])
def test_other_texts_are_no_sketch_or_another_length(text: str) -> None:
    assert unpack_sketch(text) in (None, (0, 128), (0,))


def test_directions_are_those_of_the_nonce() -> None:
    bits = sign_bits(NONCE, 576)

    assert len(bits) == 24 * 576 // 8
    assert bits[:8].hex() == "3a5e638663071d39"
    assert sign_bits(Nonce(bytes(32)), 576) != bits
    assert sign_bits(NONCE, 577)[: len(bits)] == bits
    ones = sum(byte.bit_count() for byte in bits)
    assert abs(ones / (8 * len(bits)) - 0.5) < 0.02


def test_short_sequences_have_short_sketches() -> None:
    assert sketched_positions(100, 10) == 24
    assert sketched_positions(5, 10) == 14


@pytest.mark.parametrize("sketch", [(), (1,), (1, 2, 3)])
def test_sketches_of_another_length_have_no_distance(sketch: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positions"):
        squared_distance(sketch, [0.0, 0.0])
