"""The simulation's plots, as small SVG files for docs/methodology.md."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np

from scripts.simulate.estimators import ESTIMATORS, error_pct
from scripts.simulate.network import Outcome
from scripts.simulate.scores import (
    CAUGHT,
    HONEST_VALUE,
    bell_mad,
    curve,
    lazy_exact_pct,
    mean_consistency,
    strikes_value,
    value_per_round,
)

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "carbonbench", "svg.fonttype": "none", "font.size": 10})

from matplotlib.axes import Axes  # noqa: E402 - after the backend is chosen
from matplotlib.figure import Figure as Canvas  # noqa: E402

_COLOURS = ("#0b6e4f", "#b5651d", "#3b528b", "#8c2d62", "#555555")
_SIZE_INCHES = (6.4, 3.2)


def draw_all(folder: Path, trials: int, outcome: Outcome) -> list[Path]:
    """Draw every plot; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Callable[[Axes], None]] = {
        "cell-value-bias": lambda axes: _bias(axes, trials),
        "consistency": lambda axes: _consistency(axes, trials),
        "lazy-subset": _lazy,
        "does-cheating-pay": lambda axes: _value(axes, trials),
        "network-pay": lambda axes: _pay(axes, outcome),
    }
    files = []
    for name, plot in plots.items():
        canvas = Canvas(figsize=_SIZE_INCHES, layout="constrained")
        plot(canvas.add_subplot())
        path = folder / f"{name}.svg"
        canvas.savefig(path, metadata={"Date": None, "Creator": None})
        files.append(path)
    return files


def _finish(axes: Axes, horizontal: str, vertical: str) -> None:
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)


def _bias(axes: Axes, trials: int) -> None:
    shares = np.arange(11)
    for name, colour in zip(("mean", "median", "network"), _COLOURS, strict=False):
        estimator = ESTIMATORS[name]
        found = [
            error_pct(estimator, trials, count=20, liars=int(liars), bias=-0.3)[0]
            for liars in shares
        ]
        axes.plot(5 * shares, found, label=name, color=colour, marker="o", markersize=3)
    _finish(axes, "liars at -30 %, of 20 operators (%)", "bias of the cell value (%)")


def _consistency(axes: Axes, trials: int) -> None:
    offsets = np.linspace(-0.4, 0.4, 33)
    for count, colour in zip((20, 5), _COLOURS, strict=False):
        label = f"network, {count} operators"
        axes.plot(100 * offsets, curve(offsets, trials, count=count), label=label, color=colour)
    bell = [mean_consistency(float(bias), trials, score=bell_mad) for bias in offsets]
    axes.plot(100 * offsets, bell, label="bell (not used)", color=_COLOURS[4], linestyle="--")
    _finish(axes, "reported energy against the truth (%)", "mean consistency C")


def _lazy(axes: Axes) -> None:
    drawn = np.arange(4, 201, 4)
    for share, colour in zip((2, 5, 10, 20), _COLOURS, strict=False):
        found = [lazy_exact_pct(share, int(count)) for count in drawn]
        axes.plot(drawn, found, label=f"{share} % skipped", color=colour)
    axes.axvline(64, color=_COLOURS[4], linewidth=0.8, linestyle=":")
    _finish(axes, "re-scored prompts k, of 1,000", "caught (%)")


def _value(axes: Axes, trials: int) -> None:
    caught = np.geomspace(CAUGHT[0], 1.0, 25)
    chance = np.random.default_rng(57)
    played = [strikes_value(float(q), chance, 100 * trials) for q in caught]
    axes.plot(caught, played, label="rule in use", color=_COLOURS[0])
    formula = [value_per_round(float(q), 100) for q in caught]
    axes.plot(caught, formula, label="out for 100 rounds at once", color=_COLOURS[1])
    axes.axhline(HONEST_VALUE, label="honesty", color=_COLOURS[4], linestyle="--")
    axes.set_xscale("log")
    _finish(axes, "chance that a report is caught", "value per round")


def _pay(axes: Axes, outcome: Outcome) -> None:
    names = sorted(outcome.pay, key=lambda name: outcome.pay[name])
    axes.barh(names, [outcome.pay[name] for name in names], color=_COLOURS[0])
    _finish(axes, "pay of one hotkey, honest = 1", "")
