"""A devnet chain inside the test's own event loop, and one as a process of its own."""

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

from protocol.ids import Coldkey, Hotkey, Netuid
from protocol.subtensor import SubtensorChain
from protocol.units import rao_from_tao
from protocol.wallet import HotkeySigner
from scripts.devnet.chain.__main__ import build_node, parse
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.registration import register
from scripts.devnet.chain.server import serving
from scripts.devnet.chain.subnet import Subnet

NETUID = Netuid(2)
VALIDATOR = HotkeySigner.from_uri("//Validator")
MINER = HotkeySigner.from_uri("//Miner")
STRANGER = HotkeySigner.from_uri("//Stranger")
COLDKEY = Coldkey("5FTyuyEQQZs8tCcPTUFqotkm2SYfDnpefn9FitRgmTHnFDBD")
READY_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Devnet:
    """A running chain: its endpoint, and its inside."""

    node: Node
    endpoint: str

    @property
    def subnet(self) -> Subnet:
        return Subnet(self.node.ledger, NETUID)

    async def chain(self, signer: HotkeySigner | None = None) -> SubtensorChain:
        """A connection of the adapter under test."""
        return await SubtensorChain.connect(endpoint=self.endpoint, netuid=NETUID, signer=signer)


def seated_node(*arguments: str) -> Node:
    """A chain at block 1: owner UID 0, `VALIDATOR` 1 with stake and permit, `MINER` 2."""
    node = build_node(parse(["--block-seconds", "0", *arguments]))
    subnet = Subnet(node.ledger, NETUID)
    seat(subnet, VALIDATOR.hotkey, stake_tao=5_000, permit=True)
    seat(subnet, MINER.hotkey)
    return node


def seat(subnet: Subnet, hotkey: Hotkey, *, stake_tao: int = 0, permit: bool = False) -> int:
    """Register a hotkey past the chain's rules; its UID."""
    uid = register(subnet, hotkey, COLDKEY)
    subnet.set_stake(hotkey, rao_from_tao(stake_tao))
    subnet.set_cell("ValidatorPermit", uid, permit)
    return uid


@asynccontextmanager
async def running_devnet(node: Node | None = None) -> AsyncIterator[Devnet]:
    """Serve a chain on a free port while the block lasts."""
    node = node or seated_node()
    async with serving(node, port=0) as endpoint:
        yield Devnet(node=node, endpoint=endpoint)


@contextmanager
def devnet_process(folder: Path, *arguments: str) -> Iterator[str]:
    """Run `python -m scripts.devnet.chain` while the block lasts; its endpoint."""
    ready = folder / "chain.json"
    command = [sys.executable, "-m", "scripts.devnet.chain", "--port", "0"]
    command += ["--ready-file", str(ready), *arguments]
    process = Popen(command, stdout=PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["endpoint"]
    finally:
        process.terminate()
        process.communicate(timeout=READY_SECONDS)


def clean_environment(folder: Path) -> dict[str, str]:
    """An environment in which btcli leaves its files in a folder of the test."""
    home = {"HOME": str(folder), "BITTENSOR_RUNTIME_CACHE_DIR": str(folder / "runtime-cache")}
    return {**os.environ, **home, "NO_COLOR": "1", "COLUMNS": "200"}
