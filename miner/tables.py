"""What `measure` and `check` show to people."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from miner.local_run import LocalRun
from miner.ports import Watch
from miner.result import Figure, Label, Refusal, Result, latencies
from protocol.units import milliseconds

_MEANING = {
    Label.MEASURED: "measured on this machine, not verified by anyone",
    Label.SIMULATED: "simulated device: for trying out only",
    Label.ESTIMATED: "estimated from the host's load, not measured",
    Label.REFUSED: "no energy",
}


def print_result(result: Result, console: Console) -> None:
    """The table of one run."""
    total_tokens = result.input_tokens + result.output_tokens
    median, high = latencies(result.runs)
    table = Table(title=f"{result.task.model.id} ({result.task.model.dtype})", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    _add_figure(table, "1,000 queries", result.per_1k(len(result.runs)))
    _add_figure(table, "1,000 output tokens", result.per_1k(result.output_tokens))
    _add_figure(table, "1,000 total tokens", result.per_1k(total_tokens))
    if result.energy is not None:
        table.add_row("mean power", f"{result.energy.mean_power:.1f}", "", "W")
    table.add_row("duration", f"{result.duration:.2f}", "", "s")
    rate = result.output_tokens / result.duration
    table.add_row("throughput", f"{rate:.1f}", "", "output tokens/s")
    table.add_row("latency, median", f"{milliseconds(median):.0f}", "", "ms per prompt")
    table.add_row("latency, 95 %", f"{milliseconds(high):.0f}", "", "ms per prompt")
    table.add_row("tokens in / out", f"{result.input_tokens} / {result.output_tokens}", "", "")
    console.print(table)
    for line in _notes(result):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _add_figure(table: Table, name: str, value: Figure | None) -> None:
    if value is None:
        table.add_row(name, "-", "", "Wh")
    else:
        table.add_row(name, f"{value.value:.4g}", f"{value.low:.4g} to {value.high:.4g}", "Wh")


def _notes(result: Result) -> list[str]:
    label = result.label
    lines = [f"status    {label}: {_MEANING[label]}"]
    if isinstance(result.measured, Refusal):
        lines.append(f"reason    {result.measured.code}: {result.measured.detail}")
        lines.append(f"          {result.measured.hint}")
    gpus = ", ".join(name for name, _ in result.host.gpus) or "none"
    lines.append(f"device    {result.host.device}; metered GPUs: {gpus}")
    lines.append(f"workload  {result.task.workload.key}")
    if not result.comparable_with_ai_energy_score:
        lines.append("          not comparable with the AI Energy Score leaderboard")
    return lines


def run_with_progress(run: LocalRun, *, quiet: bool) -> Result:
    """The run, its progress on stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} prompts/s"),
        TimeRemainingColumn(),
    )
    count = run.task.workload.prompt_count
    with (
        contextlib.redirect_stdout(sys.stderr),
        Progress(
            *columns, console=Console(stderr=True), disable=quiet, refresh_per_second=2
        ) as bar,
        _remembered_interrupt() as refuse_interrupted,
    ):
        step = bar.add_task("loading and warming up", total=count, rate="-")
        run.prepare(refuse_interrupted)
        bar.reset(step, description="measuring")
        begun_seconds = time.monotonic()

        def watch(done: int) -> None:
            refuse_interrupted(done)
            rate = done / max(time.monotonic() - begun_seconds, 1e-9)
            bar.update(step, completed=done, rate=f"{rate:.1f}")

        return run.run(watch)


@contextlib.contextmanager
def _remembered_interrupt() -> Iterator[Watch]:
    """A watch that raises a Ctrl-C again, in case it came where a library swallows it."""
    seen = threading.Event()

    def remember(_number: int, _frame: FrameType | None) -> None:
        seen.set()
        raise KeyboardInterrupt

    def refuse_interrupted(_done: int) -> None:
        if seen.is_set():
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # a job in the background is not for Ctrl-C
        signal.signal(signal.SIGINT, remember)
    try:
        yield refuse_interrupted
    finally:
        signal.signal(signal.SIGINT, before)
