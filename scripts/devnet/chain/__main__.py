"""Runs a devnet chain: `python -m scripts.devnet.chain --block-seconds 2`."""

import argparse
import asyncio
import contextlib
import json
import math
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from bittensor_core import Keypair

from protocol.networks import DEVNET
from protocol.units import rao_from_tao
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.registration import register
from scripts.devnet.chain.server import HOST, serving
from scripts.devnet.chain.subnet import HYPERPARAMETERS, SUBTENSOR, set_balance

OWNER_COLDKEY = "//Owner"
OWNER_HOTKEY = "//Owner//hotkey"
STAKE_THRESHOLD_TAO = 1_000
"""Stake that setting weights takes, as on the main network."""
_SEED_BYTES = 32
_DEV_BALANCE_TAO = 1_000_000
_DEV_KEYS = ("//Alice", "//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie", OWNER_COLDKEY)


def address(key: str) -> str:
    """The ss58 address of a key given as one, or as a development URI such as `//Alice`.

    Raises:
        ValueError: If it is neither.
    """
    if key.startswith("//"):
        return str(Keypair.create_from_uri(key).ss58_address)
    return str(Keypair(ss58_address=key).ss58_address)


def build_node(options: argparse.Namespace) -> Node:
    """The chain as the command line describes it, at block 1."""
    node = Node(seed=options.seed or secrets.token_bytes(_SEED_BYTES))
    node.ledger.put(SUBTENSOR, "StakeThreshold", value=rao_from_tao(STAKE_THRESHOLD_TAO))
    for key in _DEV_KEYS:
        set_balance(node.ledger, address(key), rao_from_tao(_DEV_BALANCE_TAO))
    subnet = node.create_subnet(
        options.netuid,
        owner_hotkey=options.owner_hotkey,
        owner_coldkey=options.owner,
    )
    for name, value in options.set:
        subnet.put(name, value=value)
    for hotkey, coldkey, stake_tao, permit in options.neuron:
        uid = register(subnet, hotkey, coldkey)
        subnet.set_stake(hotkey, rao_from_tao(stake_tao))
        subnet.set_cell("ValidatorPermit", uid, permit)
    node.seal()
    node.block_seconds = options.block_seconds
    return node


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; the ready file lasts as long as the node."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    node = build_node(options)
    async with serving(node, port=options.port) as endpoint:
        ready = {"endpoint": endpoint, "genesis": node.genesis, "netuid": options.netuid}
        print(json.dumps(ready), flush=True)
        with _announced(options.ready_file, ready):
            await stop.wait()


@contextlib.contextmanager
def _announced(path: Path | None, ready: dict[str, object]) -> Iterator[None]:
    """Keep a file that says where the node is; written whole or not at all."""
    if path is None:
        yield
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(ready))
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.devnet.chain",
        description="A devnet chain on loopback, for tests and the demo. Never for real value.",
    )
    parser.add_argument("--port", type=int, default=9944, help="TCP port; 0 takes a free one")
    parser.add_argument(
        "--block-seconds",
        type=_seconds,
        default=DEVNET.block_seconds,
        help="seconds per block; 0 makes one for each extrinsic, and else on demand",
    )
    parser.add_argument("--ready-file", type=Path, help="JSON file written when listening")
    parser.add_argument("--seed", type=_seed, help="64 hex digits that fix the genesis hash")
    parser.add_argument("--netuid", type=int, default=2)
    parser.add_argument("--owner", type=address, default=OWNER_COLDKEY, help="ss58 or //Uri")
    parser.add_argument("--owner-hotkey", type=address, default=OWNER_HOTKEY, help="takes UID 0")
    parser.add_argument(
        "--neuron",
        type=_neuron,
        action="append",
        default=[],
        metavar="HOTKEY,COLDKEY[,STAKE[,permit]]",
        help="register a neuron with stake in TAO (repeatable)",
    )
    parser.add_argument(
        "--set",
        type=_hyperparameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"hyperparameter of the subnet (repeatable): {', '.join(HYPERPARAMETERS)}",
    )
    return parser.parse_args(arguments)


def _neuron(text: str) -> tuple[str, str, int, bool]:
    parts = text.split(",")
    if not 2 <= len(parts) <= 4:  # noqa: PLR2004 - the four fields of the metavar
        raise argparse.ArgumentTypeError(f"expected HOTKEY,COLDKEY[,STAKE[,permit]], got {text!r}")
    hotkey, coldkey, *rest = parts
    stake_tao = int(rest[0]) if rest else 0
    return address(hotkey), address(coldkey), stake_tao, rest[1:] == ["permit"]


def _seed(text: str) -> bytes:
    seed = bytes.fromhex(text)
    if len(seed) != _SEED_BYTES:
        raise argparse.ArgumentTypeError(f"expected {2 * _SEED_BYTES} hex digits, got {text!r}")
    return seed


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text!r}")
    return seconds


def _hyperparameter(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    if name not in HYPERPARAMETERS:
        raise argparse.ArgumentTypeError(f"unknown hyperparameter {name!r}")
    return name, json.loads(value)


def main() -> int:
    """Run the node; the exit status."""
    options = parse()
    try:
        asyncio.run(run(options))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        print(f"error: cannot serve on {HOST}:{options.port}: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
