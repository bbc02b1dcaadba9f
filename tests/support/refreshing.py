"""Fakes for the ports of a refresh."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from api.grid.intensity import History
from api.network import SignedRecord
from api.release import Release
from api.schemas import SourceState


@dataclass
class StaticLogs:
    """`VerdictLogs` that hold what they were given."""

    held: list[SignedRecord] = field(default_factory=list)
    pulls: int = 0

    async def pull(self, now: datetime) -> None:
        self.pulls += 1

    def records(self) -> Sequence[SignedRecord]:
        return tuple(self.held)

    def states(self) -> Sequence[SourceState]:
        return ()


@dataclass
class NoReadings:
    """`GridReadings` without a live source."""

    held: History = field(default_factory=dict)

    async def pull(self, now: datetime) -> None:
        return

    def history(self, now: datetime) -> History:
        return self.held

    def states(self) -> Sequence[SourceState]:
        return ()


@dataclass
class ReleaseList:
    """A `ReleaseKeeper` in memory."""

    kept: list[str] = field(default_factory=list)

    def keep(self, release: Release, inputs_digest: str) -> None:
        self.kept.append(release.id)
