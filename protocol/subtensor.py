"""The chain port on the Bittensor SDK 11, unmodified and in its async form.

The SDK's transport reconnects, resends plain requests and rotates endpoints, and
`protocol.connection` does what that leaves out. This adapter adds a limit on every wait, one
retry of a read on a new connection, a watchdog on the arrival of blocks, the mapping of every
failure to `ChainError` with a hint, the exact weight vector, and its verification by reading it
back. Importing this module loads the SDK (0.3 s).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Any, Self, TypeVar

import bittensor as bt
from bittensor_core import Keypair

from protocol.chain import (
    Axon,
    Block,
    ChainCommitment,
    Hyperparameters,
    Metagraph,
    WeightsReceipt,
    as_stored,
)
from protocol.compatibility import Probe, probe_runtime
from protocol.connection import Connection
from protocol.errors import ChainError, ConfigurationError
from protocol.ids import BlockHash, BlockNumber, GenesisHash, Hotkey, Netuid, Uid
from protocol.subtensor_errors import (
    CONNECTION_ERRORS,
    SDK_ERRORS,
    call_refused,
    chain_error,
    failed_call,
)
from protocol.subtensor_records import (
    MAX_COMMITMENT_BYTES,
    commitment_fields,
    commitment_from,
    hyperparameters_from,
    metagraph_from,
)
from protocol.units import U16_MAX
from protocol.wallet import HotkeySigner

T = TypeVar("T")

READ_TIMEOUT_SECONDS = 15.0
"""Longest wait for one read; a half-open connection looks like this."""
WRITE_TIMEOUT_SECONDS = 120.0
"""Longest wait for a call to be final: about three 12 s blocks, with room."""
STALL_SECONDS = 120.0
"""Longest that a node may show the same newest block: ten blocks."""
_SUBTENSOR = "SubtensorModule"
_BAD_PROOF = "BadProof"
"""The SDK's word for the pool's `Transaction has a bad signature`."""
_AXON_PROTOCOL = 4
_AXON_VERSION = 1


class SubtensorChain:
    """The chain, for one netuid and one hotkey, over one connection.

    Make one with `connect`; it belongs to the event loop that made it.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        netuid: Netuid,
        signer: HotkeySigner | None,
    ) -> None:
        self.endpoint = endpoint
        self.netuid = netuid
        self._signer = signer
        self._connection = Connection(endpoint)
        self._writing = asyncio.Lock()
        self._genesis: GenesisHash | None = None
        self._head: Block | None = None
        self._moved_at = 0.0

    @classmethod
    async def connect(cls, *, endpoint: str, netuid: Netuid, signer: HotkeySigner | None) -> Self:
        """Open the connection.

        Args:
            endpoint: `ws://` or `wss://` URL, or a network name that the SDK knows.
            netuid: The subnet.
            signer: Who signs calls; None for a reader.

        Raises:
            ChainError: If nothing answers there in time, or not as a Subtensor does.
        """
        chain = cls(endpoint=endpoint, netuid=netuid, signer=signer)
        try:
            await chain._connection.live()
        except SDK_ERRORS as error:
            raise chain._mapped(error, "connecting") from error
        return chain

    async def close(self) -> None:
        """Close the connection; idempotent."""
        await self._connection.close()

    async def renew(self) -> None:
        """Drop the connection: the next call opens one, at the next endpoint if there is one."""
        await self._connection.renew()

    @property
    def connection_count(self) -> int:
        """Connections that were opened so far."""
        return self._connection.opened_count

    async def genesis_hash(self) -> GenesisHash:
        """Hash of block 0."""
        if self._genesis is None:
            self._genesis = GenesisHash(await self.block_hash(BlockNumber(0)))
        return self._genesis

    async def head(self) -> Block:
        """The newest block: one small request while it stays the same."""
        number = await self._read(lambda substrate: substrate.block_number(), "the newest block")
        await self._watch_arrival(number)
        if self._head is None or self._head.number != number:
            block_hash = await self.block_hash(BlockNumber(number))
            self._head = Block(number=BlockNumber(number), hash=block_hash)
        return self._head

    async def block_hash(self, number: BlockNumber) -> BlockHash:
        """Hash of an existing block; `ChainError` when it is not there yet or pruned."""
        found = await self._read(lambda substrate: substrate.block_hash(number), f"block {number}")
        return BlockHash(found)

    async def metagraph(self) -> Metagraph:
        """The subnet now."""
        return metagraph_from(await self._graph(), self.netuid)

    async def hyperparameters(self) -> Hyperparameters:
        """The subnet's hyperparameters now."""
        threshold_rao = await self._query("StakeThreshold", [])
        return hyperparameters_from(await self._graph(), int(threshold_rao or 0))

    async def serve_axon(self, axon: Axon) -> None:
        """Announce where this hotkey serves; does nothing when already announced so."""
        address, signer = ip_address(axon.ip), self._key()
        record = await self._query("Axons", [self.netuid, signer.hotkey])
        wanted = {"ip": int(address), "port": axon.port, "ip_type": address.version}
        if record and all(int(record[name]) == value for name, value in wanted.items()):
            return
        call = {
            "netuid": self.netuid,
            "version": _AXON_VERSION,
            "protocol": _AXON_PROTOCOL,
            "placeholder1": 0,
            "placeholder2": 0,
            **wanted,
        }
        await self._submit((_SUBTENSOR, "serve_axon", call), f"serving {axon.ip}:{axon.port}")

    async def set_weights(self, weights: Mapping[Uid, int], *, version_key: int) -> WeightsReceipt:
        """Send one vector of u16 weights, signed by this hotkey, and read it back.

        Plain weights go out with exactly these numbers, zeros left out; the chain stores them
        as `as_stored` says. With commit-reveal the SDK encrypts them to a drand round, and
        there is nothing to read back until then.

        Raises:
            ChainError: If the chain refuses, or does not hold the vector afterwards.
        """
        vector = _checked_vector(weights)
        if await self._query("CommitRevealWeightsEnabled", [self.netuid]):
            return await self._commit_weights(vector, version_key)
        call = {
            "netuid": self.netuid,
            "dests": list(vector),
            "weights": list(vector.values()),
            "version_key": version_key,
        }
        block_hash = await self._submit((_SUBTENSOR, "set_weights", call), "setting weights")
        await self._verify_weights(vector, block_hash)
        return WeightsReceipt(block_hash=block_hash, reveal_round=None)

    async def weights(self, uid: Uid) -> dict[Uid, int]:
        """The u16 vector that a UID has on chain, in the form of `as_stored` (revealed only)."""
        rows = await self._query("Weights", [self.netuid, uid])
        return {Uid(int(target)): int(value) for target, value in rows or ()}

    async def commit(self, data: bytes) -> None:
        """Store up to 128 bytes under this hotkey."""
        if len(data) > MAX_COMMITMENT_BYTES:
            raise ChainError(
                f"a commitment holds at most {MAX_COMMITMENT_BYTES} bytes, got {len(data)}"
            )
        call = {"netuid": self.netuid, "info": {"fields": [commitment_fields(data)]}}
        await self._submit(("Commitments", "set_commitment", call), "committing")

    async def commitment(self, hotkey: Hotkey) -> ChainCommitment | None:
        """What a hotkey has stored, or None."""
        record = await self._read(
            lambda substrate: substrate.query("Commitments", "CommitmentOf", [self.netuid, hotkey]),
            "a commitment",
        )
        return commitment_from(record) if record else None

    async def compatibility(self) -> tuple[Probe, ...]:
        """Whether the runtime has each item, call and answer that this adapter uses."""
        version = await self._read(lambda substrate: substrate.spec_version(), "the spec version")
        return await self._read(
            lambda substrate: probe_runtime(substrate, netuid=self.netuid, spec_version=version),
            "what the runtime has",
        )

    async def _watch_arrival(self, number: int) -> None:
        """Leave a node whose chain stands still: it may have lost its peers."""
        now = time.monotonic()
        if self._head is None or self._head.number != number:
            self._moved_at = now
        elif now - self._moved_at > STALL_SECONDS:
            self._moved_at = now
            await self._connection.renew()

    async def _graph(self) -> dict[str, Any]:
        graph = await self._read(
            lambda substrate: substrate.runtime_call(
                "SubnetInfoRuntimeApi", "get_metagraph", [self.netuid]
            ),
            "the metagraph",
        )
        if not graph:
            raise ChainError(
                f"there is no subnet {self.netuid} at {self.endpoint}",
                hint="Check --netuid and --network.",
            )
        return dict(graph)

    async def query(
        self, pallet: str, item: str, params: list[object], *, block_hash: str | None = None
    ) -> Any:  # noqa: ANN401 - a decoded value, of the item's type
        """Any storage item, decoded; its default, or None, where nothing is stored."""
        return await self._read(
            lambda substrate: substrate.query(pallet, item, params, block_hash), item
        )

    async def _query(
        self, item: str, params: list[object], *, block_hash: str | None = None
    ) -> Any:  # noqa: ANN401 - a decoded value, of the item's type
        return await self.query(_SUBTENSOR, item, params, block_hash=block_hash)

    async def _verify_weights(self, vector: dict[Uid, int], block_hash: BlockHash) -> None:
        uid = await self._query("Uids", [self.netuid, self._key().hotkey], block_hash=block_hash)
        rows = await self._query("Weights", [self.netuid, uid], block_hash=block_hash)
        found = {Uid(int(target)): int(value) for target, value in rows or ()}
        if found != as_stored(vector):
            raise ChainError(
                f"the chain holds other weights than were sent: {found}",
                hint="Another process may sign with this hotkey; stop it.",
            )

    async def _commit_weights(self, vector: dict[Uid, int], version_key: int) -> WeightsReceipt:
        intent = bt.SetWeights(
            netuid=self.netuid,
            weights={int(uid): float(weight) for uid, weight in vector.items()},
            version_key=version_key,
        )
        result = await self.execute(intent, self._key().keypair, "committing weights")
        return WeightsReceipt(
            block_hash=BlockHash(str(result.block_hash)),
            reveal_round=int(result.data["reveal_round"]),
        )

    def _key(self) -> HotkeySigner:
        if self._signer is None:
            raise ConfigurationError(
                "this connection only reads: it was opened without a hotkey",
                hint="Name a wallet and hotkey.",
            )
        return self._signer

    async def execute(self, intent: Any, keypair: Keypair, doing: str) -> bt.ExtrinsicResult:  # noqa: ANN401 - the SDK's
        """Carry out an intent of the SDK, signed by a key, and wait until it is final."""

        async def execute(substrate: bt.RpcSubstrate) -> bt.ExtrinsicResult:
            client = bt.Client(self.endpoint, substrate=substrate)
            return await client.execute(intent, keypair)

        return await self._write(execute, doing)

    async def submit(
        self, call: tuple[str, str, dict[str, Any]], keypair: Keypair, doing: str
    ) -> BlockHash:
        """Sign a call, wait until it is final; the hash of its block."""

        async def submit(substrate: bt.RpcSubstrate) -> bt.ExtrinsicResult:
            composed = await substrate.compose(call)  # type: ignore[no-untyped-call]
            return await substrate.submit(composed, keypair)

        result = await self._write(submit, doing)
        return BlockHash(str(result.block_hash))

    async def _submit(self, call: tuple[str, str, dict[str, Any]], doing: str) -> BlockHash:
        return await self.submit(call, self._key().keypair, doing)

    async def _write(
        self,
        operation: Callable[[bt.RpcSubstrate], Awaitable[bt.ExtrinsicResult]],
        doing: str,
    ) -> bt.ExtrinsicResult:
        """Run a write once: after a cut nobody knows its fate, so it is never sent again."""
        result = await self._attempt_write(operation, doing)
        if not result.success and result.error and result.error.name == _BAD_PROOF:
            # Signed for a runtime that is no more: the chain was upgraded a moment ago. The pool
            # did not take it, so a new connection, which knows the new one, may send it again.
            await self._connection.renew()
            result = await self._attempt_write(operation, doing)
        if not result.success:
            raise failed_call(result, doing=doing, endpoint=self.endpoint)
        return result

    async def _attempt_write(
        self,
        operation: Callable[[bt.RpcSubstrate], Awaitable[bt.ExtrinsicResult]],
        doing: str,
    ) -> bt.ExtrinsicResult:
        substrate = None
        try:
            async with self._writing, asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                substrate = await self._connection.live()
                return await self._connection.run(substrate, operation)
        except CONNECTION_ERRORS as error:
            if substrate is not None:  # its count of our nonces may be off by now
                await self._connection.drop(substrate)
            raise self._mapped(error, doing) from error
        except bt.ChainError as error:  # the SDK looks before it signs
            raise call_refused(error, doing=doing, endpoint=self.endpoint) from error
        except SDK_ERRORS as error:
            raise self._mapped(error, doing) from error

    async def _read(self, operation: Callable[[bt.RpcSubstrate], Awaitable[T]], what: str) -> T:
        """Run a read, once more on a new connection if the first one fails or hangs."""
        try:
            return await self._attempt(operation)
        except CONNECTION_ERRORS:
            pass
        except SDK_ERRORS as error:
            raise self._mapped(error, f"reading {what}") from error
        try:
            return await self._attempt(operation)
        except SDK_ERRORS as error:
            raise self._mapped(error, f"reading {what}") from error

    async def _attempt(self, operation: Callable[[bt.RpcSubstrate], Awaitable[T]]) -> T:
        substrate = await self._connection.live()
        try:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                found = await self._connection.run(substrate, operation)
        except CONNECTION_ERRORS:
            await self._connection.drop(substrate)
            raise
        self._connection.worked()
        return found

    def _mapped(self, error: Exception, doing: str) -> ChainError:
        return chain_error(error, doing=doing, endpoint=self.endpoint)


def _checked_vector(weights: Mapping[Uid, int]) -> dict[Uid, int]:
    """The vector in order of UID, zeros left out.

    Raises:
        ChainError: If a weight is no u16, or none is positive.
    """
    wrong = {uid: weight for uid, weight in weights.items() if not 0 <= weight <= U16_MAX}
    if wrong:
        raise ChainError(f"weights must be 0 to {U16_MAX}, got {wrong}")
    vector = {uid: weights[uid] for uid in sorted(weights) if weights[uid]}
    if not vector:
        raise ChainError("all weights are zero", hint="Weight the subnet owner's UID instead.")
    return vector
