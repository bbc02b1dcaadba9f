"""Calibrate the token proof: measure honest noise, set thresholds, count what they catch.

For one model and number format it generates answers with honest stacks (batch 1 and 8, one
and two threads, two attention kernels) and with cheaper weights, re-scores them all with the
reference weights, sets the thresholds on one half of the prompts and tests them on the other.

    python -m scripts.calibrate_proof --model smollm2-135m --dtype float32 --prompts 96

prints the table of docs/proof.md and writes the entry into
`validator/data/proof_thresholds.json`. Margins are kept in the cache, so that a second run
sets thresholds again without running the model.
"""

import hashlib
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from protocol.generation import LoadedModel, load_model, load_verifier
from protocol.ids import Nonce
from protocol.model_files import LocalModel, cache_dir, resolve_model
from protocol.models import Dtype
from protocol.prompts import short_standin_prompts, tagged_prompt
from protocol.teacher_forcing import Answer, rescore
from scripts.cheat_weights import CHEATS
from scripts.proof_statistics import failing_mixtures, rate_stack, set_thresholds
from scripts.smollm2 import ensure_smollm2
from validator.proof import ProofThresholds, ThresholdsFile

NEW_TOKENS = 10
TABLE_COUNTS = (4, 8, 16, 32, 64)
THRESHOLDS_FILE = Path(__file__).parents[1] / "validator" / "data" / "proof_thresholds.json"
PADDED_BATCH = 8
CHEAT_BATCH = 16

Margins = list[list[float]]
"""Margins in logits, one list per prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One way of running the model."""

    name: str
    honest: bool
    batch_size: int = 1
    threads: int = 1
    attention: str = "sdpa"
    share: int = 1
    """One in how many of the prompts it runs: stacks that rarely differ need fewer."""
    change: Callable[[LoadedModel], None] | None = None


HONEST = (
    Stack(name="batch 1", honest=True),
    Stack(name="batch 1, 2 threads", honest=True, threads=2, share=3),
    Stack(name="batch 1, eager", honest=True, attention="eager", share=3),
    Stack(name="batch 8, padded", honest=True, batch_size=PADDED_BATCH),
)
DISHONEST = tuple(
    Stack(name=name, honest=False, batch_size=CHEAT_BATCH, change=change)
    for name, change in CHEATS.items()
)


def calibration_prompts(model: LoadedModel, count: int) -> list[tuple[int, ...]]:
    """Token ids of the first tagged stand-in prompts, each under its own nonce."""
    texts = short_standin_prompts(count)
    return [
        model.encode(tagged_prompt(_nonce(index), text), new_tokens=NEW_TOKENS)
        for index, text in enumerate(texts)
    ]


def generate_batch(model: LoadedModel, prompts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Greedy answers to several prompts at once, padded on the left."""
    length = max(map(len, prompts))
    ids = torch.tensor([[0] * (length - len(row)) + list(row) for row in prompts])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in prompts])
    with torch.inference_mode():
        output = model.network.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
        )
    return [tuple(row[length:].tolist()) for row in output]


def run_stack(
    stack: Stack, local: LocalModel, dtype: Dtype, prompts: Sequence[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """The answers that a stack gives.

    Cheap weights are run in float32: without the noise of `dtype` they are hardest to catch.
    """
    load = load_model if stack.honest else load_verifier
    model = load(local.folder, dtype=dtype, threads=stack.threads)
    model.network.set_attn_implementation(stack.attention)
    if stack.change is not None:
        stack.change(model)
    if stack.batch_size == 1:
        return [model.generate(ids, new_tokens=NEW_TOKENS) for ids in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(order), stack.batch_size):
        batch = order[start : start + stack.batch_size]
        answers |= zip(
            batch, generate_batch(model, [prompts[index] for index in batch]), strict=True
        )
    return [answers[index] for index in range(len(prompts))]


def measure_margins(
    local: LocalModel, dtype: Dtype, count: int, *, cheats: Sequence[str], folder: Path
) -> dict[str, Margins]:
    """Margins of every stack's answers under the reference weights, kept stack by stack."""
    folder.mkdir(parents=True, exist_ok=True)
    verifier: LoadedModel | None = None
    measured: dict[str, Margins] = {}
    for stack in (*HONEST, *(stack for stack in DISHONEST if stack.name in cheats)):
        path = folder / f"{stack.name}.json"
        if not path.exists():
            verifier = verifier or load_verifier(local.folder, dtype=dtype, threads=1)
            margins = _stack_margins(stack, local, verifier, count)
            path.write_text(json.dumps(margins))
        measured[stack.name] = json.loads(path.read_text())
    return measured


def _stack_margins(stack: Stack, local: LocalModel, verifier: LoadedModel, count: int) -> Margins:
    prompts = calibration_prompts(verifier, count)[:: stack.share]
    answers = run_stack(stack, local, verifier.dtype, prompts)
    torch.set_num_threads(1)
    given = zip(prompts, answers, strict=True)
    scored = rescore(verifier, [Answer(prompt_ids=ids, output_ids=out) for ids, out in given])
    margins = [list(one.margins) for one in scored]
    tokens = [margin for prompt in margins for margin in prompt]
    off = sum(margin > 0 for margin in tokens) / len(tokens)
    _say(f"{verifier.dtype} {stack.name}: {off:.2%} of tokens differ, largest {max(tokens):.4f}")
    return margins


def held_out(measured: dict[str, Margins]) -> tuple[dict[str, Margins], dict[str, Margins]]:
    """The even prompts, to set thresholds on, and the odd ones, to test them on."""
    even = {name: margins[::2] for name, margins in measured.items()}
    odd = {name: margins[1::2] for name, margins in measured.items()}
    return even, odd


def table(tested: dict[str, Margins], thresholds: ProofThresholds) -> str:
    """What the thresholds do to prompts that they were not set on, as Markdown."""
    head = ["run", "tokens that differ", "mean margin", "largest margin"]
    head += [f"k = {count}" for count in TABLE_COUNTS]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for name, margins in tested.items():
        row = rate_stack(name, margins, thresholds, TABLE_COUNTS)
        cells = [name, f"{row.differing_share:.1%}", f"{row.mean_margin:.4f}"]
        cells += [f"{row.largest_margin:.3f}"]
        cells += [f"{row.failing_share[count]:.2%}" for count in TABLE_COUNTS]
        lines.append(" | ".join(cells))
    for cheat in [name for name in ("fp8", "int4", "drop1") if name in tested]:
        cells = [f"{cheat} in 10 % of the prompts", "", "", ""]
        for count in TABLE_COUNTS:
            share = failing_mixtures(tested[cheat], tested["batch 1"], 0.1, thresholds, count)
            cells.append(f"{share:.2%}")
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def store_thresholds(entry: ProofThresholds, version: str, path: Path) -> None:
    """Put an entry into the thresholds file, in place of the one it replaces."""
    kept: tuple[ProofThresholds, ...] = ()
    if path.exists():
        kept = ThresholdsFile.model_validate_json(path.read_text(encoding="utf-8")).entries
    key = (entry.model, entry.revision, entry.dtype)
    others = [old for old in kept if (old.model, old.revision, old.dtype) != key]
    entries = sorted([*others, entry], key=lambda one: (one.model, one.revision, one.dtype))
    file = ThresholdsFile(version=version, entries=tuple(entries))
    path.write_text(file.model_dump_json(indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Command line."""
    options = _options()
    ensure_smollm2(cache_dir())
    local = resolve_model(options.model, cache_dir() / "models")
    name = f"{local.id.replace('/', '--')}-{local.revision}-{options.dtype}-{options.prompts}"
    folder = cache_dir() / "calibration" / name
    measured = measure_margins(
        local, options.dtype, options.prompts, cheats=options.cheats, folder=folder
    )
    even, odd = held_out(measured)
    honest = [stack.name for stack in HONEST]
    thresholds = set_thresholds(
        {stack: even[stack] for stack in honest},
        name=(local.id, local.revision, options.dtype),
        origin=(
            f"{options.prompts // 2} tagged standin-v1-short prompts on a CPU, "
            f"torch {torch.__version__}, stacks: {'; '.join(honest)}"
        ),
    )
    store_thresholds(thresholds, options.version, THRESHOLDS_FILE)
    sys.stdout.write(table(odd, thresholds) + "\n")
    return 0


def _options() -> Namespace:
    parser = ArgumentParser(description="Calibrate the token proof of one model.")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--cheats", nargs="*", default=list(CHEATS), choices=list(CHEATS))
    parser.add_argument("--version", default="1", help="version of the thresholds file")
    return parser.parse_args()


def _nonce(index: int) -> Nonce:
    return Nonce(hashlib.sha256(b"calibration" + index.to_bytes(4, "big")).digest())


def _say(text: str) -> None:
    sys.stderr.write(f"calibrate: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
