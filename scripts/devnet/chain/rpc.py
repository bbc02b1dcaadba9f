"""JSON-RPC methods: the part of Substrate's that clients use, and our own `dev_` ones.

Method names and error codes follow polkadot-sdk's `sc-rpc`. A subscription is named by the
server; the notifications of one go to the connection that asked.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from scripts.devnet.chain.admission import RpcError
from scripts.devnet.chain.dev_rpc import DEV_METHODS
from scripts.devnet.chain.metadata import SS58_FORMAT, TRANSACTION_VERSION
from scripts.devnet.chain.node import Node, SealedBlock
from scripts.devnet.chain.runtime_api import runtime_call

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

Notify = Callable[[str, str, object], None]
"""Sends a notification: method, subscription name, result."""


class Session:
    """One connection's view of the node: its methods and its subscriptions."""

    def __init__(self, node: Node, notify: Notify) -> None:
        self._node = node
        self._notify = notify
        self._names = count(1)
        self._heads: dict[str, Callable[[SealedBlock], None]] = {}

    def close(self) -> None:
        """Drop all subscriptions."""
        for listener in self._heads.values():
            self._node.head_listeners.discard(listener)
        self._heads.clear()

    def call(self, method: str, params: list[Any]) -> Any:
        """Answer one request.

        Raises:
            RpcError: If the method is unknown, its parameters are wrong, or it is refused.
        """
        handler = _METHODS.get(method) or DEV_METHODS.get(method)
        subscriber = _SUBSCRIPTIONS.get(method)
        try:
            if handler is not None:
                return handler(self._node, *params)
            if subscriber is not None:
                return subscriber(self, *params)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RpcError(INVALID_PARAMS, f"Invalid params: {error}") from error
        raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")

    def watch_extrinsic(self, encoded: str) -> str:
        """`author_submitAndWatchExtrinsic`: statuses until it is final."""
        name = self._name()

        def included(_hash: str, block_hash: str) -> None:
            for status in ({"inBlock": block_hash}, {"finalized": block_hash}):
                self._notify("author_extrinsicUpdate", name, status)

        self._node.submit(encoded, included)
        return name

    def watch_heads(self) -> str:
        """`chain_subscribeNewHeads` and its relatives; the current head comes first."""
        name = self._name()

        def sealed(block: SealedBlock) -> None:
            self._notify("chain_newHead", name, header(block))

        self._heads[name] = sealed
        self._node.head_listeners.add(sealed)
        sealed(self._node.head)
        return name

    def unwatch(self, name: str) -> bool:
        """End a subscription."""
        listener = self._heads.pop(name, None)
        if listener is not None:
            self._node.head_listeners.discard(listener)
        return True

    def _name(self) -> str:
        return f"subscription-{next(self._names)}"


def header(block: SealedBlock) -> dict[str, Any]:
    """A block's header as JSON-RPC gives it; there are no state roots."""
    return {
        "parentHash": block.parent,
        "number": hex(block.number),
        "stateRoot": "0x" + "00" * 32,
        "extrinsicsRoot": "0x" + "00" * 32,
        "digest": {"logs": []},
    }


def _block_hash(node: Node, number: int | str | None = None) -> str | None:
    if number is None:
        return node.head.hash
    return node.block_hash(int(number, 16) if isinstance(number, str) else number)


def _header(node: Node, block_hash: str | None = None) -> dict[str, Any] | None:
    block = node.block(block_hash)
    return None if block is None else header(block)


def _block(node: Node, block_hash: str | None = None) -> dict[str, Any] | None:
    block = node.block(block_hash)
    if block is None or (block.number and not block.extrinsics):  # unknown, or its body is gone
        return None
    body = {"header": header(block), "extrinsics": list(block.extrinsics)}
    return {"block": body, "justifications": None}


def _storage(node: Node, key: str, block_hash: str | None = None) -> str | None:
    raw = node.ledger.read_raw(key, node.state_block(block_hash))
    return None if raw is None else "0x" + raw.hex()


def _query_storage(node: Node, keys: list[str], block_hash: str | None = None) -> list[Any]:
    number = node.state_block(block_hash)
    raws = [(key, node.ledger.read_raw(key, number)) for key in keys]
    changes = [[key, None if raw is None else "0x" + raw.hex()] for key, raw in raws]
    return [{"block": node.blocks[number].hash, "changes": changes}]


def _keys_paged(
    node: Node,
    prefix: str,
    page: int,
    after: str | None = None,
    block_hash: str | None = None,
) -> list[str]:
    return node.ledger.keys(prefix, after=after, count=page, block=node.state_block(block_hash))


def _state_call(node: Node, method: str, argument: str, block_hash: str | None = None) -> str:
    node.state_block(block_hash)
    return (
        "0x" + runtime_call(node.ledger, method, bytes.fromhex(argument.removeprefix("0x"))).hex()
    )


def _runtime_version(node: Node, block_hash: str | None = None) -> dict[str, Any] | None:
    if node.block(block_hash) is None:
        return None
    return {
        "specName": "node-subtensor",
        "implName": "carbonbench-devnet",
        "authoringVersion": 1,
        "specVersion": node.ledger.runtime.spec_version,
        "implVersion": 1,
        "apis": [],
        "transactionVersion": TRANSACTION_VERSION,
        "stateVersion": 1,
    }


def _properties(_node: Node) -> dict[str, Any]:
    return {"ss58Format": SS58_FORMAT, "tokenDecimals": 9, "tokenSymbol": "TAO"}


_METHODS: dict[str, Callable[..., Any]] = {
    "chain_getHead": lambda node: node.head.hash,
    "chain_getFinalizedHead": lambda node: node.head.hash,
    "chain_getBlockHash": _block_hash,
    "chain_getHeader": _header,
    "chain_getBlock": _block,
    "state_getRuntimeVersion": _runtime_version,
    "state_getStorage": _storage,
    "state_getStorageAt": _storage,
    "state_queryStorageAt": _query_storage,
    "state_getKeysPaged": _keys_paged,
    "state_call": _state_call,
    "account_nextIndex": lambda node, address: node.next_nonce(address),
    "system_accountNextIndex": lambda node, address: node.next_nonce(address),
    "system_chain": lambda _node: "CarbonBench devnet",
    "system_name": lambda _node: "carbonbench-devnet",
    "system_version": lambda _node: "1",
    "system_properties": _properties,
    "system_health": lambda _node: {"peers": 0, "isSyncing": False, "shouldHavePeers": False},
    "author_submitExtrinsic": lambda node, encoded: node.submit(encoded),
    "rpc_methods": lambda _node: {"methods": sorted({*_METHODS, *_SUBSCRIPTIONS, *DEV_METHODS})},
}
_SUBSCRIPTIONS: dict[str, Callable[..., Any]] = {
    "author_submitAndWatchExtrinsic": Session.watch_extrinsic,
    "author_unwatchExtrinsic": Session.unwatch,
    "chain_subscribeNewHeads": Session.watch_heads,
    "chain_subscribeFinalizedHeads": Session.watch_heads,
    "chain_unsubscribeNewHeads": Session.unwatch,
    "chain_unsubscribeFinalizedHeads": Session.unwatch,
}
