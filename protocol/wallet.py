"""Keys on disk: a hotkey that signs, and dev wallets for the one-machine network.

Only the hotkey is needed at run time; it is stored unencrypted, as `btcli` makes it. The
coldkey stays on another machine, and only its public part is read here, if it is there.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from protocol.errors import ConfigurationError
from protocol.ids import Coldkey, Hotkey

if TYPE_CHECKING:
    import bittensor as bt

DEFAULT_WALLET_PATH = Path("~/.bittensor/wallets")
_SR25519 = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HotkeySigner:
    """A hotkey that signs messages (`protocol.signing`), requests and extrinsics."""

    keypair: Any = field(repr=False)
    """A `bittensor_core.Keypair` with its secret; the SDK takes it for a wallet."""
    coldkey: Coldkey | None = None
    """Who owns the hotkey, as far as the wallet's files say."""

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """The signer of a development key such as `//Alice`, which everybody knows."""
        import bittensor_core  # noqa: PLC0415 - keeps `--help` quick

        return cls(keypair=bittensor_core.Keypair.create_from_uri(uri))

    @property
    def hotkey(self) -> Hotkey:
        """The public address."""
        return Hotkey(self.keypair.ss58_address)

    def sign(self, message: bytes) -> bytes:
        """A 64-byte sr25519 signature; another one at each call."""
        return bytes(self.keypair.sign(message))


def load_wallet(name: str, hotkey: str, path: Path = DEFAULT_WALLET_PATH) -> HotkeySigner:
    """The hotkey of a wallet made by `btcli`.

    Args:
        name: The wallet (its coldkey's name).
        hotkey: The hotkey's name.
        path: Folder of wallets.

    Raises:
        ConfigurationError: If the hotkey is missing, unreadable, encrypted, damaged, or not
            an sr25519 key.
    """
    from bittensor.sp_core import KeyfileError  # noqa: PLC0415 - keeps `--help` quick

    wallet = _sdk_wallet(name, hotkey, path)
    where = wallet.hotkey_file.path
    command = f"btcli wallet new-hotkey -w {name} -H {hotkey} --wallet-path {path}"
    try:
        if wallet.hotkey_file.is_encrypted():
            raise ConfigurationError(
                f"the hotkey at {where} is encrypted",
                hint="A service must sign unattended: store the hotkey without a password.",
            )
        keypair = wallet.hotkey
    except FileNotFoundError:
        raise ConfigurationError(f"no hotkey at {where}", hint=f"Make one: {command}") from None
    except PermissionError as error:
        hint = "Let the service's user read it: chmod 600, and chown to that user."
        raise ConfigurationError(
            f"cannot read the hotkey at {where}: {error}", hint=hint
        ) from error
    except (KeyfileError, OSError, ValueError) as error:
        hint = "Restore it from its mnemonic: btcli wallet regen-hotkey"
        raise ConfigurationError(f"the hotkey at {where} is damaged: {error}", hint=hint) from error
    if keypair.crypto_type != _SR25519:
        raise ConfigurationError(
            f"the hotkey at {where} is no sr25519 key", hint=f"Make one: {command}"
        )
    return HotkeySigner(keypair=keypair, coldkey=_coldkey(wallet))


def create_dev_wallet(name: str, hotkey: str, path: Path, *, uri: str) -> HotkeySigner:
    """A wallet on disk from a development URI, in the files that `btcli` reads.

    The keys are known to everybody, so nothing is printed, encrypted, or worth stealing. An
    existing wallet of that name is overwritten.

    Args:
        name: Name of the wallet.
        hotkey: Name of the hotkey.
        path: Folder of wallets.
        uri: Such as `//miner-1`; the coldkey is that of `{uri}//coldkey`.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    import bittensor_core  # noqa: PLC0415 - keeps `--help` quick

    def public_half(keypair: bittensor_core.Keypair) -> bittensor_core.Keypair:
        return bittensor_core.Keypair(
            ss58_address=keypair.ss58_address, public_key=bytes(keypair.public_key)
        )

    wallet = _sdk_wallet(name, hotkey, path)
    keypair = bittensor_core.Keypair.create_from_uri(uri)
    owner = bittensor_core.Keypair.create_from_uri(f"{uri}//coldkey")
    files = (
        (wallet.hotkey_file, keypair),
        (wallet.hotkeypub_file, public_half(keypair)),
        (wallet.coldkey_file, owner),
        (wallet.coldkeypub_file, public_half(owner)),
    )
    try:
        for file, key in files:
            file.set_keypair(key, encrypt=False, overwrite=True)
    except OSError as error:
        message = f"cannot write the wallet {name} under {path}: {error}"
        raise ConfigurationError(message, hint="Choose a writable --wallet-path.") from error
    return HotkeySigner(keypair=keypair, coldkey=Coldkey(owner.ss58_address))


def _sdk_wallet(name: str, hotkey: str, path: Path) -> "bt.Wallet":
    import bittensor as bt  # noqa: PLC0415 - 0.3 s that `--help` must not pay

    return bt.Wallet(name=name, hotkey=hotkey, path=str(path.expanduser()))


def _coldkey(wallet: "bt.Wallet") -> Coldkey | None:
    from bittensor.sp_core import KeyfileError  # noqa: PLC0415 - keeps `--help` quick

    try:
        return Coldkey(wallet.coldkeypub.ss58_address)
    except (KeyfileError, OSError, ValueError):
        return None
