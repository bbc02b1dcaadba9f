"""The nonce chain: fresh for each run, and serial."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedMessageError
from protocol.ids import BlockHash, GenesisHash, Hotkey, ModelId, Netuid
from protocol.nonce_chain import (
    batch_nonces,
    first_nonce,
    next_batch_nonce,
    next_nonce,
    nonces,
    round_seed,
)
from tests.support import factories, vectors

_FIELDS: dict[str, Any] = {
    "genesis_hash": GenesisHash(factories.GENESIS_HASH),
    "netuid": Netuid(factories.NETUID),
    "block_hash": BlockHash(factories.BLOCK_HASH),
    "hotkey": factories.MINER.hotkey,
    "model": (ModelId("model"), "revision"),
    "workload": factories.WORKLOAD_KEY,
}
_OTHERS: dict[str, Any] = {
    "genesis_hash": GenesisHash("0x" + "0b" * 32),
    "netuid": Netuid(3),
    "block_hash": BlockHash("0x" + "b2" * 32),
    "hotkey": Hotkey(factories.VALIDATOR.hotkey),
    "model": (ModelId("model"), "revision 2"),
    "workload": factories.WORKLOAD_KEY + " ",
}
outputs = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=10), max_size=8)
seeds = st.binary(min_size=32, max_size=32)


def test_seed_and_nonces_are_the_golden_ones() -> None:
    assert vectors.nonce_chain_vector() == vectors.load("nonce_chain")


def test_a_seed_has_32_bytes() -> None:
    assert len(round_seed(**_FIELDS)) == 32


@pytest.mark.parametrize("name", sorted(_OTHERS))
def test_every_field_changes_the_seed(name: str) -> None:
    assert round_seed(**_FIELDS | {name: _OTHERS[name]}) != round_seed(**_FIELDS)


def test_model_and_revision_do_not_run_into_each_other() -> None:
    joined = {"model": (ModelId("modelrev"), "ision")}

    assert round_seed(**_FIELDS | joined) != round_seed(**_FIELDS)


@given(seeds, outputs)
def test_each_nonce_follows_from_the_answer_before_it(
    seed: bytes, answers: list[list[int]]
) -> None:
    chain = list(nonces(seed, answers))

    assert len(chain) == len(answers)
    assert chain[:1] == [first_nonce(seed)][: len(answers)]
    for before, answer, after in zip(chain, answers, chain[1:], strict=False):
        assert after == next_nonce(before, answer)


@given(seeds, outputs.filter(bool), st.data())
def test_one_changed_token_changes_every_later_nonce_and_no_earlier(
    seed: bytes, answers: list[list[int]], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(answers) - 1))
    changed = [*answers[:place], [*answers[place], 7], *answers[place + 1 :]]

    before, after = list(nonces(seed, answers)), list(nonces(seed, changed))

    assert before[: place + 1] == after[: place + 1]
    assert all(a != b for a, b in zip(before[place + 1 :], after[place + 1 :], strict=True))


@given(seeds)
def test_token_ids_do_not_run_into_each_other(seed: bytes) -> None:
    nonce = first_nonce(seed)

    assert next_nonce(nonce, [1, 23]) != next_nonce(nonce, [12, 3])
    assert next_nonce(nonce, [1]) != next_nonce(nonce, [1, 0])


@given(seeds)
def test_the_first_nonce_is_no_link_of_the_chain(seed: bytes) -> None:
    nonce = first_nonce(seed)

    assert nonce != seed
    assert next_nonce(nonce, []) != first_nonce(nonce)


def test_a_token_id_that_is_no_integer_has_no_nonce() -> None:
    with pytest.raises(MalformedMessageError):
        next_nonce(first_nonce(b"0" * 32), [1.0])  # type: ignore[list-item]


@given(seeds, outputs)
def test_batches_of_one_are_the_plain_chain(seed: bytes, answers: list[list[int]]) -> None:
    assert list(nonces(seed, answers, batch_size=1)) == list(nonces(seed, answers))


@given(seeds, st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=9))
def test_a_batch_has_one_link_and_a_nonce_of_its_own_for_each_prompt(
    seed: bytes, answers: list[list[int]]
) -> None:
    chain = list(nonces(seed, answers, batch_size=4))

    assert len(set(chain)) == len(answers)
    nonce = first_nonce(seed)
    for start in range(0, len(answers), 4):
        batch = answers[start : start + 4]
        assert tuple(chain[start : start + 4]) == batch_nonces(nonce, len(batch))
        assert chain[start] == nonce
        nonce = next_batch_nonce(nonce, batch)


def test_a_changed_answer_changes_no_nonce_of_its_own_batch_and_all_of_the_next() -> None:
    answers = [[1, 2], [3, 4], [5, 6], [7, 8]]

    before = list(nonces(b"seed", answers, batch_size=2))
    after = list(nonces(b"seed", [[1, 9], *answers[1:]], batch_size=2))

    assert before[:2] == after[:2]
    assert not set(before[2:]) & set(after[2:])
