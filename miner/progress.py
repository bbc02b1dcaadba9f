"""Progress of a local run on stderr, and the signals that end it."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from miner.local_run import LocalRun
from miner.ports import Watch
from protocol.command_line import StoppedBySignal
from protocol.run_report import RunReport

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_with_progress(run: LocalRun, *, quiet: bool) -> RunReport:
    """The run, its progress on stderr: rate, and time left at that rate.

    Raises:
        StoppedBySignal: On Ctrl-C and SIGTERM.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} prompts/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with (
        contextlib.redirect_stdout(sys.stderr),
        Progress(
            *columns, console=Console(stderr=True), disable=quiet, refresh_per_second=2
        ) as bar,
        remembered_signals() as refuse_stopped,
    ):
        watcher = _Watcher(bar, run.task.workload.prompt_count, refuse_stopped)
        run.prepare(refuse_stopped)
        return run.run(watcher.phase("measuring"), watcher.phase("prefill pass"))


class _Watcher:
    """Moves the bar from phase to phase."""

    def __init__(self, bar: Progress, count: int, refuse_stopped: Watch) -> None:
        self._bar, self._refuse_stopped = bar, refuse_stopped
        self._step = bar.add_task("loading and warming up", total=count, rate="-")
        self._phase, self._begun_seconds = "", 0.0

    def phase(self, name: str) -> Watch:
        """A watch that shows its phase from its first call on."""

        def watch(done: int) -> None:
            self._refuse_stopped(done)
            if self._phase != name:
                self._phase, self._begun_seconds = name, time.monotonic()
                self._bar.reset(self._step, description=name, rate="-")
                self._first = done
            passed_seconds = time.monotonic() - self._begun_seconds
            rate = (done - self._first) / passed_seconds if passed_seconds > 0 else 0.0
            shown = f"{rate:.1f}" if rate else "-"
            self._bar.update(self._step, completed=done, rate=shown)

        return watch


@contextlib.contextmanager
def remembered_signals() -> Iterator[Watch]:
    """A watch that raises a Ctrl-C or SIGTERM again, in case a library swallowed it."""
    seen: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        raise StoppedBySignal(number)

    def refuse_stopped(_done: int) -> None:
        if seen:
            raise StoppedBySignal(seen[0])

    with _handled(remember):
        yield refuse_stopped


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give the signals to a handler; those that are ignored stay so (a job in the background)."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may, and only it is interrupted
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, earlier in before.items():
        if earlier is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
