"""What each extrinsic does, and the runtime error with which it is refused.

The order of the checks is that of pallet-subtensor (`do_set_weights`, `do_serve_axon`,
`do_commit_timelocked_mechanism_weights`) and of pallet-commitments. A call that is not
listed in `CALLS` fails with `System.CallFiltered`.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any

from protocol.chain import as_stored
from protocol.ids import Uid
from protocol.units import U16_MAX
from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.owning import OWNER_CALLS
from scripts.devnet.chain.refusal import RefusalError
from scripts.devnet.chain.registration import burned_register, register_limit
from scripts.devnet.chain.shield import SHIELD
from scripts.devnet.chain.staking import add_stake, add_stake_limit
from scripts.devnet.chain.subnet import SUBTENSOR, Subnet, stake_threshold_rao

Event = dict[str, Any]
Call = Callable[[Ledger, str, Mapping[str, Any]], list[Event]]

_MAX_UNREVEALED = 10
_COMMIT_REVEAL_VERSION = 4
_MIN_COMMITMENT_COST = 100
"""Bytes that even a short commitment takes of its window (pallet-commitments)."""
_ADDRESS_BYTES = {4: 4, 6: 16}
_GLOBAL_MAX_SUBNET_COUNT = 4096
"""Storage index of a mechanism is `mecid * 4096 + netuid`; only mechanism 0 exists here."""


def set_weights(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[Event]:
    """`SubtensorModule.set_weights` and `set_mechanism_weights` (plain weights)."""
    subnet = Subnet(ledger, int(args["netuid"]))
    targets = [Uid(int(uid)) for uid in args["dests"]]
    values = [int(value) for value in args["weights"]]
    _check_mechanism(args)
    if subnet.get("CommitRevealWeightsEnabled"):
        raise RefusalError("CommitRevealEnabled")
    if len(targets) != len(values):
        raise RefusalError("WeightVecNotEqualSize")
    uid = _check_setter(subnet, who, len(targets))
    _check_version(subnet, int(args["version_key"]))
    _check_rate(subnet, uid, "SettingWeightsTooFast")
    _check_vector(subnet, uid, targets, values)
    stored = as_stored(dict(zip(targets, values, strict=True)))
    subnet.put("Weights", uid, value=[(target, stored[target]) for target in targets])
    subnet.set_cell("LastUpdate", uid, ledger.block)
    return [{SUBTENSOR: {"WeightsSet": (subnet.netuid, uid)}}]


def commit_timelocked_weights(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[Event]:
    """`commit_timelocked_weights` and `commit_timelocked_mechanism_weights`.

    The vector is encrypted to a round of the public drand beacon, which this node cannot
    open: the commit is kept, and `timelock.Escrow` plays the opening.
    """
    subnet = Subnet(ledger, int(args["netuid"]))
    _check_mechanism(args)
    if not subnet.get("CommitRevealWeightsEnabled"):
        raise RefusalError("CommitRevealDisabled")
    if int(args["commit_reveal_version"]) != _COMMIT_REVEAL_VERSION:
        raise RefusalError("IncorrectCommitRevealVersion")
    uid = _check_setter(subnet, who, 0)
    _check_rate(subnet, uid, "CommittingWeightsTooFast")
    epoch = int(subnet.get("SubnetEpochIndex"))
    commits = list(subnet.get("TimelockedWeightCommits", epoch))
    if sum(1 for commit in commits if commit[0] == who) >= _MAX_UNREVEALED:
        raise RefusalError("TooManyUnrevealedCommits")
    commit, reveal_round = args["commit"], int(args["reveal_round"])
    commits.append((who, ledger.block, commit, reveal_round))
    subnet.put("TimelockedWeightCommits", epoch, value=commits)
    subnet.set_cell("LastUpdate", uid, ledger.block)
    digest = "0x" + blake2b(plain_bytes(commit), digest_size=32).hexdigest()
    committed = (who, subnet.netuid, digest, reveal_round)
    return [{SUBTENSOR: {"TimelockedWeightsCommitted": committed}}]


def serve_axon(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[Event]:
    """`SubtensorModule.serve_axon`. Unlike a real chain it takes loopback addresses."""
    subnet = Subnet(ledger, int(args["netuid"]))
    if subnet.uid(who) is None:
        raise RefusalError("HotKeyNotRegisteredInNetwork")
    _check_address(args)
    previous = subnet.get("Axons", who)
    waited = ledger.block - int(previous["block"]) if previous else U16_MAX
    if waited < int(subnet.get("ServingRateLimit")):
        raise RefusalError("ServingRateLimitExceeded")
    fields = ("version", "ip", "port", "ip_type", "protocol", "placeholder1", "placeholder2")
    axon = {name: args[name] for name in fields}
    subnet.put("Axons", who, value={"block": ledger.block, **axon})
    return [{SUBTENSOR: {"AxonServed": (subnet.netuid, who)}}]


def set_commitment(ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[Event]:
    """`Commitments.set_commitment`, within the hotkey's space for this epoch."""
    subnet = Subnet(ledger, int(args["netuid"]))
    if subnet.uid(who) is None:
        raise RefusalError("AccountNotAllowedCommit", pallet="Commitments")
    info = {"fields": list(args["info"]["fields"])}
    if len(info["fields"]) > int(ledger.runtime.core.constant("Commitments", "MaxFields")):
        raise RefusalError("TooManyFieldsInCommitmentInfo", pallet="Commitments")
    epoch = int(subnet.get("SubnetEpochIndex"))
    used = ledger.get("Commitments", "UsedSpaceOf", subnet.netuid, who)
    spent = int(used["used_space"]) if used and int(used["last_epoch"]) == epoch else 0
    spent += max(_MIN_COMMITMENT_COST, sum(_field_length(item) for item in info["fields"]))
    if spent > int(ledger.get("Commitments", "MaxSpace")):
        raise RefusalError("SpaceLimitExceeded", pallet="Commitments")
    space = {"last_epoch": epoch, "used_space": spent}
    ledger.put("Commitments", "UsedSpaceOf", subnet.netuid, who, value=space)
    record = {"deposit": 0, "block": ledger.block, "info": info}
    ledger.put("Commitments", "CommitmentOf", subnet.netuid, who, value=record)
    ledger.put("Commitments", "LastCommitment", subnet.netuid, who, value=ledger.block)
    return [{"Commitments": {"Commitment": {"netuid": subnet.netuid, "who": who}}}]


def submit_encrypted(_ledger: Ledger, who: str, args: Mapping[str, Any]) -> list[Event]:
    """`MevShield.submit_encrypted`: nothing by itself; the node opens it (`shield.Shield`)."""
    digest = "0x" + blake2b(plain_bytes(args["ciphertext"]), digest_size=32).hexdigest()
    return [{SHIELD: {"EncryptedSubmitted": {"id": digest, "who": who}}}]


CALLS: dict[tuple[str, str], Call] = {
    (SUBTENSOR, "set_weights"): set_weights,
    (SUBTENSOR, "set_mechanism_weights"): set_weights,
    (SUBTENSOR, "commit_timelocked_weights"): commit_timelocked_weights,
    (SUBTENSOR, "commit_timelocked_mechanism_weights"): commit_timelocked_weights,
    (SUBTENSOR, "serve_axon"): serve_axon,
    (SUBTENSOR, "burned_register"): burned_register,
    (SUBTENSOR, "register_limit"): register_limit,
    (SUBTENSOR, "add_stake"): add_stake,
    (SUBTENSOR, "add_stake_limit"): add_stake_limit,
    ("Commitments", "set_commitment"): set_commitment,
    (SHIELD, "submit_encrypted"): submit_encrypted,
    **OWNER_CALLS,
}


def dispatch(ledger: Ledger, who: str, call: Mapping[str, Any]) -> list[Event]:
    """Carry out a decoded call for a signer; its events.

    Raises:
        RefusalError: If the runtime would refuse it.
    """
    handler = CALLS.get((call["call_module"], call["call_function"]))
    if handler is None:
        raise RefusalError("CallFiltered", pallet="System")
    return handler(ledger, who, {arg["name"]: arg["value"] for arg in call["call_args"]})


def _check_mechanism(args: Mapping[str, Any]) -> None:
    if int(args.get("mecid", 0)) != 0 or int(args["netuid"]) >= _GLOBAL_MAX_SUBNET_COUNT:
        raise RefusalError("MechanismDoesNotExist")


def _check_setter(subnet: Subnet, who: str, length: int) -> int:
    """The UID of a hotkey that may set weights at all."""
    if not subnet.exists:
        raise RefusalError("MechanismDoesNotExist")
    if length > subnet.size:
        raise RefusalError("UidsLengthExceedUidsInSubNet")
    uid = subnet.uid(who)
    if uid is None:
        raise RefusalError("HotKeyNotRegisteredInSubNet")
    if subnet.stake_rao(who) < stake_threshold_rao(subnet.ledger) and uid != subnet.owner_uid():
        raise RefusalError("NotEnoughStakeToSetWeights")
    return uid


def _check_version(subnet: Subnet, version_key: int) -> None:
    required = int(subnet.get("WeightsVersionKey"))
    if required and version_key < required:
        raise RefusalError("IncorrectWeightVersionKey")


def _check_rate(subnet: Subnet, uid: int, error: str) -> None:
    last = int(subnet.column("LastUpdate")[uid])
    waited = subnet.ledger.block - last
    if last and waited < int(subnet.get("WeightsSetRateLimit")):
        raise RefusalError(error)


def _check_vector(subnet: Subnet, uid: int, targets: list[Uid], values: list[int]) -> None:
    to_self = targets == [uid]
    permit = bool(subnet.column("ValidatorPermit")[uid]) or uid == subnet.owner_uid()
    if not to_self and not permit:
        raise RefusalError("NeuronNoValidatorPermit")
    if len(set(targets)) != len(targets):
        raise RefusalError("DuplicateUids")
    if any(target >= subnet.size for target in targets):
        raise RefusalError("UidVecContainInvalidOne")
    if not to_self and len(targets) < int(subnet.get("MinAllowedWeights")):
        raise RefusalError("WeightVecLengthIsLow")
    limit = int(subnet.get("MaxWeightsLimit"))
    if not to_self and values and max(values) * U16_MAX > limit * sum(values):
        raise RefusalError("MaxWeightExceeded")


def _check_address(args: Mapping[str, Any]) -> None:
    size = _ADDRESS_BYTES.get(int(args["ip_type"]))
    if size is None:
        raise RefusalError("InvalidIpType")
    try:
        address = ip_address(int(args["ip"]).to_bytes(size, "big"))
    except OverflowError:
        raise RefusalError("InvalidIpAddress") from None
    if address.is_unspecified or address.is_multicast or int(address) == (1 << 32) - 1:
        raise RefusalError("InvalidIpAddress")
    if not args["port"]:
        raise RefusalError("InvalidPort")


def _field_length(item: Any) -> int:
    """Payload bytes of one commitment field such as `{"Raw5": "0x..."}` or `{"Raw5": b"..."}`."""
    fields = [item] if isinstance(item, dict) else item
    return sum(len(plain_bytes(value)) for field in fields for value in field.values())


def plain_bytes(value: Any) -> bytes:
    """The bytes of a decoded value, in whichever of its forms it is."""
    if isinstance(value, str):
        return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    if isinstance(value, dict):
        return b"".join(plain_bytes(item) for item in value.values())
    return bytes(value)
