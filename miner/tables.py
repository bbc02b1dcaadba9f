"""What `measure`, `compare` and `check` show to people."""

from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from rich.console import Console
from rich.table import Table

from miner.comparison import Compared, Comparison, figure_text
from miner.published import PUBLISHED_GPU
from miner.result import Figure, Label, Result, latencies, mean_power
from miner.stars import BANDS
from protocol.checkup import Row
from protocol.models import size_text
from protocol.units import milliseconds

_MEANING = {
    Label.MEASURED: "measured on this machine, not verified by anyone",
    Label.SIMULATED: "simulated device: for trying out only",
    Label.ESTIMATED: "estimated from the host's load, not measured",
    Label.REFUSED: "no energy",
}
_METHOD = {"v1": "same method", "v2": "another method: sampled, chat template"}


def print_result(result: Result, console: Console) -> None:
    """The table of one run."""
    report = result.report
    median, high = latencies(report.prompts)
    table = Table(title=f"{report.model.id} ({report.model.dtype})", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    _add_figure(table, "1,000 queries", result.per_1k(result.query_count))
    _add_phases(table, result)
    _add_figure(table, "1,000 output tokens", result.per_1k(result.output_tokens))
    _add_figure(table, "1,000 total tokens", result.per_1k(result.total_tokens))
    if result.energy is not None:
        table.add_row("mean power", f"{mean_power(result.energy):.1f}", "", "W")
    table.add_row("duration", f"{result.duration:.2f}", "", "s")
    rate = result.output_tokens / result.duration
    table.add_row("throughput", f"{rate:.1f}", "", "output tokens/s")
    per = "prompt" if result.workload.batch_size == 1 else "batch"
    table.add_row("latency, median", f"{milliseconds(median):.0f}", "", f"ms per {per}")
    table.add_row("latency, 95 %", f"{milliseconds(high):.0f}", "", f"ms per {per}")
    table.add_row("tokens in / out", f"{result.input_tokens} / {result.output_tokens}", "", "")
    console.print(table)
    for line in (*_notes(result), *_standing_notes(result)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Several runs side by side, ranked only inside one cell."""
    table = Table(title="Wh per 1,000, 95 % interval below", title_justify="left")
    table.add_column("rank", no_wrap=True)
    table.add_column("", no_wrap=True)
    for title in ("queries", "output tokens", "total tokens"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for letter, row in zip(ascii_uppercase, comparison.rows, strict=False):
        table.add_row(*_compared(letter, row))
    console.print(table)
    for letter, row in zip(ascii_uppercase, comparison.rows, strict=False):
        cell, signer = row.result.cell, row.result.report.hotkey
        shown = f"signed by {signer}" if signer else "unsigned: anyone may have made it"
        for line in (f"{letter}  {row.name}, {shown}", f"   {cell.key}"):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    if not comparison.ranked:
        why = ", ".join(comparison.differing)
        console.print(f"not ranked: the reports differ in {why}", highlight=False, soft_wrap=True)


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """The table of `check`."""
    table = Table()
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("detail, and how to mend it")
    for row in rows:
        state = "ok" if row.ok else "[bold red]missing[/]"
        detail = row.detail if row.ok or not row.hint else f"{row.detail}\n{row.hint}"
        table.add_row(row.what, state, detail)
    console.print(table)


def _add_figure(table: Table, name: str, value: Figure | None) -> None:
    if value is None:
        table.add_row(name, "-", "", "Wh")
    else:
        table.add_row(name, f"{value.value:.4g}", f"{value.low:.4g} to {value.high:.4g}", "Wh")


def _add_phases(table: Table, result: Result) -> None:
    phases = result.phases
    if phases is not None:
        _add_figure(table, "  of which prefill", phases.prefill)
        table.add_row("  of which decode", f"{phases.decode_wh_per_1k_queries:.4g}", "", "Wh")


def _compared(letter: str, row: Compared) -> tuple[str, ...]:
    result = row.result
    counts = (result.query_count, result.output_tokens, result.total_tokens)
    return (
        _ranks(row.ranks),
        letter,
        *(figure_text(result.per_1k(count)) for count in counts),
        result.label,
    )


def _ranks(ranks: range | None) -> str:
    if ranks is None:
        return "-"
    return str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]}-{ranks[-1]}"


def _notes(result: Result) -> Iterator[str]:
    report, label = result.report, result.label
    yield f"status    {label}: {_MEANING[label]}"
    if report.refusal is not None:
        yield f"reason    {report.refusal.code}: {report.refusal.detail}"
        yield f"          {report.refusal.hint}"
    gpus = ", ".join(device.name for device in report.devices) or "none"
    yield f"device    {report.torch_device} ({report.engine}); metered GPUs: {gpus}"
    yield f"workload  {report.workload}"
    if not result.comparable_with_ai_energy_score:
        yield "          not comparable with the AI Energy Score leaderboard"


def _standing_notes(result: Result) -> Iterator[str]:
    """Class, stars and the published row, each with what it may be compared with."""
    found = result.standing
    yield f"class     {result.size_class} ({size_text(result.report.parameters)} parameters)"
    if found is not None:
        shown = "*" * found.stars + "." * (BANDS - found.stars)
        yield (
            f"stars     {shown} by the AI Energy Score band rule, among {found.group_size}"
            f" published models of class {found.size_class} (February 2025)"
        )
        yield f"quintile  {found.quintile} of {BANDS} by rank among the same; 5 is lowest"
    elif result.comparable_with_ai_energy_score:
        yield f"stars     none: they compare measurements on {PUBLISHED_GPU} only"
    for row in result.published:
        yield (
            f"published {row.wh_per_1k_queries:g} Wh per 1,000 queries, {row.stars} of {BANDS}"
            f" stars ({row.test_round}, {_METHOD[row.test_round]}; {PUBLISHED_GPU})"
        )
