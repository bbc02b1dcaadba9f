"""Signing keys for tests: the development keys that everybody knows."""

from dataclasses import dataclass, field

import bittensor_core

from protocol.ids import Hotkey


@dataclass(frozen=True, slots=True)
class DevSigner:
    """A `protocol.signing.Signer` on a development key.

    Args:
        uri: Derivation path, such as `//Alice`.
    """

    uri: str
    _keypair: bittensor_core.Keypair = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keypair", bittensor_core.Keypair.create_from_uri(self.uri))

    @property
    def hotkey(self) -> Hotkey:
        """The key's address."""
        return Hotkey(self._keypair.ss58_address)

    def sign(self, message: bytes) -> bytes:
        """A 64-byte sr25519 signature."""
        return bytes(self._keypair.sign(message))


ALICE = DevSigner("//Alice")
BOB = DevSigner("//Bob")
CHARLIE = DevSigner("//Charlie")
