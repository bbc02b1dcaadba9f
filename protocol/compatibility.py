"""Whether a runtime has what the chain adapter uses; part of `check`.

The SDK knows storage items and calls by name, and a runtime upgrade can break one of them
alone. Asking the metadata for each, before anything else happens, names what will not work.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import bittensor as bt

from protocol.ids import Netuid
from protocol.subtensor_errors import CONNECTION_ERRORS, SDK_ERRORS

_NOBODY = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"
_HINT = "The chain has changed: install the carbonbench version that knows it."
_HINTS = {
    "SubtensorModule.SubnetEpochConsensus": (
        "bittensor 11.3 sets timelocked weights only where this exists (runtime spec 474 and "
        "later): on an older chain install bittensor 11.1.0."
    ),
}
_APIS = (
    ("SubnetInfoRuntimeApi", "get_metagraph"),
    ("SubnetInfoRuntimeApi", "get_next_epoch_start_block"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing that was looked for in the runtime."""

    kind: str
    """`runtime`, `storage`, `call` or `runtime API`."""
    name: str
    ok: bool
    detail: str
    """What was found, or why it does not work."""
    hint: str = ""
    """What the operator can do about it."""


async def probe_runtime(
    substrate: bt.RpcSubstrate, *, netuid: Netuid, spec_version: int
) -> tuple[Probe, ...]:
    """Look for each storage item, call and runtime answer that the adapter uses."""
    versions = f"runtime spec {spec_version}, bittensor {bt.__version__}"
    probes = [Probe(kind="runtime", name="version", ok=True, detail=versions)]
    for pallet, item, params in _storage(netuid):
        reading = substrate.query(pallet, item, params)
        probes.append(await _probe("storage", f"{pallet}.{item}", reading, versions))
    for pallet, function, arguments in _calls(netuid):
        composing = substrate.compose((pallet, function, arguments))  # type: ignore[no-untyped-call]
        probes.append(await _probe("call", f"{pallet}.{function}", composing, versions))
    for api, method in _APIS:
        asking = substrate.runtime_call(api, method, [netuid])
        probes.append(await _probe("runtime API", method, asking, versions))
    return tuple(probes)


async def _probe(kind: str, name: str, attempt: Awaitable[object], versions: str) -> Probe:
    try:
        await attempt
    except CONNECTION_ERRORS:
        raise
    except SDK_ERRORS as error:
        hint = _HINTS.get(name, _HINT)
        return Probe(kind=kind, name=name, ok=False, detail=f"{error} ({versions})", hint=hint)
    return Probe(kind=kind, name=name, ok=True, detail="present")


def _storage(netuid: Netuid) -> tuple[tuple[str, str, list[Any]], ...]:
    return (
        ("SubtensorModule", "Uids", [netuid, _NOBODY]),
        ("SubtensorModule", "StakeThreshold", []),
        ("SubtensorModule", "Burn", [netuid]),
        ("SubtensorModule", "Axons", [netuid, _NOBODY]),
        ("SubtensorModule", "Weights", [netuid, 0]),
        ("SubtensorModule", "CommitRevealWeightsEnabled", [netuid]),
        # Read by the SDK's own way of setting timelocked weights.
        ("SubtensorModule", "WeightsSetRateLimit", [netuid]),
        ("SubtensorModule", "LastUpdate", [netuid]),
        ("SubtensorModule", "MinAllowedWeights", [netuid]),
        ("SubtensorModule", "MaxWeightsLimit", [netuid]),
        ("SubtensorModule", "SubnetEpochConsensus", [netuid]),
        ("SubtensorModule", "RevealPeriodEpochs", [netuid]),
        ("SubtensorModule", "LastEpochBlock", [netuid]),
        ("Commitments", "CommitmentOf", [netuid, _NOBODY]),
    )


def _calls(netuid: Netuid) -> tuple[tuple[str, str, dict[str, Any]], ...]:
    axon = {"version": 1, "ip": 1, "port": 1, "ip_type": 4, "protocol": 4}
    timelocked = {"mecid": 0, "commit": b"", "reveal_round": 1, "commit_reveal_version": 4}
    vector = {"dests": [0], "weights": [1], "version_key": 0}
    return (
        ("SubtensorModule", "set_weights", {"netuid": netuid, **vector}),
        (
            "SubtensorModule",
            "commit_timelocked_mechanism_weights",
            {"netuid": netuid, **timelocked},
        ),
        (
            "SubtensorModule",
            "serve_axon",
            {"netuid": netuid, **axon, "placeholder1": 0, "placeholder2": 0},
        ),
        (
            "Commitments",
            "set_commitment",
            {"netuid": netuid, "info": {"fields": [[{"Raw0": "0x"}]]}},
        ),
    )
