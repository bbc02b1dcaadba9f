"""What stands behind the network's figures, one by one: verdicts, reports, log heads.

The ranking needs none of this, so it is no part of a release: the pages look it up when
somebody asks for it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from protocol.messages import Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """A validator's log as last verified."""

    url: str
    validator: str
    genesis_hash: str
    netuid: int
    size: int
    root: str
    """RFC 6962 root over the verified entries, in hex."""
    signed_at: datetime
    faults: tuple[str, ...]
    """What was ever refused from this source, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedVerdict:
    """A verdict whose signature and place in the log were verified."""

    verdict: Verdict
    digest: str
    url: str
    position: int
    leaf_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """The way from an entry to the root of its log (RFC 6962)."""

    size: int
    root: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReport:
    """Why there is no report to show."""

    reason: str


class Evidence(Protocol):
    """Where verdicts, reports and heads are looked up. May block."""

    def heads(self) -> tuple[LogHead, ...]:
        """Each followed log."""
        ...

    def newest(self, limit: int) -> tuple[LoggedVerdict, ...]:
        """The newest verdicts of all logs, newest round first."""
        ...

    def verdict(self, digest: str) -> LoggedVerdict | None:
        """The verdict of that digest."""
        ...

    def inclusion(self, logged: LoggedVerdict) -> Inclusion:
        """Proof that the log holds a verdict."""
        ...

    def report(self, logged: LoggedVerdict) -> Report | NoReport:
        """The report that a verdict is about, as far as its validator still serves it."""
        ...


@dataclass(frozen=True, slots=True)
class NoEvidence:
    """The `Evidence` of a node that follows no log."""

    def heads(self) -> tuple[LogHead, ...]:
        """None."""
        return ()

    def newest(self, limit: int) -> tuple[LoggedVerdict, ...]:
        """None."""
        return ()

    def verdict(self, digest: str) -> LoggedVerdict | None:
        """None."""
        return None

    def inclusion(self, logged: LoggedVerdict) -> Inclusion:
        """Never asked, for there is no verdict."""
        raise LookupError(logged.digest)

    def report(self, logged: LoggedVerdict) -> Report | NoReport:
        """None."""
        return NoReport(reason="no log is followed")
