"""A hotkey takes a UID on the devnet chain, through the SDK and through the commands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import miner.cli
import validator.cli
from protocol.errors import ChainError, ConfigurationError
from protocol.registration import load_coldkey, quote, register
from protocol.subtensor import SubtensorChain
from protocol.units import rao_from_tao
from protocol.wallet import create_dev_wallet
from scripts.devnet.chain.subnet import balance_rao, set_balance
from tests.support.devnet import MINER, STRANGER, Devnet, devnet_process, running_devnet

COLDKEY_URI = "//Alice"


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with running_devnet() as running:
        yield running


@pytest.fixture
async def chain(devnet: Devnet) -> AsyncIterator[SubtensorChain]:
    opened = await devnet.chain()
    yield opened
    await opened.close()


def alice() -> object:
    import bittensor_core

    return bittensor_core.Keypair.create_from_uri(COLDKEY_URI)


def drop_shield(devnet: Devnet) -> None:
    """Make it a chain without protection from front-runners."""
    devnet.node.ledger.remove("MevShield", "NextKey")


def call_name(devnet: Devnet, encoded: str) -> str:
    decoded = devnet.node.ledger.runtime.core.decode_extrinsic(bytes.fromhex(encoded[2:]))
    return str(decoded["call"]["call_function"])


async def test_a_quote_tells_price_balance_and_room(devnet: Devnet, chain: SubtensorChain) -> None:
    devnet.subnet.put("Burn", value=rao_from_tao(2.5))
    found = await quote(chain, alice().ss58_address)  # type: ignore[attr-defined]

    assert (found.price_tao, found.balance_tao) == (2.5, 1_000_000)
    assert found.is_shielded
    assert found.free_uids == 253
    drop_shield(devnet)
    assert not (await quote(chain, alice().ss58_address)).is_shielded  # type: ignore[attr-defined]


@pytest.mark.parametrize("shielded", [True, False])
async def test_a_hotkey_takes_a_uid_and_the_coldkey_pays(
    devnet: Devnet, chain: SubtensorChain, *, shielded: bool
) -> None:
    if not shielded:
        drop_shield(devnet)
    keypair = alice()
    before = balance_rao(devnet.node.ledger, keypair.ss58_address)  # type: ignore[attr-defined]

    uid = await register(chain, coldkey=keypair, hotkey=STRANGER.hotkey, max_cost_tao=1.5)
    again = await register(chain, coldkey=keypair, hotkey=STRANGER.hotkey, max_cost_tao=1.5)

    assert uid == again == 3
    paid = before - balance_rao(devnet.node.ledger, keypair.ss58_address)  # type: ignore[attr-defined]
    assert paid == rao_from_tao(1.0)
    calls = {call_name(devnet, body) for block in devnet.node.blocks for body in block.extrinsics}
    assert ("submit_encrypted" in calls) == shielded
    assert ("register_limit" in calls) == (not shielded)


async def test_a_price_above_the_limit_is_not_paid(devnet: Devnet, chain: SubtensorChain) -> None:
    with pytest.raises(ChainError, match=r"costs 1 TAO now, more than 0\.5") as caught:
        await register(chain, coldkey=alice(), hotkey=STRANGER.hotkey, max_cost_tao=0.5)

    assert "decays" in caught.value.hint
    assert devnet.subnet.uid(STRANGER.hotkey) is None


async def test_an_empty_purse_is_named(devnet: Devnet, chain: SubtensorChain) -> None:
    set_balance(devnet.node.ledger, alice().ss58_address, 1)  # type: ignore[attr-defined]

    with pytest.raises(ChainError, match="the coldkey holds"):
        await register(chain, coldkey=alice(), hotkey=STRANGER.hotkey, max_cost_tao=5)


async def test_closed_registration_is_refused_by_the_chain(
    devnet: Devnet, chain: SubtensorChain
) -> None:
    devnet.subnet.put("NetworkRegistrationAllowed", value=False)

    with pytest.raises(ChainError, match="SubNetRegistrationDisabled"):
        await register(chain, coldkey=alice(), hotkey=STRANGER.hotkey, max_cost_tao=5)


async def test_a_registered_hotkey_is_left_alone(devnet: Devnet, chain: SubtensorChain) -> None:
    assert await register(chain, coldkey=alice(), hotkey=MINER.hotkey, max_cost_tao=0.0) == 2


def test_a_wallet_without_coldkey_says_where_to_register(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_coldkey("nobody", tmp_path)

    assert "Register where the coldkey is" in caught.value.hint


@pytest.mark.parametrize("run", [miner.cli.run, validator.cli.execute])
def test_the_commands_show_the_price_and_register_with_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: object
) -> None:
    signer = create_dev_wallet("w", "h", tmp_path, uri="//Fresh")
    with devnet_process(tmp_path, "--block-seconds", "0", "--owner", "//Fresh//coldkey") as url:
        wallet = ["--wallet", "w", "--hotkey", "h", "--wallet-path", str(tmp_path)]
        where = ["register", "--network", "devnet", "--endpoint", url, *wallet]
        asked = run(where)  # type: ignore[operator]
        shown = capsys.readouterr().out
        poor = run([*where, "--max-cost", "5"])  # type: ignore[operator]
        error = capsys.readouterr().err

    assert asked == 0
    assert "costs 1 TAO now" in shown
    assert "nothing was sent" in shown
    assert poor == 1
    assert "the coldkey holds 0 TAO" in error
    assert signer.hotkey not in shown
