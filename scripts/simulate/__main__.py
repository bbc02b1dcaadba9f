"""`python -m scripts.simulate [TABLE...]`: tables 5.1 to 5.7 of the design, and a whole network.

Prints each table on the real scoring code, with the design report's figure in brackets where
ours differs by more than chance. `--plots FOLDER` draws the plots of docs/methodology.md.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from scripts.simulate import estimators, scores
from scripts.simulate.network import CONDUCTS, Outcome, play
from scripts.simulate.tables import Figure, Table, show

TABLES: dict[str, tuple[Callable[[int], Table], ...]] = {
    "5.1": (estimators.bias_table, estimators.error_table, estimators.case_table),
    "5.2": (scores.lazy_table, lambda _trials: scores.noisy_table()),
    "5.3": (scores.power_table,),
    "5.4": (scores.consistency_table,),
    "5.5": (scores.luck_table,),
    "5.6": (estimators.sybil_table, estimators.pair_table, estimators.anchor_table),
    "5.7": (scores.value_table,),
}
NETWORK = "network"


def main() -> int:
    """Print what was asked for; always 0, as a difference is a finding and no failure."""
    arguments = _parser().parse_args()
    console = Console(width=150)
    chosen = arguments.tables or [*TABLES, NETWORK]
    outcome: Outcome | None = None
    for name in chosen:
        if name == NETWORK:
            outcome = _network(arguments)
            show(network_table(outcome), console)
            console.print(_told(outcome))
            continue
        for table in TABLES[name]:
            show(table(arguments.trials), console)
    if arguments.plots is not None:
        from scripts.simulate.plots import draw_all  # noqa: PLC0415 - matplotlib is slow to load

        outcome = outcome or _network(arguments)
        for path in draw_all(arguments.plots, min(arguments.trials, 400), outcome):
            console.print(f"{path} ({path.stat().st_size} bytes)")
    return 0


def network_table(outcome: Outcome) -> Table:
    """Pay and exclusion by conduct."""
    rows = []
    for conduct in CONDUCTS:
        if conduct.name in outcome.pay:
            for column, value in (
                ("pay, honest = 1", outcome.pay[conduct.name]),
                ("excluded, % of rounds", outcome.excluded_pct[conduct.name]),
            ):
                rows.append(
                    Figure(row=conduct.name, column=column, value=value, reported=None, tolerance=0)
                )
    return Table(name="A whole network", unit="per hotkey", figures=tuple(rows))


def _network(arguments: argparse.Namespace) -> Outcome:
    started = time.monotonic()
    outcome = play(
        miners=arguments.miners, validators=arguments.validators, rounds=arguments.rounds
    )
    print(f"network: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return outcome


def _told(outcome: Outcome) -> str:
    return (
        f"cell values: bias {outcome.bias_pct:+.2f} %, RMSE {outcome.error_pct:.2f} %, contested "
        f"{outcome.contested_pct:.1f} %; two regions' weights differ by "
        f"{outcome.disagreement_u16} of 65,535 at most\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES, NETWORK], help="default: all")
    parser.add_argument("--trials", type=int, default=2_000, help="cells per figure")
    parser.add_argument("--miners", type=int, default=256)
    parser.add_argument("--validators", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--plots", type=Path, help="folder for the SVG files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
