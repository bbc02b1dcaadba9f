"""Runtime calls (`state_call`): the metagraph, hyperparameters, fees, metadata.

What is not listed here answers with the smallest value of its type, which clients read as
"nothing there".
"""

from collections.abc import Callable
from typing import Any

from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.metadata import compact
from scripts.devnet.chain.owning import creation_cost_rao
from scripts.devnet.chain.staking import PRICE_RAO
from scripts.devnet.chain.subnet import Subnet

_METADATA_VERSION = 15
_FEE_RAO = 124_414
"""Plausible fee of an extrinsic; the devnet charges none."""
_NO_AXON = {
    "block": 0,
    "version": 0,
    "ip": 0,
    "port": 0,
    "ip_type": 0,
    "protocol": 0,
    "placeholder1": 0,
    "placeholder2": 0,
}
_HYPERPARAMETERS = {
    "tempo": ("Tempo", "U16"),
    "max_validators": ("MaxAllowedValidators", "U16"),
    "immunity_period": ("ImmunityPeriod", "U16"),
    "min_allowed_weights": ("MinAllowedWeights", "U16"),
    "max_weights_limit": ("MaxWeightsLimit", "U16"),
    "weights_version": ("WeightsVersionKey", "U64"),
    "weights_rate_limit": ("WeightsSetRateLimit", "U64"),
    "serving_rate_limit": ("ServingRateLimit", "U64"),
    "commit_reveal_weights_enabled": ("CommitRevealWeightsEnabled", "Bool"),
    "commit_reveal_period": ("RevealPeriodEpochs", "U64"),
    "registration_allowed": ("NetworkRegistrationAllowed", "Bool"),
    "activity_cutoff_factor_milli": ("ActivityCutoffFactorMilli", "U32"),
}
"""Name in the runtime's answer, storage item, variant of its value type."""


def runtime_call(ledger: Ledger, method: str, argument: bytes) -> bytes:
    """The SCALE answer of one runtime call at the head.

    Raises:
        KeyError: If the runtime has no such call.
    """
    special = _SPECIAL.get(method)
    if special is not None:
        return special(ledger, argument)
    api, name = method.split("_", 1)
    output = str(ledger.runtime.apis[api][name]["output"])
    answer = _ANSWERS.get(method)
    value = answer(Subnet(ledger, _netuid(argument)), output) if answer else None
    if value is None:
        return ledger.runtime.zero(output)
    return bytes(ledger.runtime.core.encode(output, value))


def _netuid(argument: bytes) -> int:
    return int.from_bytes(argument[:2], "little")


def _metadata(ledger: Ledger, argument: bytes) -> bytes:
    if int.from_bytes(argument[:4], "little") != _METADATA_VERSION:
        return b"\0"
    return b"\1" + compact(len(ledger.runtime.metadata)) + ledger.runtime.metadata


def _metadata_versions(_ledger: Ledger, _argument: bytes) -> bytes:
    return compact(1) + _METADATA_VERSION.to_bytes(4, "little")


def _query_info(_ledger: Ledger, _argument: bytes) -> bytes:
    weight = compact(1000) + compact(1000)
    return weight + b"\0" + _FEE_RAO.to_bytes(8, "little")


def _next_epoch(subnet: Subnet, _output: str) -> int | None:
    tempo = int(subnet.get("Tempo"))
    return int(subnet.get("LastEpochBlock")) + tempo if tempo else None


def _hyperparameters(subnet: Subnet, _output: str) -> list[dict[str, Any]] | None:
    if not subnet.exists:
        return None
    return [
        {"name": name.encode(), "value": {kind: subnet.get(item)}}
        for name, (item, kind) in _HYPERPARAMETERS.items()
    ]


def _metagraph(subnet: Subnet, output: str) -> dict[str, Any] | None:
    if not subnet.exists:
        return None
    record = dict(subnet.ledger.runtime.zero_value(subnet.ledger.runtime.some_type(output)))
    record.update(_graph(subnet))
    record.update(_columns(subnet))
    return record


def _graph(subnet: Subnet) -> dict[str, Any]:
    return {
        "netuid": subnet.netuid,
        "name": list(b"devnet"),
        "symbol": list(bytes(subnet.get("TokenSymbol").encode())),
        "network_registered_at": subnet.get("NetworkRegisteredAt"),
        "owner_hotkey": subnet.get("SubnetOwnerHotkey"),
        "owner_coldkey": subnet.get("SubnetOwner"),
        "block": subnet.ledger.block,
        "tempo": subnet.get("Tempo"),
        "last_step": subnet.get("LastEpochBlock"),
        "blocks_since_last_step": subnet.get("BlocksSinceLastStep"),
        "kappa": subnet.get("Kappa"),
        "min_allowed_weights": subnet.get("MinAllowedWeights"),
        "max_weights_limit": subnet.get("MaxWeightsLimit"),
        "weights_version": subnet.get("WeightsVersionKey"),
        "weights_rate_limit": subnet.get("WeightsSetRateLimit"),
        "activity_cutoff": subnet.activity_cutoff_blocks(),
        "max_validators": subnet.get("MaxAllowedValidators"),
        "num_uids": subnet.size,
        "max_uids": subnet.get("MaxAllowedUids"),
        "burn": subnet.get("Burn"),
        "registration_allowed": subnet.get("NetworkRegistrationAllowed"),
        "immunity_period": subnet.get("ImmunityPeriod"),
        "serving_rate_limit": subnet.get("ServingRateLimit"),
        "commit_reveal_weights_enabled": subnet.get("CommitRevealWeightsEnabled"),
        "commit_reveal_period": subnet.get("RevealPeriodEpochs"),
    }


def _columns(subnet: Subnet) -> dict[str, Any]:
    hotkeys = subnet.hotkeys()
    stakes = [subnet.stake_rao(hotkey) for hotkey in hotkeys]
    nothing = [0] * len(hotkeys)
    return {
        "hotkeys": hotkeys,
        "coldkeys": [subnet.coldkey(hotkey) for hotkey in hotkeys],
        "identities": [None] * len(hotkeys),
        "axons": [subnet.get("Axons", hotkey) or _NO_AXON for hotkey in hotkeys],
        "active": subnet.column("Active"),
        "validator_permit": subnet.column("ValidatorPermit"),
        "pruning_score": nothing,
        "last_update": subnet.column("LastUpdate"),
        "emission": subnet.column("Emission"),
        "dividends": subnet.column("Dividends"),
        "incentives": subnet.column("Incentive"),
        "consensus": subnet.column("Consensus"),
        "trust": subnet.column("ValidatorTrust"),
        "rank": subnet.column("Incentive"),
        "block_at_registration": [
            subnet.get("BlockAtRegistration", uid) for uid in range(len(hotkeys))
        ],
        "alpha_stake": stakes,
        "tao_stake": nothing,
        "total_stake": stakes,
        "collateral_locked": nothing,
        "collateral_min": nothing,
        "collateral_earned": nothing,
    }


def _creation_cost(ledger: Ledger, _argument: bytes) -> bytes:
    return creation_cost_rao(ledger).to_bytes(8, "little")


def _alpha_price(_ledger: Ledger, _argument: bytes) -> bytes:
    return PRICE_RAO.to_bytes(8, "little")


_SPECIAL: dict[str, Callable[[Ledger, bytes], bytes]] = {
    "Metadata_metadata_at_version": _metadata,
    "Metadata_metadata_versions": _metadata_versions,
    "TransactionPaymentApi_query_info": _query_info,
    "SubnetRegistrationRuntimeApi_get_network_registration_cost": _creation_cost,
    "SwapRuntimeApi_current_alpha_price": _alpha_price,
}
_ANSWERS: dict[str, Callable[[Subnet, str], Any]] = {
    "SubnetInfoRuntimeApi_get_metagraph": _metagraph,
    "SubnetInfoRuntimeApi_get_subnet_hyperparams_v3": _hyperparameters,
    "SubnetInfoRuntimeApi_get_next_epoch_start_block": _next_epoch,
}
