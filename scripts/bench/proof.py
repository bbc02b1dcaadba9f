"""The token proof's cost: re-scoring answers beside generating them, on the small real model.

Prompts are those of a round (tagged, short stand-in texts) and, for comparison, full-length ones.
Generating and re-scoring take turns, and the best turn of each counts, so that what else runs on
the machine hits neither alone. What the processor could do at best is measured as well: the
model's arithmetic over the speed of one large matrix product.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from protocol.generation import LoadedModel, load_verifier
from protocol.ids import Nonce
from protocol.model_files import cache_dir
from protocol.prompts import short_standin_prompts, standin_prompts, tagged_prompt
from protocol.teacher_forcing import Answer, rescore
from scripts.bench.entries import Entry, entry, labelled
from scripts.smollm2 import ensure_smollm2

NEW_TOKENS = 10
THREADS = 2
TARGET_SECONDS = 0.1
"""Per prompt, for a model of 135 million parameters on two cores."""
TARGET_RATIO = 0.25
"""Of generating the same answers."""
TURNS = 6

_SHORT, _LONG = 64, 8
_GENERATED = 4
"""Prompts per turn of generating."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds per prompt, each at its best turn."""

    rescore: float
    generate: float
    positions: float
    """Mean length of prompt and answer (tokens)."""


def run(share: float) -> list[Entry]:
    """Measure; takes about two minutes on two idle cores."""
    model = load_verifier(ensure_smollm2(cache_dir()), dtype="float32", threads=THREADS)
    turns = max(1, round(TURNS * share))
    short = measure(model, short_standin_prompts(_SHORT), turns)
    long = measure(model, standin_prompts(_LONG), turns)
    bound = arithmetic_seconds(model, short.positions)
    return [
        *_entries(short, "standin-v1-short"),
        *_entries(long, "standin-v1"),
        entry(
            labelled("rescore_over_arithmetic", prompts="standin-v1-short"),
            short.rescore / bound,
            "ratio",
            anchor="the model's multiplications at the speed of one large matrix product",
            anchor_value=1.0,
        ),
    ]


def measure(model: LoadedModel, texts: Sequence[str], turns: int) -> Cost:
    """What generating and re-scoring the texts' answers cost."""
    prompts = [
        model.encode(tagged_prompt(_nonce(index), text), new_tokens=NEW_TOKENS)
        for index, text in enumerate(texts)
    ]
    answers = [
        Answer(prompt_ids=ids, output_ids=model.generate(ids, new_tokens=NEW_TOKENS))
        for ids in prompts
    ]
    step = max(1, len(prompts) // _GENERATED)
    some = prompts[step // 2 :: step]
    generate, again = [], []
    for _ in range(turns):
        generate.append(
            _timed(lambda: [model.generate(ids, new_tokens=NEW_TOKENS) for ids in some])
        )
        again.append(_timed(lambda: rescore(model, answers)))
    # The prompts that are generated stand for all: costs are per position read or written.
    share = sum(map(len, some)) / sum(map(len, prompts)) * len(prompts) / len(some)
    return Cost(
        rescore=min(again) / len(answers),
        generate=min(generate) / len(some) / share,
        positions=sum(map(len, prompts)) / len(prompts) + NEW_TOKENS - 1,
    )


def arithmetic_seconds(model: LoadedModel, positions: float) -> float:
    """Least time for one prompt's multiplications: two per weight and position."""
    head = model.network.get_output_embeddings().weight.numel()  # type: ignore[no-untyped-call]
    body = sum(one.numel() for one in model.network.parameters()) - head
    flops: float = 2 * (body * positions + head * NEW_TOKENS)
    return flops / _product_flops()


def _product_flops() -> float:
    """Multiplications and additions per second in one large float32 matrix product."""
    size = 1536
    left, right = torch.randn(size, size), torch.randn(size, size)
    best = min(_timed(lambda: left @ right) for _ in range(20))
    return 2 * size**3 / best


def _entries(cost: Cost, prompts: str) -> list[Entry]:
    return [
        entry(
            labelled("rescore_seconds_per_prompt", prompts=prompts, threads=float(THREADS)),
            cost.rescore,
            "s",
            anchor=f"target; {cost.positions:.0f} positions per prompt",
            anchor_value=TARGET_SECONDS,
        ),
        entry(
            labelled("rescore_over_generate", prompts=prompts, threads=float(THREADS)),
            cost.rescore / cost.generate,
            "ratio",
            anchor=f"target; generating takes {cost.generate:.2f} s per prompt",
            anchor_value=TARGET_RATIO,
        ),
    ]


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _nonce(index: int) -> Nonce:
    return Nonce(hashlib.sha256(b"bench" + index.to_bytes(4, "big")).digest())
