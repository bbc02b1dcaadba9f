"""`python -m scripts.bench [PART...]`: run benchmarks, print a table, write build/bench.json."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from protocol.errors import Error
from scripts.bench import api, log, meter, proof, runner, scoring
from scripts.bench.entries import Entry

PARTS: dict[str, Callable[[float], Sequence[Entry]]] = {
    "api": api.run,
    "log": log.run,
    "meter": meter.run,
    "proof": proof.run,
    "runner": runner.run,
    "scoring": scoring.run,
}
"""Name -> benchmark; it is given the share of repetitions to run."""
RESULTS = Path("build/bench.json")


def main() -> int:
    """Run the parts that were asked for; 0 when all of them ran."""
    arguments = _parser().parse_args()
    entries: list[Entry] = []
    for name in arguments.parts or PARTS:
        started = time.monotonic()
        try:
            entries += PARTS[name](arguments.share)
        except Error as error:
            print(f"bench {name}: {error}\n{error.hint}".rstrip(), file=sys.stderr)
            return 1
        print(f"bench {name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    _print(entries)
    _write(entries, set(arguments.parts or PARTS))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the repetitions, for a quick look"
    )
    return parser


def _print(entries: Sequence[Entry]) -> None:
    table = Table("name", "ours", "unit", "anchor", "anchor's", "ratio")
    for one in entries:
        ratio = "" if one.ratio is None else f"{one.ratio:.1f}"
        value, anchors = f"{one.value:.4g}", f"{one.anchor_value:.4g}"
        table.add_row(one.name, value, one.unit, one.anchor, anchors, ratio)
    Console(width=140).print(table)


def _write(entries: Sequence[Entry], parts: set[str]) -> None:
    """Write the entries; those of parts that did not run now are kept."""
    RESULTS.parent.mkdir(exist_ok=True)
    kept = []
    if RESULTS.exists():
        earlier = json.loads(RESULTS.read_text())
        names = {one.name for one in entries}
        kept = [
            one
            for one in earlier
            if one["name"].split("_")[0] not in parts and one["name"] not in names
        ]
    rows = kept + [asdict(one) for one in entries]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
