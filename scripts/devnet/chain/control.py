"""The client of the node's `dev_` methods, for tests and the orchestrator of the demo.

It is an ordinary websocket client beside the SDK's connection; it needs neither.
"""

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from protocol.errors import ChainError
from scripts.devnet.chain.faults import CONTROL_PATH

_TIMEOUT_SECONDS = 30.0
_RESTART_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The newest block of a devnet chain."""

    number: int
    hash: str
    genesis: str


class DevnetControl:
    """What a test or the demo may do to a devnet chain.

    Use as `async with DevnetControl(endpoint) as control`. Every method raises `ChainError`
    when the node is gone or refuses.

    Args:
        endpoint: The node's `ws://` URL.
        netuid: The subnet that subnet-wide methods act on.
    """

    def __init__(self, endpoint: str, *, netuid: int = 2) -> None:
        self.endpoint = endpoint
        self.netuid = netuid
        self._connection: ClientConnection | None = None
        self._ids = itertools.count(1)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open the connection."""
        try:
            self._connection = await connect(
                self.endpoint + CONTROL_PATH, open_timeout=_TIMEOUT_SECONDS
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise ChainError(f"no devnet chain at {self.endpoint}: {error}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; idempotent."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def head(self) -> ChainHead:
        """The newest block."""
        return ChainHead(**await self._call("dev_head"))

    async def mine(self, count: int = 1) -> ChainHead:
        """Make blocks at once; the new head."""
        return ChainHead(**await self._call("dev_mine", count))

    async def set_block_seconds(self, block_seconds: float) -> None:
        """Change the clock; 0 stops it and seals each extrinsic at once."""
        await self._call("dev_setBlockSeconds", block_seconds)

    async def create_subnet(self, *, owner_hotkey: str, owner_coldkey: str) -> None:
        """Create the subnet; its owner's hotkey takes UID 0."""
        await self._call("dev_createSubnet", self.netuid, owner_hotkey, owner_coldkey)

    async def register(
        self, hotkey: str, coldkey: str, *, stake_tao: float = 0.0, permit: bool = False
    ) -> int:
        """Give a UID to a hotkey, with stake and a permit that lasts until the next epoch."""
        return int(
            await self._call("dev_register", self.netuid, hotkey, coldkey, stake_tao, permit)
        )

    async def set_stake(self, hotkey: str, stake_tao: float) -> None:
        """Set a hotkey's stake on the subnet."""
        await self._call("dev_setStake", self.netuid, hotkey, stake_tao)

    async def fund(self, address: str, balance_tao: float) -> None:
        """Set an account's free balance."""
        await self._call("dev_fund", address, balance_tao)

    async def set_hyperparameter(self, name: str, value: object) -> None:
        """Set a storage item such as `Tempo` or `StakeThreshold` (RAO), by the chain's name."""
        await self._call("dev_setHyperparameter", self.netuid, name, value)

    async def reveal_weights(self, hotkey: str, weights: Mapping[int, int]) -> None:
        """Play the timelock's opening: store a committed vector that the caller knows."""
        body = {str(uid): weight for uid, weight in weights.items()}
        await self._call("dev_revealWeights", self.netuid, hotkey, body)

    async def escrow_weights(self, hotkey: str, weights: Mapping[int, int]) -> None:
        """Say what a hotkey's timelocked commits hold; the chain opens them in their epoch."""
        body = {str(uid): weight for uid, weight in weights.items()}
        await self._call("dev_escrowWeights", self.netuid, hotkey, body)

    async def snapshot(self) -> str:
        """Remember the state; a name for `rewind`."""
        return str(await self._call("dev_snapshot"))

    async def rewind(self, name: str) -> int:
        """Return to a snapshot; the number of the head there."""
        return int(await self._call("dev_rewind", name))

    async def fork(self, depth: int) -> ChainHead:
        """Replace the newest blocks, and make one more; the new head."""
        return ChainHead(**await self._call("dev_fork", depth))

    async def upgrade(self, spec_version: int, *, complete: bool = True) -> None:
        """Give the runtime another version; incomplete, it lacks what SDK 11.3 reads."""
        await self._call("dev_upgrade", spec_version, complete)

    async def cut(self) -> int:
        """Cut all other connections without a word; their number."""
        return int(await self._call("dev_fault", "cut"))

    async def hang_up(self) -> int:
        """Close all other connections politely; their number."""
        return int(await self._call("dev_fault", "close"))

    async def half_open(self) -> int:
        """Never answer the other connections again, though they stay open; their number."""
        return int(await self._call("dev_fault", "half_open"))

    async def freeze(self) -> None:
        """Answer nobody else until `thaw`, new connections included."""
        await self._call("dev_fault", "freeze")

    async def thaw(self) -> None:
        """Answer again."""
        await self._call("dev_fault", "thaw")

    async def delay(self, delay_seconds: float) -> None:
        """Let each answer to others take longer; 0 ends it."""
        await self._call("dev_fault", "delay", delay_seconds)

    async def restart(self, down_seconds: float) -> None:
        """Stop the node for a while; it comes back with its state, and this connection anew."""
        await self._call("dev_fault", "restart", down_seconds)
        await asyncio.sleep(down_seconds + _RESTART_SECONDS)
        await self.close()
        await self.__aenter__()

    async def _call(self, method: str, *params: object) -> Any:
        if self._connection is None:
            raise ChainError("the control connection is not open")
        request = {
            "jsonrpc": "2.0",
            "id": next(self._ids),
            "method": method,
            "params": list(params),
        }
        try:
            async with self._lock, asyncio.timeout(_TIMEOUT_SECONDS):
                await self._connection.send(json.dumps(request))
                answer = json.loads(await self._connection.recv())
        except (OSError, TimeoutError, WebSocketException) as error:
            raise ChainError(f"the devnet chain at {self.endpoint} is gone: {error}") from error
        if "error" in answer:
            raise ChainError(f"{method} refused: {answer['error']['message']}")
        return answer["result"]
