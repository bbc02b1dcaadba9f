"""The plot of a run: power over time, energy by prompt. The one door to matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

from miner.prompt_energy import prompt_energies
from miner.result import Label, Result
from protocol.errors import ConfigurationError
from protocol.units import seconds_from_ms, seconds_from_us, watts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
_SIZE_INCHES = (9.0, 6.0)
_DOTS_PER_INCH = 120


def refuse_unknown_format(path: Path) -> None:
    """Say before a run that its plot could not be drawn.

    Raises:
        ConfigurationError: If the file's ending is neither .png nor .svg.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigurationError(
            f"cannot plot to {path.name}", hint=f"Name a file that ends in {' or '.join(FORMATS)}."
        )


def draw(result: Result, path: Path) -> None:
    """Draw a run into a file, PNG or SVG by its ending.

    Args:
        result: The run.
        path: Where to; written whole or not at all.

    Raises:
        ConfigurationError: If the ending is another, or the disk does not take the file.
    """
    refuse_unknown_format(path)
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second to import

    drawing = Figure(figsize=_SIZE_INCHES, layout="constrained")
    upper, lower = drawing.subplots(2, 1)
    _draw_power(upper, result)
    _draw_prompts(lower, result)
    report = result.report
    drawing.suptitle(f"{report.model.id} ({report.model.dtype}) - {result.label}", fontsize=11)
    scratch = path.with_name(f".{path.name}.part")
    try:
        drawing.savefig(scratch, format=path.suffix[1:].lower(), dpi=_DOTS_PER_INCH)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def _draw_power(axes: "Axes", result: Result) -> None:
    """Instant power of each device; the window is shaded."""
    report = result.report
    for part in report.device_energy:
        axes.plot(
            [seconds_from_ms(elapsed_ms) for elapsed_ms in part.trace.elapsed_ms],
            [watts(power_mw) for power_mw in part.trace.power_mw],
            linewidth=1,
            label=part.uuid[:16],
        )
    axes.set(xlabel="time since the window opened (s)", ylabel="power (W)", ylim=(0, None))
    if not report.device_energy:
        _say(axes, "no power trace: " + _why_none(result))
        return
    axes.axvspan(0, result.duration, alpha=0.08, label="window")
    axes.legend(loc="lower right", fontsize=8)


def _draw_prompts(axes: "Axes", result: Result) -> None:
    """Energy by prompt; the time by prompt where there is no counter."""
    energies = prompt_energies(result.report)
    places = range(1, result.query_count + 1)
    if energies is not None:
        axes.bar(places, energies, width=1.0)
        axes.set(xlabel="prompt", ylabel="energy (J)")
        return
    times = [seconds_from_us(record.end_us - record.start_us) for record in result.report.prompts]
    axes.bar(places, times, width=1.0)
    axes.set(xlabel="prompt", ylabel="time (s)", title="no energy by prompt: no counter")


def _why_none(result: Result) -> str:
    if result.report.refusal is not None:
        return result.report.refusal.code
    return "an estimate" if result.label is Label.ESTIMATED else "the board gives none"


def _say(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
