"""Validators' logs over HTTP: pulled in steps, verified before anything is kept.

For each source: the head's signature; the chain; no shrinking; every new entry's signature,
author and schema; and the Merkle root over everything that we ever kept plus the new entries
must be the head's root, which is stronger than a consistency proof: a rewritten past cannot pass.
A long log is taken in steps, each tied to the head by a consistency proof. A source that
fails any of it is refused with a code, its last good state goes on being used, and what it
showed is kept as evidence. A source that does not answer is merely unreachable.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, NoReturn

import httpx
import structlog
from pydantic import Field

from api.network import SignedRecord
from api.schemas import SourceState
from api.store import LogSourceRow, Store, StoredEntry
from protocol.canonical import canonical_bytes, message_digest, parse
from protocol.constants import ENVELOPE_MAX_BYTES, LOG_ENTRY_MAX_BYTES
from protocol.errors import ProtocolError, RejectionCode, StoreError
from protocol.ids import Hotkey
from protocol.merkle import MerkleTree, leaf_hash, verify_consistency
from protocol.messages import Message, RoundRecord, Sha256, TreeHead, Verdict
from protocol.signing import Signed, verify

PAGE_ENTRIES = 50
PAGE_MAX_BYTES = 16 * 2**20
STEP_ENTRIES = 2_000
"""Entries that are held in memory before they are tied to the head and kept."""
PROOF_MAX_BYTES = 16_384
TIMEOUT_SECONDS = 10.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HTTP_OK = 200
HTTP_NOT_FOUND = 404

log = structlog.get_logger(__name__)


class EntriesPage(Message):
    """A page of a log as its server answers."""

    start: int
    size: int
    entries: tuple[Signed[Verdict] | Signed[RoundRecord], ...]


class ConsistencyAnswer(Message):
    """A consistency proof as a log server answers."""

    old: int
    new: int
    proof: Annotated[tuple[Sha256, ...], Field(max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAddress:
    """A validator's log to follow."""

    url: str
    """Base URL, without a trailing slash."""
    validator: Hotkey | None = None
    """Who must have signed; None trusts the first signer and holds it to that."""
    weight: float = 1.0
    """Stake behind the validator, for merging; equal when not given."""


@dataclass(slots=True)
class _Followed:
    """What is known of one source."""

    address: LogAddress
    tree: MerkleTree = field(default_factory=MerkleTree)
    head: LogSourceRow | None = None
    records: list[SignedRecord] = field(default_factory=list)
    state: str = "empty"
    detail: str = "not asked yet"
    shown: bytes = b""
    """The head that it showed last: evidence when it is refused."""
    is_loaded: bool = False


class _Unreachable(Exception):  # noqa: N818 - internal; not an error of ours
    """The source did not answer as a log server does."""


class ValidatorLogs:
    """The `VerdictLogs` of a refresh."""

    def __init__(
        self, addresses: Sequence[LogAddress], store: Store, client: httpx.AsyncClient
    ) -> None:
        self._followed = [_Followed(address) for address in addresses]
        self._store = store
        self._client = client

    async def pull(self, now: datetime) -> None:
        """Fetch and verify what is new from every source, each on its own."""
        await asyncio.gather(*(self._pull(followed, now) for followed in self._followed))

    def records(self) -> tuple[SignedRecord, ...]:
        """All verified round records, by source, oldest first."""
        return tuple(record for followed in self._followed for record in followed.records)

    def states(self) -> tuple[SourceState, ...]:
        """Each source as last seen."""
        return tuple(map(_state, self._followed))

    async def _pull(self, followed: _Followed, now: datetime) -> None:
        url = followed.address.url
        try:
            if not followed.is_loaded:
                await asyncio.to_thread(_load, followed, self._store)
            await self._follow(followed)
        except StoreError as fault:
            # What was verified before goes on; the entries are asked for again.
            followed.state, followed.detail = "unreachable", str(fault)
            log.error("log not kept", url=url, detail=str(fault), hint=fault.hint)
        except ProtocolError as fault:
            followed.state = "refused"
            followed.detail = f"{fault.code}: {fault}"
            log.warning("log refused", url=url, code=fault.code, detail=str(fault))
            await asyncio.to_thread(self._record, followed, fault, now)
        except _Unreachable as fault:
            followed.state, followed.detail = "unreachable", str(fault)
            log.info("log unreachable", url=url, detail=str(fault))

    def _record(self, followed: _Followed, fault: ProtocolError, now: datetime) -> None:
        url, code = followed.address.url, str(fault.code)
        try:
            self._store.record_fault(url, code, str(fault), followed.shown, now)
        except StoreError as trouble:
            log.error("evidence not kept", url=url, detail=str(trouble), hint=trouble.hint)

    async def _follow(self, followed: _Followed) -> None:
        body = await self._get(followed.address.url, "/v1/log/head", ENVELOPE_MAX_BYTES * 2)
        if body is None:
            if followed.head is not None:
                _refuse(f"the log is gone; it had {followed.head.size} entries")
            followed.state, followed.detail = "empty", "the log has no entries yet"
            return
        followed.shown = body
        signed = parse(Signed[TreeHead], body, max_bytes=ENVELOPE_MAX_BYTES * 2)
        head = _verified_head(signed, followed)
        if head.size == 0:
            followed.state, followed.detail = "empty", "the log has no entries yet"
            return
        if head.size > len(followed.tree):
            await self._extend(followed, head, body)
        followed.state = "ok"
        followed.detail = f"{len(followed.tree)} entries verified"

    async def _extend(self, followed: _Followed, head: TreeHead, body: bytes) -> None:
        url = followed.address.url
        while len(followed.tree) < head.size:
            tree = MerkleTree(await asyncio.to_thread(self._store.leaf_hashes, url))
            goal = min(head.size, len(tree) + STEP_ENTRIES)
            entries, records = await self._step(followed.address, head, tree, goal)
            await self._tie(url, tree, head)
            row = _head_row(url, head, tree, body)
            await asyncio.to_thread(self._store.extend_log, row, entries)
            followed.tree, followed.head = tree, row
            followed.records.extend(records)

    async def _step(
        self, address: LogAddress, head: TreeHead, tree: MerkleTree, goal: int
    ) -> tuple[list[StoredEntry], list[SignedRecord]]:
        """Append verified entries to the tree until it holds `goal` of them."""
        entries: list[StoredEntry] = []
        records: list[SignedRecord] = []
        while len(tree) < goal:
            for envelope in await self._page(address.url, len(tree), goal):
                entry, record = _verified_entry(envelope, head, len(tree), address)
                tree.append_hash(entry.leaf_hash)
                entries.append(entry)
                if record is not None:
                    records.append(record)
        return entries, records

    async def _tie(self, url: str, tree: MerkleTree, head: TreeHead) -> None:
        """Show that our tree is the head's, or a prefix of it."""
        size = len(tree)
        if size == head.size:
            if tree.root().hex() != head.root:
                _refuse(f"entries do not lead to the signed root at size {size}")
            return
        path = f"/v1/log/consistency?old={size}&new={head.size}"
        body = await self._get(url, path, PROOF_MAX_BYTES)
        if body is None:
            _refuse(f"no consistency proof from {size} to {head.size}")
        proof = parse(ConsistencyAnswer, body, max_bytes=PROOF_MAX_BYTES)
        verify_consistency(
            old_size=size,
            old_root=tree.root(),
            size=head.size,
            root=bytes.fromhex(head.root),
            proof=[bytes.fromhex(node) for node in proof.proof],
        )

    async def _page(
        self, url: str, start: int, size: int
    ) -> tuple[Signed[Verdict] | Signed[RoundRecord], ...]:
        limit = min(PAGE_ENTRIES, size - start)
        path = f"/v1/log/entries?start={start}&limit={limit}"
        body = await self._get(url, path, PAGE_MAX_BYTES)
        if body is None:
            _refuse(f"no entries from {start}, though the head covers {size}")
        page = parse(EntriesPage, body, max_bytes=PAGE_MAX_BYTES)
        if page.start != start or not page.entries:
            _refuse(f"no entries from {start}, though the head covers {size}")
        return page.entries[:limit]

    async def _get(self, base: str, path: str, max_bytes: int) -> bytes | None:
        """The body, or None for 404."""
        try:
            async with self._client.stream("GET", base + path) as response:
                if response.status_code == HTTP_NOT_FOUND:
                    return None
                if response.status_code != HTTP_OK:
                    raise _Unreachable(f"{path} answered {response.status_code}")
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > max_bytes:
                        detail = f"{path} answered more than {max_bytes} bytes"
                        raise ProtocolError(detail, code=RejectionCode.OVERSIZED)
                return bytes(body)
        except httpx.HTTPError as fault:
            raise _Unreachable(f"{type(fault).__name__}: {fault}") from fault


def _verified_head(signed: Signed[TreeHead], followed: _Followed) -> TreeHead:
    expected = followed.address.validator or (
        followed.head.validator if followed.head else signed.payload.validator
    )
    head = verify(signed, hotkey=expected)
    if head.validator != expected:
        raise ProtocolError("the head names another validator", code=RejectionCode.WRONG_MINER)
    known = followed.head
    if known is None:
        return head
    if (head.genesis_hash, head.netuid) != (known.genesis_hash, known.netuid):
        raise ProtocolError("the log changed to another chain", code=RejectionCode.WRONG_CHAIN)
    if head.size < known.size:
        _refuse(f"the log has shrunk from {known.size} to {head.size} entries")
    if head.size == known.size and head.root != known.root:
        _refuse(f"the log has forked: another root at size {head.size}")
    return head


def _verified_entry(
    envelope: Signed[Verdict] | Signed[RoundRecord],
    head: TreeHead,
    position: int,
    address: LogAddress,
) -> tuple[StoredEntry, SignedRecord | None]:
    data = canonical_bytes(envelope)
    if len(data) > LOG_ENTRY_MAX_BYTES:
        raise ProtocolError(f"entry {position} is too large", code=RejectionCode.OVERSIZED)
    payload = _verified_payload(envelope, head.validator)
    if payload.validator != head.validator:
        detail = f"entry {position} names another validator"
        raise ProtocolError(detail, code=RejectionCode.WRONG_MINER)
    if (payload.genesis_hash, payload.netuid) != (head.genesis_hash, head.netuid):
        detail = f"entry {position} is of another chain"
        raise ProtocolError(detail, code=RejectionCode.WRONG_CHAIN)
    entry = StoredEntry(
        position=position,
        kind=payload.kind,
        round=payload.round,
        digest=message_digest(payload),
        leaf_hash=leaf_hash(data),
        body=data,
        head_unix_ms=head.unix_ms,
    )
    if isinstance(payload, Verdict):
        return entry, None
    return entry, _signed_record(payload, entry, address)


def _verified_payload(
    envelope: Signed[Verdict] | Signed[RoundRecord], hotkey: str
) -> Verdict | RoundRecord:
    # Two calls, because a type variable cannot stand for a union.
    if envelope.payload.kind == "verdict":
        return verify(envelope, hotkey=hotkey)
    return verify(envelope, hotkey=hotkey)


def _signed_record(record: RoundRecord, entry: StoredEntry, address: LogAddress) -> SignedRecord:
    return SignedRecord(
        record=record,
        digest=message_digest(record),
        validator=Hotkey(record.validator),
        weight=address.weight,
        signed_at=_moment(entry.head_unix_ms),
    )


def _load(followed: _Followed, store: Store) -> None:
    """Take up where the last process stopped; what is kept was verified before."""
    url = followed.address.url
    followed.head = store.log_source(url)
    followed.tree = MerkleTree(store.leaf_hashes(url))
    for entry in store.log_entries(url, kind="round"):
        envelope = Signed[RoundRecord].model_validate_json(entry.body)
        followed.records.append(_signed_record(envelope.payload, entry, followed.address))
    followed.is_loaded = True


def _head_row(url: str, head: TreeHead, tree: MerkleTree, body: bytes) -> LogSourceRow:
    return LogSourceRow(
        url=url,
        validator=head.validator,
        genesis_hash=head.genesis_hash,
        netuid=head.netuid,
        size=len(tree),
        root=tree.root().hex(),
        head_json=body.decode(),
        head_unix_ms=head.unix_ms,
    )


def _state(followed: _Followed) -> SourceState:
    head = followed.head
    return SourceState.model_validate(
        {
            "name": followed.address.url,
            "kind": "log",
            "state": followed.state,
            "detail": followed.detail,
            "data_as_of": _moment(head.head_unix_ms) if head else None,
            "entries": len(followed.tree),
            "validator": head.validator if head else followed.address.validator,
        }
    )


def _moment(unix_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=unix_ms)


def _refuse(detail: str) -> NoReturn:
    raise ProtocolError(detail, code=RejectionCode.COMMITMENT_MISMATCH)
