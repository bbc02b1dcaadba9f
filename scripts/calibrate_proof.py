"""Calibrate the token proof: measure honest noise, set thresholds, count what they catch.

For one model and number format it records honest stacks (batch 1 and 8, one and two threads,
two attention kernels) and cheaper weights, and re-scores them all with the reference weights.
Thresholds set on either half of the prompts are tested on the other; those that are shipped are
set on all.

    python -m scripts.calibrate_proof --model smollm2-135m --dtype bfloat16 --prompts 192

prints the tables of docs/methodology.md and writes the entry into
`validator/data/proof_thresholds.json`. `--model` takes a folder as well: so an operator
calibrates a model that this version ships no thresholds for. Recordings are kept in the cache,
so that a run that was broken off goes on where it was.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from protocol.model_files import LocalModel, cache_dir, resolve_model
from protocol.sketch import pack_sketch
from protocol.units import ratio
from scripts.cheat_weights import CHEATS
from scripts.proof_stacks import (
    DISHONEST,
    HONEST,
    SAME_ARITHMETIC,
    Recording,
    Stack,
    record_stack,
)
from scripts.proof_statistics import Measured, failing_mixtures, rate_stack, set_thresholds
from scripts.smollm2 import ensure_smollm2
from validator.proof import ProofThresholds, ThresholdsFile, sketch_distance_ppm

TABLE_COUNTS = (4, 8, 16, 32, 64)
THRESHOLDS_FILE = Path(__file__).parents[1] / "validator" / "data" / "proof_thresholds.json"

_HALVES = 8
"""Prompts are split in runs of so many, so that stacks that skip prompts are split alike."""
_MIXED = ("fp8", "int4", "drop1")


def measure(recordings: Sequence[Recording]) -> Measured:
    """A stack's margins and sketch distances, as the proof would see them."""
    names = recordings[0].cheaper if recordings else {}
    return Measured(
        margins=[one.margins for one in recordings],
        cheaper={name: [one.cheaper[name] for one in recordings] for name in names},
        distances_ppm=[
            sketch_distance_ppm(pack_sketch(one.sketched), one.projected)
            for one in recordings
            if one.sketched
        ],
    )


def halves(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """The prompts to set thresholds on, and those to test them on."""
    first = [one for one in recordings if one.index // _HALVES % 2 == 0]
    return first, [one for one in recordings if one.index // _HALVES % 2]


def table(tested: Mapping[str, Measured], thresholds: ProofThresholds) -> str:
    """What the thresholds do to prompts that they were not set on, as Markdown."""
    head = ["run", "prompts", "tokens that differ", "mean margin", "largest margin"]
    head += [f"k = {count}" for count in TABLE_COUNTS] + ["sketch off by"]
    head += ["sketch, k = 8", "sketch, k = 64"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(_cells(name, one, thresholds)) for name, one in tested.items()]
    lines += [" | ".join(cells) for cells in _mixed(tested, thresholds)]
    return "\n".join(f"| {line} |" for line in lines)


def _cells(name: str, measured: Measured, thresholds: ProofThresholds) -> list[str]:
    row = rate_stack(name, measured, thresholds, TABLE_COUNTS)
    cells = [name, str(len(measured.margins)), f"{row.differing_share:.1%}"]
    cells += [f"{row.mean_margin:.4f}", f"{row.largest_margin:.3f}"]
    cells += [f"{row.failing_share[count]:.2%}" for count in TABLE_COUNTS]
    distance = row.mean_distance_ppm
    cells.append("" if distance is None else f"{ratio(round(distance)):.4f}")
    shares = row.sketch_failing_share
    return cells + [f"{shares[count]:.2%}" if count in shares else "" for count in (8, 64)]


def _mixed(tested: Mapping[str, Measured], thresholds: ProofThresholds) -> Iterator[list[str]]:
    for cheat in [name for name in _MIXED if name in tested]:
        cells = [f"{cheat} in 10 % of the prompts", "", "", "", ""]
        for count in TABLE_COUNTS:
            share = failing_mixtures(tested[cheat], tested["batch 1"], 0.1, thresholds, count)
            cells.append(f"{share:.2%}")
        yield [*cells, "", "", ""]


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
    folder = cache_dir() / "calibration" / f"{name}-v2"
    folder.mkdir(parents=True, exist_ok=True)
    stacks = [*HONEST, *_cheats(options.cheats, options.dtype)]
    recorded = {
        stack.name: record_stack(
            stack, local, options.dtype, options.prompts, path=folder / f"{stack.name}.json"
        )
        for stack in stacks
    }
    entry = _thresholds({stack.name: recorded[stack.name] for stack in HONEST}, local, options)
    store_thresholds(entry, options.version, options.output)
    split = {stack: halves(rows) for stack, rows in recorded.items()}
    for half, other in ((0, 1), (1, 0)):
        honest = {stack.name: split[stack.name][half] for stack in HONEST}
        tested = {stack: measure(rows[other]) for stack, rows in split.items()}
        title = f"Set on half {half + 1} of the prompts, tested on half {other + 1}"
        sys.stdout.write(f"{title}:\n\n{table(tested, _thresholds(honest, local, options))}\n\n")
    return 0


def _thresholds(
    honest: Mapping[str, Sequence[Recording]], local: LocalModel, options: Namespace
) -> ProofThresholds:
    return set_thresholds(
        {stack: measure(rows) for stack, rows in honest.items()},
        name=(local.id, local.revision, options.dtype),
        origin=(
            f"{options.prompts} tagged standin-v1-short prompts on a CPU, "
            f"torch {torch.__version__}, stacks: {'; '.join(honest)}"
        ),
    )


def _cheats(names: Sequence[str], dtype: str) -> list[Stack]:
    cheats = [stack for stack in DISHONEST if stack.name in names]
    return cheats if dtype == "float32" or "int8" not in names else [SAME_ARITHMETIC, *cheats]


def _options() -> Namespace:
    parser = ArgumentParser(description="Calibrate the token proof of one model.")
    parser.add_argument("--model", default="smollm2-135m", help="name of the catalogue, or folder")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--prompts", type=int, default=192)
    parser.add_argument("--cheats", nargs="*", default=list(CHEATS), choices=list(CHEATS))
    parser.add_argument("--version", default="2", help="version of the thresholds file")
    parser.add_argument("--output", type=Path, default=THRESHOLDS_FILE, help="thresholds file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
