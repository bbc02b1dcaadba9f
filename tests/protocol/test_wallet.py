"""Keys on disk, as btcli writes them."""

import random
from pathlib import Path

import bittensor as bt
import bittensor_core
import pytest

from protocol.errors import ConfigurationError
from protocol.wallet import HotkeySigner, create_dev_wallet, load_wallet


def test_a_wallet_of_the_sdk_is_loaded(tmp_path: Path) -> None:
    made = bt.Wallet(name="cold", hotkey="hot", path=str(tmp_path))
    made.create_new_coldkey(use_password=False, suppress=True)
    made.create_new_hotkey(suppress=True)

    signer = load_wallet("cold", "hot", tmp_path)

    assert signer.hotkey == made.hotkey.ss58_address
    assert signer.coldkey == made.coldkeypub.ss58_address
    assert made.hotkey.verify(b"message", signer.sign(b"message"))
    assert len(signer.sign(b"message")) == 64


def test_only_the_hotkey_is_needed(tmp_path: Path) -> None:
    bt.Wallet(name="cold", hotkey="hot", path=str(tmp_path)).create_new_hotkey(suppress=True)

    assert load_wallet("cold", "hot", tmp_path).coldkey is None


def test_a_missing_hotkey_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no hotkey at") as caught:
        load_wallet("cold", "hot", tmp_path)

    assert "btcli wallet new-hotkey -w cold -H hot" in caught.value.hint
    assert str(tmp_path) in caught.value.hint


def test_a_hotkey_that_the_sdk_encrypted_is_refused_without_asking(tmp_path: Path) -> None:
    made = bt.Wallet(name="cold", hotkey="hot", path=str(tmp_path))
    made.create_new_hotkey(suppress=True, hotkey_password="correct horse")

    with pytest.raises(ConfigurationError, match="is encrypted"):
        load_wallet("cold", "hot", tmp_path)


@pytest.mark.parametrize("mark", [b"$NACL", b"$ANSIBLE_VAULT;1.1;AES256\n", b"gAAAAA"])
def test_every_form_of_an_encrypted_hotkey_is_refused(tmp_path: Path, mark: bytes) -> None:
    # The three forms that `btcli` has written over the years.
    file = tmp_path / "cold" / "hotkeys" / "hot"
    file.parent.mkdir(parents=True)
    file.write_bytes(mark + random.Random(6).randbytes(600))  # noqa: S311

    with pytest.raises(ConfigurationError, match="is encrypted"):
        load_wallet("cold", "hot", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"not a key", b"\xff\x00", b'{"secretSeed": "0x00"}']
)
def test_a_damaged_hotkey_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "cold" / "hotkeys" / "hot"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match="is damaged") as caught:
        load_wallet("cold", "hot", tmp_path)

    assert "regen-hotkey" in caught.value.hint


def test_a_folder_in_place_of_the_hotkey_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cold" / "hotkeys" / "hot").mkdir(parents=True)

    with pytest.raises(ConfigurationError):
        load_wallet("cold", "hot", tmp_path)


def test_an_ed25519_hotkey_is_refused(tmp_path: Path) -> None:
    made = bt.Wallet(name="cold", hotkey="hot", path=str(tmp_path))
    made.create_new_hotkey(suppress=True, crypto_type=bittensor_core.CRYPTO_ED25519)

    with pytest.raises(ConfigurationError, match="no sr25519 key"):
        load_wallet("cold", "hot", tmp_path)


def test_a_development_wallet_is_loaded_as_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = create_dev_wallet("miner-1", "default", tmp_path, uri="//miner-1")

    found = load_wallet("miner-1", "default", tmp_path)

    assert (found.hotkey, found.coldkey) == (made.hotkey, made.coldkey)
    assert found.hotkey == HotkeySigner.from_uri("//miner-1").hotkey
    assert bt.Wallet(name="miner-1", path=str(tmp_path)).coldkey.ss58_address == made.coldkey
    assert capsys.readouterr() == ("", "")


def test_a_development_wallet_is_made_anew(tmp_path: Path) -> None:
    create_dev_wallet("miner-1", "default", tmp_path, uri="//miner-1")
    create_dev_wallet("miner-1", "default", tmp_path, uri="//miner-2")

    found = load_wallet("miner-1", "default", tmp_path)

    assert found.hotkey == HotkeySigner.from_uri("//miner-2").hotkey


def test_a_wallet_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wallets").write_text("a file")

    with pytest.raises(ConfigurationError, match="cannot write"):
        create_dev_wallet("miner-1", "default", tmp_path / "wallets", uri="//miner-1")


def test_a_signer_does_not_show_its_key() -> None:
    assert "keypair" not in repr(HotkeySigner.from_uri("//Alice"))
