"""The `Evidence` of a node: verified entries from its database, reports from their validators.

Reports are not copied into the database: a validator serves those that it judged by their
digest, so what comes back is either the report that the verdict names or refused. The newest
few are kept in memory.
"""

import math
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import httpx
import sqlalchemy as sa
from sqlalchemy.orm import Session

from api.network_evidence import Inclusion, LoggedVerdict, LogHead, NoReport
from api.store import LogEntryRow, LogFaultRow, LogSourceRow, Store
from protocol.canonical import message_digest, parse
from protocol.constants import ENVELOPE_MAX_BYTES, REPORT_MAX_BYTES
from protocol.errors import ProtocolError
from protocol.merkle import MerkleTree
from protocol.messages import Report, Verdict
from protocol.signing import Signed, verify

TIMEOUT_SECONDS = 4.0
RETRY_SECONDS = 60.0
"""A report that could not be had is not asked for again before."""
REPORTS_KEPT = 32
Kept = TypeVar("Kept")
MAX_BYTES = REPORT_MAX_BYTES + ENVELOPE_MAX_BYTES
"""A report in its signed envelope."""
HTTP_OK = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoredEvidence:
    """Looks up what a refresh has verified and kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reports: OrderedDict[str, Report] = OrderedDict()
        self._missing: OrderedDict[str, tuple[float, NoReport]] = OrderedDict()

    def heads(self) -> tuple[LogHead, ...]:
        """Each followed log, by URL."""
        with Session(self._store.engine) as session:
            faults: dict[str, list[str]] = {}
            for fault in session.scalars(sa.select(LogFaultRow).order_by(LogFaultRow.id)):
                faults.setdefault(fault.url, []).append(f"{fault.code}: {fault.detail}")
            heads = session.scalars(sa.select(LogSourceRow).order_by(LogSourceRow.url))
            return tuple(_head(row, faults.get(row.url, ())) for row in heads)

    def newest(self, limit: int) -> tuple[LoggedVerdict, ...]:
        """The newest verdicts, newest round first."""
        query = (
            sa.select(LogEntryRow)
            .where(LogEntryRow.kind == "verdict")
            .order_by(LogEntryRow.round.desc(), LogEntryRow.url, LogEntryRow.position)
            .limit(limit)
        )
        with Session(self._store.engine) as session:
            return tuple(map(_logged, session.scalars(query)))

    def verdict(self, digest: str) -> LoggedVerdict | None:
        """The verdict of that digest."""
        query = sa.select(LogEntryRow).where(
            LogEntryRow.digest == digest, LogEntryRow.kind == "verdict"
        )
        with Session(self._store.engine) as session:
            row = session.scalars(query.limit(1)).first()
            return None if row is None else _logged(row)

    def inclusion(self, logged: LoggedVerdict) -> Inclusion:
        """The path from the entry to the root over all verified entries."""
        tree = MerkleTree(self._store.leaf_hashes(logged.url))
        return Inclusion(
            size=len(tree),
            root=tree.root().hex(),
            path=tuple(node.hex() for node in tree.inclusion_proof(logged.position)),
        )

    def report(self, logged: LoggedVerdict) -> Report | NoReport:
        """The report behind a verdict, asked from the validator that judged it."""
        digest = logged.verdict.report_digest
        if digest is None:
            return NoReport(reason="the miner never revealed one")
        if digest in self._reports:
            return self._reports[digest]
        since, refusal = self._missing.get(digest, (-math.inf, None))
        if refusal is not None and time.monotonic() - since < RETRY_SECONDS:
            return refusal
        found = _fetched(f"{logged.url}/v1/reports/{digest}", digest, logged.verdict.miner)
        if isinstance(found, NoReport):
            _keep(self._missing, digest, (time.monotonic(), found))
        else:
            _keep(self._reports, digest, found)
        return found


def _keep(kept: OrderedDict[str, Kept], key: str, value: Kept) -> None:
    kept[key] = value
    while len(kept) > REPORTS_KEPT:
        kept.popitem(last=False)


def _fetched(url: str, digest: str, miner: str) -> Report | NoReport:
    body = bytearray()
    try:
        with (
            httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != HTTP_OK:
                return NoReport(reason=f"the validator answered {response.status_code}")
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    return NoReport(reason="the validator sent more than a report may have")
    except httpx.HTTPError as fault:
        return NoReport(reason=f"the validator does not answer ({type(fault).__name__})")
    try:
        report = verify(parse(Signed[Report], bytes(body), max_bytes=MAX_BYTES), hotkey=miner)
    except ProtocolError as fault:
        return NoReport(reason=f"the validator sent something else: {fault}"[:200])
    if message_digest(report) != digest:
        return NoReport(reason="what the validator sent is not the report that was judged")
    return report


def _head(row: LogSourceRow, faults: list[str] | tuple[str, ...]) -> LogHead:
    return LogHead(
        url=row.url,
        validator=row.validator,
        genesis_hash=row.genesis_hash,
        netuid=row.netuid,
        size=row.size,
        root=row.root,
        signed_at=_EPOCH + timedelta(milliseconds=row.head_unix_ms),
        faults=tuple(faults),
    )


def _logged(row: LogEntryRow) -> LoggedVerdict:
    return LoggedVerdict(
        verdict=Signed[Verdict].model_validate_json(row.body).payload,
        digest=row.digest,
        url=row.url,
        position=row.position,
        leaf_hash=row.leaf_hash.hex(),
    )
