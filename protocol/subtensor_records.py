"""From the SDK's decoded values to our records, and back. Pure."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from protocol.chain import Axon, ChainCommitment, Hyperparameters, Metagraph, Neuron
from protocol.ids import BlockNumber, Coldkey, Hotkey, Netuid, Uid
from protocol.units import tao_from_rao

MAX_COMMITMENT_BYTES = 128
"""Longest raw field of pallet-commitments; a longer one needs another encoding."""
_IP_V4 = 4
_NO_ACCOUNT = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"
"""The ss58 address of 32 zero bytes: no owner."""


def metagraph_from(graph: Mapping[str, Any], netuid: Netuid) -> Metagraph:
    """The subnet, from the runtime's `get_metagraph` answer."""
    owner = str(graph["owner_hotkey"])
    return Metagraph(
        netuid=netuid,
        block=BlockNumber(int(graph["block"])),
        tempo_blocks=int(graph["tempo"]),
        owner_hotkey=None if owner == _NO_ACCOUNT else Hotkey(owner),
        neurons=tuple(_neuron(graph, uid) for uid in range(len(graph["hotkeys"]))),
    )


def hyperparameters_from(graph: Mapping[str, Any], stake_threshold_rao: int) -> Hyperparameters:
    """The hyperparameters, from the same answer and the chain's own stake threshold."""
    return Hyperparameters(
        tempo_blocks=int(graph["tempo"]),
        weights_rate_limit_blocks=int(graph["weights_rate_limit"]),
        weights_version_key=int(graph["weights_version"]),
        min_allowed_weights=int(graph["min_allowed_weights"]),
        max_weight_limit_u16=int(graph["max_weights_limit"]),
        commit_reveal_enabled=bool(graph["commit_reveal_weights_enabled"]),
        activity_cutoff_blocks=int(graph["activity_cutoff"]),
        immunity_period_blocks=int(graph["immunity_period"]),
        serving_rate_limit_blocks=int(graph["serving_rate_limit"]),
        stake_threshold_tao=tao_from_rao(stake_threshold_rao),
        reveal_period_epochs=int(graph["commit_reveal_period"]),
    )


def commitment_fields(data: bytes) -> list[dict[str, str]]:
    """One raw field of pallet-commitments, as the call takes it."""
    return [{f"Raw{len(data)}": "0x" + data.hex()}]


def commitment_from(record: Mapping[str, Any]) -> ChainCommitment | None:
    """The raw bytes of a commitment, or None if it holds anything else."""
    fields = [item for entry in record["info"]["fields"] for item in _flat(entry)]
    if not all(isinstance(item, Mapping) and next(iter(item)).startswith("Raw") for item in fields):
        return None
    data = b"".join(_raw_bytes(next(iter(item.values()))) for item in fields)
    return ChainCommitment(data=data, block=BlockNumber(int(record["block"])))


def _neuron(graph: Mapping[str, Any], uid: int) -> Neuron:
    return Neuron(
        uid=Uid(uid),
        hotkey=Hotkey(str(graph["hotkeys"][uid])),
        coldkey=Coldkey(str(graph["coldkeys"][uid])),
        axon=_axon(graph["axons"][uid]),
        validator_permit=bool(graph["validator_permit"][uid]),
        stake_tao=tao_from_rao(int(graph["total_stake"][uid])),
        last_update_block=BlockNumber(int(graph["last_update"][uid])),
        registration_block=BlockNumber(int(graph["block_at_registration"][uid])),
    )


def _axon(record: Mapping[str, Any]) -> Axon | None:
    """Where a neuron serves, or None. The numbers are whatever its owner wrote."""
    port, number = int(record["port"]), int(record["ip"])
    if not port or not number:
        return None
    kind = IPv4Address if int(record["ip_type"]) == _IP_V4 else IPv6Address
    try:
        return Axon(ip=str(kind(number)), port=port)
    except ValueError:
        return None


def _flat(entry: object) -> list[Any]:
    return list(entry) if isinstance(entry, list | tuple) else [entry]


def _raw_bytes(value: object) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    return bytes(value)  # type: ignore[call-overload, no-any-return]  # a list of byte values
