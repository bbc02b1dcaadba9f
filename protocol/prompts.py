"""Which texts a workload runs over: digests, the stand-in generator, and the tag.

Pure. `protocol.prompt_sources` finds the public texts on disk or on the hub; their digest is
here. `standin-v1` is generated, the same bytes on every machine: each prompt has its own
stream of SHA-256 in counter mode, so the first n prompts don't depend on how many are asked
for. Lengths follow the public set's (GPT-2 tokens by source), with the tail capped.

A tag is eight words that the nonce picks, put before a prompt. It has the same number of
tokens for every nonce, so it adds the same work to every prompt.
"""

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise

from protocol.ids import Digest, Nonce
from protocol.standin_grammar import (
    CHAT_CONSTRAINTS,
    CHAT_CONTEXT,
    CHAT_REQUESTS,
    ENCYCLOPAEDIA_SENTENCES,
    HEADINGS,
    SLOTS,
    WEB_SENTENCES,
    WEB_TITLES,
)
from protocol.tag_words import TAG_WORDS

AIES_PROMPT_COUNT = 1000
AIES_DIGEST = Digest("678a243635dea26c169535e6195185214f46e64b31d7902b2be4853d5134c9da")
"""`prompts_digest` of the 1,000 public AI Energy Score texts (hub revision 2dc92b2e...)."""
STANDIN_NAME = "standin-v1"
STANDIN_SHORT_NAME = "standin-v1-short"
STANDIN_DIGEST = Digest("b68a9a5b4e7bbe1b74977060377c79e58a4b4781ffa1221bcd5907248df4bbfa")
"""`prompts_digest` of the first 1,000 `standin-v1` prompts."""
STANDIN_SHORT_DIGEST = Digest("65b20e1182e189b4e21ed769217d977d8e22b049d4c97a86c65fa769529b7c83")
"""`prompts_digest` of the first 1,000 `standin-v1-short` prompts."""

TAG_WORD_COUNT = 8
"""Words per tag: 64 bits of the nonce, which no miner can search in a round."""

_SLOT = re.compile(r"\{(\w+)\}")
_HEADING_WORDS = 7
_PERMILLE = 1000
_WORDS_PER_TOKEN_PERMILLE = 770
"""Words (split at spaces) per GPT-2 token in text of this grammar, in thousandths; measured."""

_Quantiles = tuple[tuple[int, int], ...]
_LENGTHS: tuple[_Quantiles, ...] = (
    ((0, 2), (100, 6), (250, 10), (500, 81), (750, 159), (900, 229), (990, 372), (1000, 472)),
    ((0, 18), (100, 58), (250, 157), (500, 360), (750, 799), (900, 1855), (1000, 2000)),
    ((0, 6), (100, 15), (250, 33), (500, 95), (750, 198), (900, 535), (990, 1141), (1000, 1345)),
)
"""GPT-2 tokens at each permille, by source: WikiText, OSCAR (capped at 2,000), UltraChat."""
_SHORT_LENGTHS: tuple[_Quantiles, ...] = (((0, 20), (500, 40), (1000, 60)),) * 3


class _Draws:
    """Uniform draws from SHA-256 in counter mode: the same numbers in any language."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0

    def below(self, bound: int) -> int:
        """A number in [0, bound); draws that would bias the result are thrown away."""
        limit = 2**32 - 2**32 % bound
        while True:
            block = self._seed + self._counter.to_bytes(8, "big")
            self._counter += 1
            drawn = int.from_bytes(hashlib.sha256(block).digest()[:4], "big")
            if drawn < limit:
                return drawn % bound

    def choice(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[self.below(len(options))]

    def at(self, quantiles: _Quantiles) -> int:
        """A length from a distribution given by its quantiles, linear in between."""
        level = self.below(_PERMILLE)
        for (low, shortest), (high, longest) in pairwise(quantiles):
            if level < high:
                return shortest + (longest - shortest) * (level - low) // (high - low)
        raise ValueError(f"quantiles end below {level}")


def prompts_digest(texts: Sequence[str]) -> Digest:
    """SHA-256 over the texts, stripped and joined by NUL.

    Stripped, because public copies of the AI Energy Score texts differ in outer white space.
    """
    joined = "\0".join(text.strip() for text in texts)
    return Digest(hashlib.sha256(joined.encode()).hexdigest())


def restore_white_space(texts: Sequence[str]) -> tuple[str, ...]:
    r"""The AI Energy Score texts as the hub has them, from stripped ones.

    Every third text is a WikiText line, published as `" " + text + " \n"`. With that put back
    the GPT-2 tokenizer counts 369,139 tokens, the figure that AI Energy Score publishes.
    """
    return tuple(f" {text} \n" if index % 3 == 0 else text for index, text in enumerate(texts))


def standin_prompts(count: int) -> tuple[str, ...]:
    """The first prompts of `standin-v1`: lengths like the public set's, mean about 310 tokens."""
    return tuple(_standin(STANDIN_NAME, index, _LENGTHS) for index in range(count))


def short_standin_prompts(count: int) -> tuple[str, ...]:
    """The first prompts of `standin-v1-short`: 20 to 60 tokens each, for demo and tests."""
    return tuple(_standin(STANDIN_SHORT_NAME, index, _SHORT_LENGTHS) for index in range(count))


def tag_text(nonce: Nonce) -> str:
    """Eight words picked by the nonce's first eight bytes, and a line break.

    Raises:
        ValueError: If the nonce is shorter than eight bytes.
    """
    if len(nonce) < TAG_WORD_COUNT:
        raise ValueError(f"a tag needs {TAG_WORD_COUNT} bytes of nonce, got {len(nonce)}")
    return " ".join(TAG_WORDS[byte] for byte in nonce[:TAG_WORD_COUNT]) + "\n"


def tagged_prompt(nonce: Nonce, prompt: str) -> str:
    """A prompt behind its tag. Its outer white space goes, else it could merge with the tag."""
    return tag_text(nonce) + prompt.strip()


def _standin(name: str, index: int, lengths: Sequence[_Quantiles]) -> str:
    draws = _Draws(f"carbonbench/{name}/".encode() + index.to_bytes(4, "big"))
    source = index % 3
    words = max(1, draws.at(lengths[source]) * _WORDS_PER_TOKEN_PERMILLE // _PERMILLE)
    return (_encyclopaedia, _web_page, _chat)[source](draws, words)


def _encyclopaedia(draws: _Draws, words: int) -> str:
    if words <= _HEADING_WORDS:
        return f"= = {_filled(draws, draws.choice(HEADINGS))} = ="
    return _sentences(draws, ENCYCLOPAEDIA_SENTENCES, words, " ")


def _web_page(draws: _Draws, words: int) -> str:
    title = _filled(draws, draws.choice(WEB_TITLES))
    body = _sentences(draws, WEB_SENTENCES, words, "\n")
    return _cut(f"{title}\n{body}", words)


def _chat(draws: _Draws, words: int) -> str:
    request = _filled(draws, draws.choice(CHAT_REQUESTS))
    while len(request.split(" ")) < words and draws.below(3):
        request += " " + _filled(draws, draws.choice(CHAT_CONSTRAINTS))
    missing = words - len(request.split(" "))
    if missing <= len(CHAT_CONTEXT.split()):
        return request
    text = _sentences(draws, ENCYCLOPAEDIA_SENTENCES, missing, " ")
    return f"{request}\n\n{CHAT_CONTEXT} {text}"


def _sentences(draws: _Draws, templates: Sequence[str], words: int, separator: str) -> str:
    parts: list[str] = []
    length = 0
    while length < words:
        parts.append(_filled(draws, draws.choice(templates)))
        length += parts[-1].count(" ") + 1
    return _cut(separator.join(parts), words)


def _cut(text: str, words: int) -> str:
    """The text's first words, line breaks kept."""
    pieces = re.findall(r"\S+\s*", text)
    return "".join(pieces[:words]).rstrip()


def _filled(draws: _Draws, template: str) -> str:
    return _SLOT.sub(lambda slot: _slot_value(draws, slot.group(1)), template)


def _slot_value(draws: _Draws, slot: str) -> str:
    match slot:
        case "year":
            return str(1700 + draws.below(320))
        case "count":
            return str(2 + draws.below(98))
        case "day":
            return str(1 + draws.below(28))
        case "percent":
            return str(5 * (1 + draws.below(14)))
        case "price":
            return f"{3 + draws.below(400)}.{draws.below(100):02d} euros"
        case _:
            return draws.choice(SLOTS[slot])
