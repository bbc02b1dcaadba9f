"""Stacks that run the model, honest and not, and what the reference weights make of them.

Recordings are kept in the cache, stack by stack: a second calibration runs no model again.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from protocol.activations import StateRecorder, project
from protocol.cheap_weights import cheaper_weights
from protocol.generation import LoadedModel, load_model, load_verifier
from protocol.ids import Nonce
from protocol.model_files import LocalModel
from protocol.models import Dtype
from protocol.prompts import short_standin_prompts, tagged_prompt
from protocol.sketch import SKETCH_POSITIONS
from protocol.teacher_forcing import Answer, rescore
from scripts.cheat_weights import CHEATS

NEW_TOKENS = 10
CHEAPER: Mapping[Dtype, tuple[str, ...]] = {
    "float32": (),
    "bfloat16": ("int8",),
    "float16": ("int8",),
}
"""Formats whose margins are recorded beside the declared one's. float32 has so little noise of
its own that int8 shows without a second look."""

_PADDED_BATCH = 8
_CHEAT_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One way of running the model."""

    name: str
    honest: bool
    batch_size: int = 1
    threads: int = 1
    attention: str = "sdpa"
    share: int = 1
    """One in how many of the prompts it runs."""
    exact: bool = False
    """Whether it computes in float32 whatever the number format of the weights."""
    change: Callable[[LoadedModel], None] | None = None


HONEST = (
    Stack(name="batch 1", honest=True),
    Stack(name="batch 1, 2 threads", honest=True, threads=2, share=8),
    Stack(name="batch 1, eager", honest=True, attention="eager", share=8),
    Stack(name="batch 8, padded", honest=True, batch_size=_PADDED_BATCH),
    Stack(name="batch 8, eager", honest=True, batch_size=_PADDED_BATCH, attention="eager", share=2),
)
_SUBTLE = ("int8", "fp8")
DISHONEST = tuple(
    Stack(
        name=name,
        honest=False,
        batch_size=_CHEAT_BATCH,
        share=1 if name in _SUBTLE else 8,
        exact=True,
        change=change,
    )
    for name, change in CHEATS.items()
)
"""Cheap weights in float32 arithmetic: without the noise of the format they are hardest to
catch."""
SAME_ARITHMETIC = Stack(
    name="int8, own arithmetic",
    honest=False,
    batch_size=_CHEAT_BATCH,
    share=2,
    change=CHEATS["int8"],
)
"""int8 weights as engines run them: unpacked into the declared format's arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One prompt: what a stack answered, and what the reference makes of it."""

    index: int
    """Of the prompt, in the stand-in set."""
    answer: list[int]
    margins: list[float]
    """Under the reference weights (logits)."""
    cheaper: dict[str, list[float]]
    """Under the weights of cheaper formats."""
    sketched: list[float]
    """Projections of the stack's own hidden states."""
    projected: list[float]
    """The reference's projections, for the same tokens."""


def record_stack(
    stack: Stack, local: LocalModel, dtype: Dtype, count: int, *, path: Path
) -> list[Recording]:
    """A stack's recordings, from the cache if they are there."""
    if not path.exists():
        recordings = _recorded(stack, local, dtype, count)
        path.write_text(json.dumps([asdict(one) for one in recordings]))
    return [Recording(**row) for row in json.loads(path.read_text())]


def _recorded(stack: Stack, local: LocalModel, dtype: Dtype, count: int) -> list[Recording]:
    load = load_verifier if stack.exact else load_model
    model = load(local.folder, dtype=dtype, threads=stack.threads)
    model.network.set_attn_implementation(stack.attention)
    if stack.change is not None:
        stack.change(model)
    prompts = {
        index: model.encode(tagged_prompt(_nonce(index), text), new_tokens=NEW_TOKENS)
        for index, text in list(enumerate(short_standin_prompts(count)))[:: stack.share]
    }
    answered = _answered(stack, model, prompts)
    del model
    torch.set_num_threads(1)
    verifier = load_verifier(local.folder, dtype=dtype, threads=1)
    answers = [
        Answer(prompt_ids=ids, output_ids=answered[index][0], nonce=_nonce(index))
        for index, ids in prompts.items()
    ]
    declared = rescore(verifier, answers)
    cheaper = {}
    for name in CHEAPER[dtype]:
        with cheaper_weights(verifier.network, name, dtype):
            cheaper[name] = rescore(verifier, answers)
    _say(stack, [margin for one in declared for margin in one.margins])
    return [
        Recording(
            index=index,
            answer=list(answered[index][0]),
            margins=list(declared[place].margins),
            cheaper={name: list(rows[place].margins) for name, rows in cheaper.items()},
            sketched=answered[index][1],
            projected=list(declared[place].projections),
        )
        for place, index in enumerate(prompts)
    ]


def _answered(
    stack: Stack, model: LoadedModel, prompts: dict[int, tuple[int, ...]]
) -> dict[int, tuple[tuple[int, ...], list[float]]]:
    """Answers and projections by prompt; batches hold prompts of similar length."""
    order = sorted(prompts, key=lambda index: len(prompts[index]))
    answered: dict[int, tuple[tuple[int, ...], list[float]]] = {}
    with StateRecorder(model.network, positions=SKETCH_POSITIONS) as recorder:
        for start in range(0, len(order), stack.batch_size):
            batch = order[start : start + stack.batch_size]
            outputs = model.generate_batch(
                [prompts[index] for index in batch], new_tokens=NEW_TOKENS
            )
            for index, output, states in zip(batch, outputs, recorder.last_states(), strict=True):
                read = len(prompts[index]) + NEW_TOKENS - 1
                kept = states[-min(read, SKETCH_POSITIONS) :]
                answered[index] = output, project(kept, _nonce(index)).tolist()
    return answered


def _nonce(index: int) -> Nonce:
    return Nonce(hashlib.sha256(b"calibration" + index.to_bytes(4, "big")).digest())


def _say(stack: Stack, margins: Sequence[float]) -> None:
    off = sum(margin > 0 for margin in margins) / len(margins)
    sys.stderr.write(
        f"calibrate: {stack.name}: {off:.2%} of tokens differ, largest {max(margins):.4f}\n"
    )
