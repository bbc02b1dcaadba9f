"""Stand-in prompts, digests and tags."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.ids import Nonce
from protocol.prompts import (
    STANDIN_DIGEST,
    STANDIN_SHORT_DIGEST,
    TAG_WORD_COUNT,
    prompts_digest,
    restore_white_space,
    short_standin_prompts,
    standin_prompts,
    tag_text,
    tagged_prompt,
)
from protocol.tag_words import TAG_WORDS
from tests.support.model import smollm2

TAG_WORDS_DIGEST = "45edfcc2803b4796056c01d24ac803c153ce8b99d804ad6950862891c24a200d"
TAG_TOKENS = TAG_WORD_COUNT + 1
NONCES = st.binary(min_size=32, max_size=32).map(Nonce)


def test_standin_sets_have_their_pinned_digests() -> None:
    assert prompts_digest(standin_prompts(1000)) == STANDIN_DIGEST
    assert prompts_digest(short_standin_prompts(1000)) == STANDIN_SHORT_DIGEST


def test_first_prompts_are_the_same_whatever_the_count() -> None:
    assert standin_prompts(7) == standin_prompts(40)[:7]
    assert short_standin_prompts(7) == short_standin_prompts(40)[:7]


def test_standin_prompts_differ_from_the_short_ones() -> None:
    assert not set(standin_prompts(30)) & set(short_standin_prompts(30))


def test_standin_lengths_follow_the_public_set() -> None:
    words = [len(text.split()) for text in standin_prompts(1000)]
    lines, pages, chats = (sorted(words[source::3]) for source in range(3))

    assert lines[0] <= 5
    assert 45 <= lines[len(lines) // 2] <= 75  # 81 GPT-2 tokens in the public set
    assert 230 <= pages[len(pages) // 2] <= 300  # 360 tokens
    assert 1_300 <= pages[-1] <= 1_540  # capped at 2,000 tokens
    assert 60 <= chats[len(chats) // 2] <= 100  # 95 tokens


def test_short_prompts_are_short() -> None:
    words = [len(text.split()) for text in short_standin_prompts(1000)]

    assert min(words) >= 8
    assert max(words) <= 64


def test_no_prompt_has_outer_white_space_or_an_unfilled_slot() -> None:
    for text in (*standin_prompts(300), *short_standin_prompts(300)):
        assert text == text.strip()
        assert "{" not in text


def test_digest_ignores_outer_white_space_and_nothing_else() -> None:
    texts = ("one line", "two\nlines")

    assert prompts_digest((" one line \n", "two\nlines\n")) == prompts_digest(texts)
    assert prompts_digest(("one  line", "two\nlines")) != prompts_digest(texts)
    assert prompts_digest(texts[::-1]) != prompts_digest(texts)


def test_restored_white_space_stands_around_every_third_text() -> None:
    assert restore_white_space(("a", "b", "c", "d")) == (" a \n", "b", "c", " d \n")


def test_tag_words_are_the_pinned_list() -> None:
    assert hashlib.sha256(" ".join(TAG_WORDS).encode()).hexdigest() == TAG_WORDS_DIGEST
    assert len(TAG_WORDS) == 256
    assert all(first < second for first, second in pairwise(TAG_WORDS))


def test_tag_spells_the_first_bytes_of_the_nonce() -> None:
    nonce = Nonce(bytes([0, 255, 1, 0, 0, 0, 0, 2]) + bytes(24))

    assert tag_text(nonce) == "amber young angel amber amber amber amber apple\n"


@given(nonce=NONCES, position=st.integers(0, TAG_WORD_COUNT - 1), change=st.integers(1, 255))
def test_tag_changes_with_each_of_its_bytes(nonce: Nonce, position: int, change: int) -> None:
    other = bytearray(nonce)
    other[position] ^= change

    assert tag_text(Nonce(bytes(other))) != tag_text(nonce)


def test_tag_is_refused_when_the_nonce_is_short() -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        tag_text(Nonce(bytes(7)))


def test_tagged_prompt_drops_white_space_that_could_merge_with_the_tag() -> None:
    nonce = Nonce(bytes(32))

    assert tagged_prompt(nonce, "\n  = = Early life = = \n") == (
        tag_text(nonce) + "= = Early life = ="
    )


@settings(deadline=None)
@given(nonce=NONCES, index=st.integers(0, 11))
def test_tag_has_the_same_number_of_tokens_before_any_prompt(nonce: Nonce, index: int) -> None:
    model = smollm2()
    prompt = (*short_standin_prompts(9), "= = Early life = =", "\u96c6\u5927\u6210", "...")[index]

    alone = model.tokenizer(prompt)["input_ids"]
    tagged = model.tokenizer(tagged_prompt(nonce, prompt))["input_ids"]

    assert len(model.tokenizer(tag_text(nonce))["input_ids"]) == TAG_TOKENS
    assert tagged[TAG_TOKENS:] == alone
