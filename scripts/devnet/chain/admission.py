"""Whether an extrinsic may enter the pool: signature, nonce, era, genesis and version.

The signed bytes bind genesis hash, spec version and, for a mortal era, the hash of its first
block, so an extrinsic for another chain fails as a bad signature, as it does on Substrate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import bittensor_core

from scripts.devnet.chain.ledger import Ledger
from scripts.devnet.chain.subnet import account_nonce

INVALID_TRANSACTION = 1010
ALREADY_IMPORTED = 1013
DECODE_ERROR = 1002

_ENVELOPE_SIZE = 1 + 33 + 65
"""Version byte, address with its tag, signature with its tag (extrinsic format 4)."""
_HASHED_ABOVE = 256
"""Longer payloads are signed by their BLAKE2b-256 hash (Substrate's convention)."""
_SCHEMES = {"Ed25519": 0, "Sr25519": 1}


class RpcError(Exception):
    """A JSON-RPC error object."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrinsic:
    """A signed extrinsic that was admitted."""

    encoded: str
    """`0x` hex as submitted."""
    hash: str
    signer: str
    nonce: int
    call: dict[str, Any]


def invalid(reason: str) -> RpcError:
    """The pool's refusal, in Substrate's words."""
    return RpcError(INVALID_TRANSACTION, "Invalid Transaction", reason)


def admit(
    ledger: Ledger, encoded: str, *, head: int, block_hash: Callable[[int], str | None]
) -> Extrinsic:
    """Decode and check a submitted extrinsic.

    Args:
        ledger: State at the head.
        encoded: `0x` hex.
        head: Number of the newest block.
        block_hash: Hash of a block by number; number 0 gives the genesis hash.

    Raises:
        RpcError: 1002 if it is no extrinsic, 1010 if it is not valid now.
    """
    try:
        raw = bytes.fromhex(encoded.removeprefix("0x"))
        decoded = ledger.runtime.core.decode_extrinsic(raw)
        signer, nonce = str(decoded["address"]), int(decoded["nonce"])
        ((scheme, signature),) = decoded["signature"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RpcError(DECODE_ERROR, "Could not decode extrinsic", str(error)) from error
    era, birth = _era(decoded["era"], head)
    anchor, genesis = block_hash(birth), block_hash(0)
    if anchor is None or genesis is None:
        raise invalid("Transaction has an ancient birth block")
    extra, implicit = ledger.runtime.core.signature_payload_parts(
        era=era,
        nonce=nonce,
        tip=int(decoded["tip"]),
        tip_asset_id=None,
        genesis_hash=bytes.fromhex(genesis[2:]),
        era_block_hash=bytes.fromhex(anchor[2:]),
    )
    signed = _call_data(raw, bytes(extra)) + bytes(extra) + bytes(implicit)
    if len(signed) > _HASHED_ABOVE:
        signed = blake2b(signed, digest_size=32).digest()
    if scheme not in _SCHEMES or not bittensor_core.verify(
        signed, bytes.fromhex(signature[2:]), signer, _SCHEMES[scheme]
    ):
        raise invalid("Transaction has a bad signature")
    check_nonce(ledger, signer, nonce)
    digest = "0x" + blake2b(raw, digest_size=32).hexdigest()
    return Extrinsic(encoded=encoded, hash=digest, signer=signer, nonce=nonce, call=decoded["call"])


def check_nonce(ledger: Ledger, signer: str, nonce: int) -> None:
    """Refuse a nonce that the account has used already.

    Raises:
        RpcError: If it has.
    """
    if nonce < account_nonce(ledger, signer):
        raise invalid("Transaction is outdated")


def _call_data(raw: bytes, extra: bytes) -> bytes:
    """The call's own bytes: what follows length, version, address, signature and extensions."""
    start = _length_prefix_size(raw) + _ENVELOPE_SIZE
    if raw[start : start + len(extra)] != extra:
        raise RpcError(DECODE_ERROR, "Could not decode extrinsic", "unexpected extensions")
    return raw[start + len(extra) :]


def _length_prefix_size(raw: bytes) -> int:
    return (1, 2, 4)[raw[0] & 3]


def _era(era: Any, head: int) -> tuple[Any, int]:
    """The era as the codec takes it, and the number of the block that it is anchored to."""
    if era == "00":
        return era, 0
    period, phase = int(era[0]), int(era[1])
    birth = (max(head, phase) - phase) // period * period + phase
    return {"period": period, "phase": phase}, birth
