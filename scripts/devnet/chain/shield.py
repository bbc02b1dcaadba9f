"""The shield against front-runners (pallet `MevShield`): a call inside an encrypted one.

A client encrypts a signed extrinsic to the node's ML-KEM-768 key (FIPS 203) and wraps it in
`submit_encrypted`; the block's author opens it, and both land in one block. A real chain has a
new key for each block, this one keeps its own.
"""

from collections.abc import Mapping
from typing import Any

from Crypto.Cipher import ChaCha20_Poly1305
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

SHIELD = "MevShield"
SEED_BYTES = 64

_KEY_HASH_SIZE, _LENGTH_SIZE, _NONCE_SIZE, _TAG_SIZE = 16, 2, 24, 16
"""A ciphertext is key hash, length of the encapsulated key, it, nonce, data and tag."""


class Shield:
    """The key of one node.

    Args:
        seed: 64 secret bytes that the key is made from.
    """

    def __init__(self, seed: bytes) -> None:
        self._key = MLKEM768PrivateKey.from_seed_bytes(seed)

    @property
    def public_key(self) -> bytes:
        """What clients encrypt to: storage item `NextKey`."""
        return self._key.public_key().public_bytes_raw()

    def opened(self, ciphertext: bytes) -> bytes | None:
        """What a ciphertext holds, or None if it was not made for this key."""
        sealed = ciphertext[_KEY_HASH_SIZE:]
        length = int.from_bytes(sealed[:_LENGTH_SIZE], "little")
        capsule, rest = _cut(sealed[_LENGTH_SIZE:], length)
        nonce, data = _cut(rest, _NONCE_SIZE)
        try:
            secret = self._key.decapsulate(capsule)
            cipher = ChaCha20_Poly1305.new(key=secret, nonce=nonce)
            return bytes(cipher.decrypt_and_verify(data[:-_TAG_SIZE], data[-_TAG_SIZE:]))
        except ValueError:
            return None


def is_shielded(call: Mapping[str, Any]) -> bool:
    """Whether a decoded call is one that carries another."""
    return (call["call_module"], call["call_function"]) == (SHIELD, "submit_encrypted")


def _cut(data: bytes, at: int) -> tuple[bytes, bytes]:
    return data[:at], data[at:]
