"""What enters the pool: signature, nonce, era, and nothing else."""

import bittensor_core
import pytest
from bittensor_core import Keypair

from scripts.devnet.chain.admission import RpcError
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.subnet import account_nonce
from tests.support.devnet import MINER, NETUID, STRANGER, VALIDATOR, seated_node


@pytest.fixture
def node() -> Node:
    return seated_node()


def extrinsic(  # noqa: PLR0913 - each field is forged once
    node: Node,
    *,
    signer: Keypair = VALIDATOR.keypair,
    claimed: Keypair | None = None,
    nonce: int = 0,
    era: str | dict[str, int] = "00",
    genesis: str | None = None,
    anchor: str | None = None,
    signature: bytes | None = None,
    data: bytes = b"hello",
) -> str:
    """A signed commitment, with what is given changed."""
    core = node.ledger.runtime.core
    info = {"fields": [[{f"Raw{len(data)}": "0x" + data.hex()}]]}
    call = core.compose_call("Commitments", "set_commitment", {"netuid": NETUID, "info": info})
    genesis = genesis or node.genesis
    fields = {"era": era, "nonce": nonce, "tip": 0, "tip_asset_id": None}
    payload = core.signature_payload(
        call,
        genesis_hash=bytes.fromhex(genesis[2:]),
        era_block_hash=bytes.fromhex((anchor or genesis)[2:]),
        **fields,
    )
    encoded, _ = core.encode_signed_extrinsic(
        call,
        public_key=(claimed or signer).public_key,
        signature=signature or signer.sign(bytes(payload)),
        signature_version=signer.crypto_type,
        **fields,
    )
    return "0x" + bytes(encoded).hex()


def refusal(node: Node, encoded: str) -> tuple[int, str | None]:
    with pytest.raises(RpcError) as caught:
        node.submit(encoded)
    return caught.value.code, caught.value.data


def test_a_signed_extrinsic_is_included(node: Node) -> None:
    node.submit(extrinsic(node))

    assert node.head.number == 2
    assert account_nonce(node.ledger, VALIDATOR.hotkey) == 1
    kept = node.ledger.get("Commitments", "CommitmentOf", NETUID, VALIDATOR.hotkey)
    assert kept["block"] == 2


def test_an_ed25519_signature_is_taken(node: Node) -> None:
    keypair = Keypair.create_from_uri("//Alice", crypto_type=bittensor_core.CRYPTO_ED25519)

    node.submit(extrinsic(node, signer=keypair))

    assert account_nonce(node.ledger, keypair.ss58_address) == 1


def test_a_long_call_is_signed_by_its_hash(node: Node) -> None:
    keys = node.ledger.runtime.core.compose_call("System", "remark", {"remark": b"x" * 1_000})
    assert len(keys) > 256

    for size in (100, 128):
        nonce = account_nonce(node.ledger, VALIDATOR.hotkey)
        node.submit(extrinsic(node, data=bytes(size), nonce=nonce))

    assert account_nonce(node.ledger, VALIDATOR.hotkey) == 2


def test_a_forged_signature_is_refused(node: Node) -> None:
    forged = extrinsic(node, signer=STRANGER.keypair, claimed=VALIDATOR.keypair)

    assert refusal(node, forged) == (1010, "Transaction has a bad signature")
    assert node.head.number == 1


@pytest.mark.parametrize("index", range(0, 64, 7))
def test_a_changed_signature_is_refused(node: Node, index: int) -> None:
    good = bytearray.fromhex(extrinsic(node)[2:])
    start = good.index(bytes(VALIDATOR.keypair.public_key)) + 33
    good[start + index] ^= 1

    assert refusal(node, "0x" + good.hex()) == (1010, "Transaction has a bad signature")


def test_a_changed_call_is_refused(node: Node) -> None:
    good = bytearray.fromhex(extrinsic(node)[2:])
    good[-1] ^= 1

    assert refusal(node, "0x" + good.hex()) == (1010, "Transaction has a bad signature")


def test_an_extrinsic_for_another_chain_is_refused(node: Node) -> None:
    foreign = extrinsic(seated_node(), nonce=0)

    assert refusal(node, foreign) == (1010, "Transaction has a bad signature")


def test_a_replayed_extrinsic_is_refused(node: Node) -> None:
    once = extrinsic(node)
    node.submit(once)

    assert refusal(node, once) == (1010, "Transaction is outdated")


def test_a_nonce_that_skips_one_is_refused(node: Node) -> None:
    assert refusal(node, extrinsic(node, nonce=1)) == (
        1010,
        "Transaction will be valid in the future",
    )


def test_a_pool_takes_consecutive_nonces_once_each(node: Node) -> None:
    node.block_seconds = 60
    first, second = (extrinsic(node, nonce=nonce, data=b"%d" % nonce) for nonce in (0, 1))

    node.submit(first)
    node.submit(second)

    assert refusal(node, first)[0] == 1013
    assert refusal(node, extrinsic(node, nonce=1, data=b"other"))[0] == 1014
    assert node.next_nonce(VALIDATOR.hotkey) == 2
    node.seal()
    assert account_nonce(node.ledger, VALIDATOR.hotkey) == 2
    assert len(node.head.extrinsics) == 3


def test_a_mortal_era_binds_to_its_first_block(node: Node) -> None:
    node.mine(20)
    anchor = node.block_hash(16)

    era = {"period": 16, "phase": 0}
    assert refusal(node, extrinsic(node, era=era, anchor=node.block_hash(15)))[0] == 1010
    node.submit(extrinsic(node, era=era, anchor=anchor))


def test_an_expired_era_is_refused(node: Node) -> None:
    node.mine(20)
    encoded = extrinsic(node, era={"period": 16, "phase": 0}, anchor=node.block_hash(16))
    node.mine(16)

    assert refusal(node, encoded) == (1010, "Transaction has a bad signature")


@pytest.mark.parametrize("encoded", ["", "0x", "0x00", "0xzz", "0x" + "ff" * 200, "0x04"])
def test_bytes_that_are_no_extrinsic_are_refused(node: Node, encoded: str) -> None:
    assert refusal(node, encoded)[0] == 1002


def test_an_unsigned_extrinsic_is_refused(node: Node) -> None:
    inherent = node.head.extrinsics[0]

    assert refusal(node, inherent)[0] == 1002


def test_a_truncated_extrinsic_is_refused(node: Node) -> None:
    whole = extrinsic(node)

    for length in range(2, len(whole), 16):
        with pytest.raises(RpcError):
            node.submit(whole[:length])


def test_the_strangers_nonce_is_his_own(node: Node) -> None:
    node.submit(extrinsic(node))
    node.submit(extrinsic(node, signer=MINER.keypair))

    assert node.next_nonce(VALIDATOR.hotkey) == 1
    assert node.next_nonce(MINER.hotkey) == 1
    assert node.next_nonce(STRANGER.hotkey) == 0
