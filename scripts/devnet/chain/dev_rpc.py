"""The `dev_` methods: what a test or the demo may do to the chain that no user could.

They change the state at the head at once; `control.DevnetControl` is their client.
"""

from collections.abc import Callable
from typing import Any

from protocol.chain import as_stored
from protocol.ids import Uid
from protocol.units import rao_from_tao
from scripts.devnet.chain.admission import RpcError
from scripts.devnet.chain.faults import Faults
from scripts.devnet.chain.metadata import upgraded_runtime
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.refusal import RefusalError
from scripts.devnet.chain.registration import register
from scripts.devnet.chain.subnet import (
    HYPERPARAMETERS,
    SUBTENSOR,
    Subnet,
    set_balance,
)

MAX_MINED_BLOCKS = 10_000
"""Blocks that one call may make; the node answers nobody else meanwhile."""
REFUSED = -32000


def _head(node: Node) -> dict[str, Any]:
    return {"number": node.head.number, "hash": node.head.hash, "genesis": node.genesis}


def _mine(node: Node, count: int = 1) -> dict[str, Any]:
    if not 0 < count <= MAX_MINED_BLOCKS:
        raise RpcError(-32602, f"count must be 1 to {MAX_MINED_BLOCKS}, got {count}")
    node.mine(count)
    return _head(node)


def _set_block_seconds(node: Node, block_seconds: float) -> bool:
    if block_seconds < 0:
        raise RpcError(-32602, f"block_seconds must not be negative, got {block_seconds}")
    node.set_block_seconds(block_seconds)
    return True


def _create_subnet(node: Node, netuid: int, owner_hotkey: str, owner_coldkey: str) -> bool:
    if Subnet(node.ledger, netuid).exists:
        raise RpcError(REFUSED, f"subnet {netuid} exists already")
    node.create_subnet(netuid, owner_hotkey=owner_hotkey, owner_coldkey=owner_coldkey)
    return True


def _register(
    node: Node, netuid: int, hotkey: str, coldkey: str, stake_tao: float, permit: bool
) -> int:
    subnet = Subnet(node.ledger, netuid)
    try:
        uid = register(subnet, hotkey, coldkey)
    except RefusalError as refusal:
        raise RpcError(REFUSED, str(refusal)) from refusal
    subnet.set_stake(hotkey, rao_from_tao(stake_tao))
    subnet.set_cell("ValidatorPermit", uid, permit)
    return uid


def _set_stake(node: Node, netuid: int, hotkey: str, stake_tao: float) -> bool:
    Subnet(node.ledger, netuid).set_stake(hotkey, rao_from_tao(stake_tao))
    return True


def _fund(node: Node, address: str, balance_tao: float) -> bool:
    set_balance(node.ledger, address, rao_from_tao(balance_tao))
    return True


def _set_hyperparameter(node: Node, netuid: int, name: str, value: object) -> bool:
    if name == "StakeThreshold":
        node.ledger.put(SUBTENSOR, name, value=value)
    elif name in HYPERPARAMETERS:
        Subnet(node.ledger, netuid).put(name, value=value)
    else:
        known = ", ".join(sorted((*HYPERPARAMETERS, "StakeThreshold")))
        raise RpcError(-32602, f"unknown hyperparameter {name!r}; there are: {known}")
    return True


def _reveal_weights(node: Node, netuid: int, hotkey: str, weights: dict[str, int]) -> bool:
    """Play the opening of a hotkey's timelocked commits, whose content the caller knows."""
    subnet = Subnet(node.ledger, netuid)
    uid, opened = subnet.uid(hotkey), False
    for epoch in range(int(subnet.get("SubnetEpochIndex")) + 1):
        commits = list(subnet.get("TimelockedWeightCommits", epoch))
        left = [commit for commit in commits if commit[0] != hotkey]
        if len(left) < len(commits):
            opened = True
            subnet.put("TimelockedWeightCommits", epoch, value=left)
    if uid is None or not opened:
        raise RpcError(REFUSED, f"{hotkey} has no unrevealed weights on subnet {netuid}")
    stored = as_stored({Uid(int(target)): value for target, value in weights.items()})
    subnet.put("Weights", uid, value=sorted(stored.items()))
    return True


def _escrow_weights(node: Node, netuid: int, hotkey: str, weights: dict[str, int]) -> bool:
    """Deposit what a hotkey's timelocked commits hold; they open in their epoch."""
    node.escrow.deposit(netuid, hotkey, {Uid(int(uid)): value for uid, value in weights.items()})
    return True


def _fault(node: Node, kind: str, value: float = 0.0) -> int:
    """Begin or end a fault; the number of connections that it hits at once."""
    faults = node.faults
    if kind not in FAULTS:
        raise RpcError(-32602, f"unknown fault {kind!r}; there are: {', '.join(FAULTS)}")
    if value < 0:
        raise RpcError(-32602, f"a fault's value must not be negative, got {value}")
    return FAULTS[kind](faults, value)


def _freeze(faults: Faults, _value: float) -> int:
    faults.freeze()
    return len(faults.lines)


def _thaw(faults: Faults, _value: float) -> int:
    faults.thaw()
    return 0


def _delay(faults: Faults, delay_seconds: float) -> int:
    faults.delay_seconds = delay_seconds
    return 0


def _restart(faults: Faults, down_seconds: float) -> int:
    faults.restart(down_seconds)
    return len(faults.lines)


FAULTS: dict[str, Callable[[Faults, float], int]] = {
    "cut": lambda faults, _value: faults.cut(),
    "close": lambda faults, _value: faults.close(),
    "half_open": lambda faults, _value: faults.half_open(),
    "freeze": _freeze,
    "thaw": _thaw,
    "delay": _delay,
    "restart": _restart,
}


def _fork(node: Node, depth: int) -> dict[str, Any]:
    node.fork(depth)
    return _head(node)


def _upgrade(node: Node, spec_version: int, complete: bool = True) -> bool:
    node.upgrade(upgraded_runtime(spec_version, complete=complete))
    return True


DEV_METHODS: dict[str, Callable[..., Any]] = {
    "dev_head": _head,
    "dev_mine": _mine,
    "dev_setBlockSeconds": _set_block_seconds,
    "dev_createSubnet": _create_subnet,
    "dev_register": _register,
    "dev_setStake": _set_stake,
    "dev_fund": _fund,
    "dev_setHyperparameter": _set_hyperparameter,
    "dev_revealWeights": _reveal_weights,
    "dev_escrowWeights": _escrow_weights,
    "dev_fault": _fault,
    "dev_fork": _fork,
    "dev_upgrade": _upgrade,
    "dev_snapshot": lambda node: node.snapshot(),
    "dev_rewind": lambda node, name: node.rewind(name).number,
}
