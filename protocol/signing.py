"""Signed messages: sr25519 over a domain-separated digest, in a DSSE-shaped envelope.

What is signed is DSSE's pre-authentication encoding (secure-systems-lab/dsse v1.0.2) of the
payload type and the SHA-256 of the payload's canonical bytes, so that a signature on one kind
of message never passes for another. `Signed[T]` is untrusted; `verify` returns the `T`.
"""

from typing import Annotated, Generic, Protocol, TypeVar, cast

import bittensor_core
from pydantic import Field

from protocol.canonical import canonical_bytes, digest
from protocol.errors import RejectionCode, SignatureError
from protocol.ids import Hotkey
from protocol.messages import Message, NetworkMessage, Ss58, Text

T = TypeVar("T", bound=NetworkMessage)


class Signer(Protocol):
    """A hotkey that can sign."""

    @property
    def hotkey(self) -> Hotkey:
        """Its public address."""
        ...

    def sign(self, message: bytes) -> bytes:
        """A 64-byte sr25519 signature; another one at each call."""
        ...


class Signature(Message):
    """One signature of an envelope."""

    keyid: Ss58
    sig: Annotated[str, Field(pattern=r"^0x[0-9a-f]{128}$")]
    """One spelling only, so that nobody but the signer can make another envelope of it."""


class Signed(Message, Generic[T]):
    """A message with the signature that it claims to carry; untrusted until verified."""

    payload_type: Text
    payload: T
    signatures: tuple[Signature]


def payload_type(message: NetworkMessage) -> str:
    """Media type of a message's canonical bytes, which separates the signing domains."""
    kind = type(message).model_fields["kind"].default
    return f"application/vnd.carbonbench.{kind}+json;version={message.version}"


def signing_bytes(message: NetworkMessage) -> bytes:
    """The bytes that are signed: DSSE PAE of the payload type and the payload's digest."""
    kind = payload_type(message).encode()
    body = digest(canonical_bytes(message)).encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def sign(message: T, signer: Signer) -> Signed[T]:
    """The message under a signature of this hotkey."""
    signature = signer.sign(signing_bytes(message))
    # The run-time class names the kind, which a type checker cannot know.
    envelope = cast("type[Signed[T]]", Signed.__class_getitem__(type(message)))
    return envelope(
        payload_type=payload_type(message),
        payload=message,
        signatures=(Signature(keyid=signer.hotkey, sig="0x" + signature.hex()),),
    )


def verify(signed: Signed[T], *, hotkey: str) -> T:
    """The message, once the signature is known to be this hotkey's.

    Args:
        signed: What came in.
        hotkey: Who must have signed (ss58); usually the one that was asked.

    Raises:
        SignatureError: If another key signed, the payload type is off, or the signature does
            not match.
    """
    (signature,) = signed.signatures
    if signature.keyid != hotkey:
        detail = f"signed by {signature.keyid}, not by {hotkey}"
        raise SignatureError(detail, code=RejectionCode.WRONG_MINER)
    if signed.payload_type != payload_type(signed.payload):
        raise SignatureError(f"payload type {signed.payload_type!r} is not the payload's")
    if not _matches(signature, signing_bytes(signed.payload)):
        raise SignatureError(f"signature does not match payload and hotkey {hotkey}")
    return signed.payload


def _matches(signature: Signature, message: bytes) -> bool:
    try:
        raw = bytes.fromhex(signature.sig.removeprefix("0x"))
        return bool(bittensor_core.Keypair(ss58_address=signature.keyid).verify(message, raw))
    except ValueError:
        return False
