"""Blocks: pool, inclusion, events, hashes, clock, snapshots.

The node is single-threaded: all of it runs in one event loop. A block is final at once.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from protocol.units import Seconds, milliseconds
from scripts.devnet.chain.admission import Extrinsic, RpcError, admit, invalid
from scripts.devnet.chain.calls import dispatch, plain_bytes
from scripts.devnet.chain.epoch import is_due, run_epoch
from scripts.devnet.chain.faults import Faults
from scripts.devnet.chain.ledger import RETAINED_BLOCKS, Ledger
from scripts.devnet.chain.metadata import Runtime, compact, load_runtime
from scripts.devnet.chain.refusal import RefusalError
from scripts.devnet.chain.shield import SEED_BYTES, SHIELD, Shield, is_shielded
from scripts.devnet.chain.subnet import SUBTENSOR, Subnet, account_nonce, bump_nonce
from scripts.devnet.chain.timelock import Escrow

NO_HASH = "0x" + "00" * 32
_DISPATCH_INFO = {
    "weight": {"ref_time": 0, "proof_size": 0},
    "class": "Normal",
    "pays_fee": "Yes",
}
_UNSIGNED_V4 = b"\x04"

Watcher = Callable[[str, str], None]
"""Called with an extrinsic's status (`inBlock`, `invalid`) and the block's hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBlock:
    """One block of the chain."""

    number: int
    hash: str
    parent: str
    extrinsics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    ledger: Ledger
    blocks: list[SealedBlock]


@dataclass(slots=True)
class Node:
    """One devnet chain.

    Args:
        seed: Secret that makes block hashes unpredictable, and the genesis hash unique. The
            same seed and the same history give the same hashes.
        block_seconds: Clock; 0 seals a block for each extrinsic at once, and else on demand.
    """

    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    block_seconds: float = 0.0
    ledger: Ledger = field(default_factory=lambda: Ledger(load_runtime()), repr=False)
    blocks: list[SealedBlock] = field(default_factory=list, repr=False)
    netuids: list[int] = field(default_factory=list)
    """Subnets whose epochs run."""
    head_listeners: set[Callable[[SealedBlock], None]] = field(default_factory=set)
    faults: Faults = field(default_factory=Faults, repr=False)
    refusals: Counter[str] = field(default_factory=Counter, repr=False)
    """How often each error was dispatched, such as `SubtensorModule.SettingWeightsTooFast`."""
    escrow: Escrow = field(default_factory=Escrow, repr=False)
    """What timelocked commits hold."""
    _pool: list[tuple[Extrinsic, Watcher | None]] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict, repr=False)
    _snapshots: dict[str, _Snapshot] = field(default_factory=dict)
    _forks: int = 0
    _tick: asyncio.Event = field(default_factory=asyncio.Event)
    _shield: Shield = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._shield = Shield(blake2b(self.seed, digest_size=SEED_BYTES).digest())
        self.ledger.put(SHIELD, "NextKey", value="0x" + self._shield.public_key.hex())
        self._append(
            SealedBlock(number=0, hash=self._hash(b"genesis"), parent=NO_HASH, extrinsics=())
        )

    @property
    def head(self) -> SealedBlock:
        """The newest block."""
        return self.blocks[-1]

    @property
    def genesis(self) -> str:
        """Hash of block 0."""
        return self.blocks[0].hash

    def block_hash(self, number: int) -> str | None:
        """Hash of a block by number, or None when there is none."""
        return self.blocks[number].hash if 0 <= number < len(self.blocks) else None

    def block(self, block_hash: str | None) -> SealedBlock | None:
        """A block by hash (the head for None), or None."""
        if block_hash is None:
            return self.head
        number = self._numbers.get(block_hash)
        return None if number is None else self.blocks[number]

    def state_block(self, block_hash: str | None) -> int:
        """Number of the block whose state a read is for.

        Raises:
            RpcError: If there is no such block, or its state is gone.
        """
        block = self.block(block_hash)
        if block is None:
            raise RpcError(
                -32000, f"Client error: UnknownBlock: Header was not found: {block_hash}"
            )
        if block.number < self.head.number - RETAINED_BLOCKS:
            reason = f"UnknownBlock: State already discarded for {block_hash}"
            raise RpcError(4003, f"Client error: {reason}")
        return block.number

    def next_nonce(self, address: str) -> int:
        """The account's next nonce, extrinsics in the pool included."""
        pending = sum(1 for extrinsic, _ in self._pool if extrinsic.signer == address)
        return account_nonce(self.ledger, address) + pending

    def submit(self, encoded: str, watcher: Watcher | None = None) -> str:
        """Admit an extrinsic to the pool; its hash.

        Raises:
            RpcError: If it is not valid, or known already.
        """
        extrinsic = admit(self.ledger, encoded, head=self.head.number, block_hash=self.block_hash)
        if any(pending.hash == extrinsic.hash for pending, _ in self._pool):
            raise RpcError(1013, "Transaction Already Imported")
        if extrinsic.nonce > self.next_nonce(extrinsic.signer):
            raise invalid("Transaction will be valid in the future")
        if extrinsic.nonce < self.next_nonce(extrinsic.signer):
            raise RpcError(1014, "Priority is too low: (0 vs 0)")
        self._pool.append((extrinsic, watcher))
        if not self.block_seconds:
            self.seal()
        return extrinsic.hash

    def seal(self) -> SealedBlock:
        """Make the next block from the pool."""
        number = self.head.number + 1
        self.ledger.block = number
        pool, self._pool = self._pool, []
        now_ms = self._timestamp_ms()
        inherent = self._inherent(now_ms)
        included = tuple(self._opened(extrinsic for extrinsic, _ in pool))
        bodies = (inherent, *(extrinsic.encoded for extrinsic in included))
        self.ledger.put("Timestamp", "Now", value=now_ms)
        self.ledger.put("System", "Number", value=number)
        self._store_events(included)
        self._end_of_block()
        digest = self._hash(self.head.hash.encode(), *(body.encode() for body in bodies))
        block = SealedBlock(number=number, hash=digest, parent=self.head.hash, extrinsics=bodies)
        self._append(block)
        for extrinsic, watcher in pool:
            if watcher is not None:
                watcher(extrinsic.hash, block.hash)
        for listener in tuple(self.head_listeners):
            listener(block)
        return block

    def mine(self, count: int) -> SealedBlock:
        """Make that many blocks at once; the last one."""
        for _ in range(count):
            self.seal()
        return self.head

    def set_block_seconds(self, block_seconds: float) -> None:
        """Change the clock; 0 stops it."""
        self.block_seconds = block_seconds
        self._tick.set()

    async def run_clock(self) -> None:
        """Make blocks until cancelled."""
        while True:
            self._tick.clear()
            try:
                await asyncio.wait_for(self._tick.wait(), self.block_seconds or None)
            except TimeoutError:
                self.seal()

    def create_subnet(self, netuid: int, *, owner_hotkey: str, owner_coldkey: str) -> Subnet:
        """Create a subnet at the head."""
        subnet = Subnet(self.ledger, netuid)
        subnet.create(owner_hotkey=owner_hotkey, owner_coldkey=owner_coldkey)
        self.netuids.append(netuid)
        return subnet

    def snapshot(self) -> str:
        """Remember the state; a name for `rewind`."""
        name = f"snapshot-{len(self._snapshots)}"
        self._snapshots[name] = _Snapshot(self.ledger.copied(), list(self.blocks))
        return name

    def rewind(self, name: str) -> SealedBlock:
        """Return to a snapshot; blocks from there on get other hashes.

        Raises:
            RpcError: If there is no such snapshot.
        """
        kept = self._snapshots.get(name)
        if kept is None:
            raise RpcError(-32602, f"no snapshot named {name!r}")
        self._forks += 1
        self._pool.clear()
        self.ledger, self.blocks = kept.ledger.copied(), list(kept.blocks)
        self._numbers = {block.hash: block.number for block in self.blocks}
        return self.head

    def fork(self, depth: int) -> SealedBlock:
        """Replace the newest blocks by one more of other hashes; their extrinsics come again.

        Those that are no longer valid, such as ones anchored to a replaced block, are lost.

        Args:
            depth: Blocks that are replaced.

        Raises:
            RpcError: If that many are not there, or their state is gone.
        """
        if not 0 < depth < min(len(self.blocks), RETAINED_BLOCKS):
            raise RpcError(-32602, f"cannot replace {depth} of {len(self.blocks)} blocks")
        dropped, self.blocks = self.blocks[-depth:], self.blocks[:-depth]
        self._forks += 1
        self._numbers = {block.hash: block.number for block in self.blocks}
        self.ledger.return_to(self.head.number)
        encoded = [body for block in dropped for body in block.extrinsics[1:]]
        for _ in range(depth + 1):
            self._readmit(encoded)
            encoded = []
            self.seal()
        return self.head

    def upgrade(self, runtime: Runtime) -> None:
        """Run another runtime from here on; storage stays."""
        self.ledger.runtime = runtime

    def _readmit(self, bodies: list[str]) -> None:
        for encoded in bodies:
            try:
                extrinsic = admit(
                    self.ledger, encoded, head=self.head.number, block_hash=self.block_hash
                )
            except RpcError:
                continue
            if all(pending.hash != extrinsic.hash for pending, _ in self._pool):
                self._pool.append((extrinsic, None))

    def _opened(self, extrinsics: Iterable[Extrinsic]) -> Iterator[Extrinsic]:
        """The extrinsics, and behind each shielded one what it carries, if that is valid."""
        for extrinsic in extrinsics:
            yield extrinsic
            if not is_shielded(extrinsic.call):
                continue
            (ciphertext,) = (argument["value"] for argument in extrinsic.call["call_args"])
            inner = self._shield.opened(plain_bytes(ciphertext))
            if inner is None:
                continue
            try:
                found = admit(
                    self.ledger,
                    "0x" + inner.hex(),
                    head=self.head.number,
                    block_hash=self.block_hash,
                )
            except RpcError:
                continue
            if (found.signer, found.nonce) == (extrinsic.signer, extrinsic.nonce + 1):
                yield found

    def _append(self, block: SealedBlock) -> None:
        """Add a block, and forget the body of the one whose state goes now."""
        self.blocks.append(block)
        self._numbers[block.hash] = block.number
        old = block.number - RETAINED_BLOCKS - 1
        if old > 0 and self.blocks[old].extrinsics:
            self.blocks[old] = replace(self.blocks[old], extrinsics=())

    def _hash(self, *parts: bytes) -> str:
        digest = blake2b(digest_size=32, key=self.seed)
        for part in (self._forks.to_bytes(4, "little"), *parts):
            digest.update(len(part).to_bytes(4, "little") + part)
        return "0x" + digest.hexdigest()

    def _timestamp_ms(self) -> int:
        """Wall clock, but later than the block before."""
        before = int(self.ledger.get("Timestamp", "Now"))
        return max(before + 1, round(milliseconds(Seconds(time.time()))))

    def _inherent(self, now_ms: int) -> str:
        call = self.ledger.runtime.core.compose_call("Timestamp", "set", {"now": now_ms})
        body = _UNSIGNED_V4 + bytes(call)
        return "0x" + (compact(len(body)) + body).hex()

    def _store_events(self, included: Iterable[Extrinsic]) -> None:
        records = [_record(0, _success())]
        for index, extrinsic in enumerate(included, start=1):
            records += [_record(index, event) for event in self._apply(extrinsic)]
        self.ledger.put("System", "Events", value=records)

    def _apply(self, extrinsic: Extrinsic) -> list[dict[str, Any]]:
        bump_nonce(self.ledger, extrinsic.signer)
        try:
            events = dispatch(self.ledger, extrinsic.signer, extrinsic.call)
        except RefusalError as refusal:
            self.refusals[str(refusal)] += 1
            failed = {
                "dispatch_error": self._dispatch_error(refusal),
                "dispatch_info": _DISPATCH_INFO,
            }
            return [{"System": {"ExtrinsicFailed": failed}}]
        for event in events:
            self._follow_new_subnet(event)
        return [*events, _success()]

    def _dispatch_error(self, refusal: RefusalError) -> object:
        if not refusal.pallet:
            return refusal.name
        return self.ledger.runtime.module_error(refusal.pallet, refusal.name)

    def _follow_new_subnet(self, event: dict[str, Any]) -> None:
        added = event.get(SUBTENSOR, {}).get("NetworkAdded")
        if added is not None and added[0] not in self.netuids:
            self.netuids.append(added[0])

    def _end_of_block(self) -> None:
        for netuid in self.netuids:
            subnet = Subnet(self.ledger, netuid)
            if not subnet.exists:  # created after a snapshot that was rewound
                continue
            if is_due(subnet):
                self.escrow.open_due(subnet)
                run_epoch(subnet)
            else:
                since = int(subnet.get("BlocksSinceLastStep")) + 1
                subnet.put("BlocksSinceLastStep", value=since)


def _success() -> dict[str, Any]:
    return {"System": {"ExtrinsicSuccess": {"dispatch_info": _DISPATCH_INFO}}}


def _record(index: int, event: dict[str, Any]) -> dict[str, Any]:
    return {"phase": {"ApplyExtrinsic": index}, "event": event, "topics": []}
