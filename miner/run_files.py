"""Run reports on disk: written whole, signed if there is a wallet, checked when read."""

from dataclasses import dataclass
from pathlib import Path

from miner.result import Result
from protocol.errors import ConfigurationError, ProtocolError
from protocol.run_report import RunFile, inconsistencies, open_run_file


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """A run report that was read, its signature checked."""

    path: Path
    result: Result

    @property
    def signer(self) -> str | None:
        """The hotkey that signed it; None for an unsigned one."""
        return self.result.report.hotkey


def run_file_text(file: RunFile) -> str:
    """A report's file, one line per prompt for readers of diffs."""
    return file.model_dump_json(indent=1) + "\n"


def open_run(path: Path) -> OpenedRun:
    """A report from disk, its signature and its own consistency checked.

    Raises:
        ConfigurationError: If the file can't be read, is no report, is not signed by whom it
            names, or holds what does not fit together.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    try:
        report = open_run_file(data)
    except ProtocolError as error:
        raise ConfigurationError(
            f"{path} is no run report that can be trusted: {error}",
            hint="Give a file that `carbonbench-miner measure --output` wrote, unchanged.",
        ) from error
    faults = inconsistencies(report)
    if faults:
        raise ConfigurationError(
            f"{path} contradicts itself: {'; '.join(faults)}",
            hint="No version of carbonbench-miner writes such a report: do not use its figures.",
        )
    return OpenedRun(path=path, result=Result(report=report))
