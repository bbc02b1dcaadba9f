"""Reports and commitments on disk, one folder a round; what a restart finds again.

A file appears whole or not at all, and a commitment is only ever created, never replaced: so a
kill at any point leaves no half message and no two commitments for one round. A report without
a commitment is one that the miner was about to commit to.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from miner.outcome import Ending, Outcome
from miner.reporting import Identity
from protocol.canonical import canonical_bytes
from protocol.errors import ConfigurationError, StoreError
from protocol.ids import RoundNumber
from protocol.messages import Commitment, Report
from protocol.signing import Signed

T = TypeVar("T", bound=BaseModel)

_REPORT, _COMMITMENT, _OUTCOME = "report.json", "commitment.json", "outcome.json"
_LISTED_OUTCOMES = 20
_GENESIS_DIGITS = 12
ROOM_BYTES = 16 * 2**20
"""A few reports and their partial files."""
_OUTCOME_SCHEMA = TypeAdapter(Outcome)


class FileArchive:
    """The rounds of one hotkey on one network.

    Args:
        folder: Where they lie; made when missing.
        keep_rounds: Rounds kept; older ones are deleted.
        room_bytes: Free space without which no run is begun.
    """

    def __init__(self, folder: Path, *, keep_rounds: int, room_bytes: int = ROOM_BYTES) -> None:
        self._folder, self._keep_rounds, self._room_bytes = folder, keep_rounds, room_bytes

    def report(self, number: RoundNumber) -> Signed[Report] | None:
        """The report of a round, or None."""
        data = self.report_bytes(number)
        return None if data is None else _parsed(Signed[Report], data, f"report {number}")

    def commitment(self, number: RoundNumber) -> Signed[Commitment] | None:
        """The commitment of a round, or None."""
        data = self.commitment_bytes(number)
        return None if data is None else _parsed(Signed[Commitment], data, f"commitment {number}")

    def report_bytes(self, number: RoundNumber) -> bytes | None:
        """The signed report of a round as it is served."""
        return _read(self._round(number) / _REPORT)

    def commitment_bytes(self, number: RoundNumber) -> bytes | None:
        """The signed commitment of a round as it is served."""
        return _read(self._round(number) / _COMMITMENT)

    def keep_report(self, report: Signed[Report]) -> None:
        """Keep the report of a round; a later one takes its place until there is a commitment.

        Raises:
            StoreError: If there is a commitment for the round, or the disk does not take it.
        """
        folder = self._round(RoundNumber(report.payload.round))
        if (folder / _COMMITMENT).exists():
            raise StoreError(f"round {report.payload.round} is committed to already")
        _write(folder / _REPORT, canonical_bytes(report), replace=True)

    def keep_commitment(self, commitment: Signed[Commitment]) -> None:
        """Keep the commitment of a round: from now on it is served.

        Raises:
            StoreError: If there is one for the round already, or the disk does not take it.
        """
        folder = self._round(RoundNumber(commitment.payload.round))
        _write(folder / _COMMITMENT, canonical_bytes(commitment), replace=False)
        self._forget_old()

    def keep_outcome(self, outcome: Outcome) -> bool:
        """Keep how a round ended; after a restart within a round only a first commitment counts.

        Returns:
            Whether it was kept: False when it was known before.

        Raises:
            StoreError: If the disk does not take it.
        """
        path = self._round(outcome.round) / _OUTCOME
        before = _outcome(path)
        committed_now = outcome.ending is Ending.COMMITTED
        if before is not None and (not committed_now or before.ending is Ending.COMMITTED):
            return False
        _write(path, _OUTCOME_SCHEMA.dump_json(outcome), replace=True)
        return True

    def make_room(self) -> None:
        """Make sure, before a run, that its report can be kept.

        Raises:
            StoreError: If the disk has less room than a few reports take.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise StoreError(
                f"cannot write {self._folder}: {error.strerror}",
                hint="Check disk space and permissions.",
            ) from error
        if free_bytes < self._room_bytes:
            raise StoreError(
                f"{free_bytes // 2**20} MiB are left on the disk of {self._folder}",
                hint="Free some space, or lower MINER_KEEP_ROUNDS.",
            )

    def outcomes(self) -> tuple[Outcome, ...]:
        """How the last rounds ended, newest first."""
        last = reversed(self._rounds()[-_LISTED_OUTCOMES:])
        found = (_outcome(folder / _OUTCOME) for folder in last)
        return tuple(outcome for outcome in found if outcome is not None)

    def _round(self, number: RoundNumber) -> Path:
        return self._folder / f"{number:012d}"

    def _rounds(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*"))

    def _forget_old(self) -> None:
        for folder in self._rounds()[: -self._keep_rounds]:
            shutil.rmtree(folder, ignore_errors=True)


def rounds_folder(identity: Identity) -> str:
    """Name of the folder of one hotkey's rounds on one subnet of one chain."""
    chain = identity.genesis_hash.removeprefix("0x")[:_GENESIS_DIGITS]
    return f"{chain}-{identity.netuid}-{identity.hotkey}"


@contextmanager
def data_folder(folder: Path) -> Iterator[Path]:
    """The data folder, made and held by this process alone until the end.

    Raises:
        ConfigurationError: If it can't be written, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the data folder {folder}: {error.strerror}",
            hint="Choose another one with MINER_DATA_DIR or --data-dir.",
        ) from error
    try:
        _hold(lock, folder)
        yield folder
    finally:
        os.close(lock)


def _hold(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            f"another miner uses the data folder {folder}",
            hint="Stop it, or give this one another folder with MINER_DATA_DIR or --data-dir.",
        ) from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    """Put a whole file in place and onto the disk; refuse to replace one unless allowed."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # after a kill it may be the same file as `path`
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            partial.replace(path)
        else:
            path.hardlink_to(partial)
            partial.unlink()
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise StoreError(f"{path} exists and is never replaced") from error
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}", hint="Check disk space and permissions."
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parsed(model: type[T], data: bytes, what: str) -> T:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise StoreError(f"the kept {what} is damaged", hint="Delete its folder.") from error


def _outcome(path: Path) -> Outcome | None:
    """A kept outcome; None when there is none, or another version wrote it otherwise."""
    data = _read(path)
    if data is None:
        return None
    try:
        return _OUTCOME_SCHEMA.validate_json(data)
    except ValidationError:
        return None
