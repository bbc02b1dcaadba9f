"""What the shield lets through: the sender's own next extrinsic, and nothing else."""

import bittensor_core
import pytest
from bittensor_core import Keypair

from scripts.devnet.chain.node import Node
from scripts.devnet.chain.shield import SEED_BYTES, SHIELD, Shield
from scripts.devnet.chain.subnet import account_nonce
from tests.support.devnet import MINER, NETUID, VALIDATOR, seated_node

FIELDS = {"era": "00", "tip": 0, "tip_asset_id": None}
DATA = b"hidden"


@pytest.fixture
def node() -> Node:
    return seated_node()


def signed(node: Node, call: bytes, *, nonce: int, signer: Keypair = VALIDATOR.keypair) -> bytes:
    genesis = bytes.fromhex(node.genesis[2:])
    core = node.ledger.runtime.core
    payload = core.signature_payload(
        call, genesis_hash=genesis, era_block_hash=genesis, nonce=nonce, **FIELDS
    )
    encoded, _ = core.encode_signed_extrinsic(
        call,
        public_key=signer.public_key,
        signature=signer.sign(bytes(payload)),
        signature_version=signer.crypto_type,
        nonce=nonce,
        **FIELDS,
    )
    return bytes(encoded)


def commitment(node: Node, *, nonce: int = 1, signer: Keypair = VALIDATOR.keypair) -> bytes:
    info = {"fields": [[{f"Raw{len(DATA)}": "0x" + DATA.hex()}]]}
    core = node.ledger.runtime.core
    call = core.compose_call("Commitments", "set_commitment", {"netuid": NETUID, "info": info})
    return signed(node, bytes(call), nonce=nonce, signer=signer)


def sealed(node: Node, data: bytes, key: bytes | None = None) -> bytes:
    key = key or bytes.fromhex(node.ledger.get(SHIELD, "NextKey")[2:])
    return bytes(bittensor_core.encrypt_mlkem768(key, data, include_key_hash=True))


def submit(node: Node, ciphertext: bytes) -> int:
    """Send it as the validator; how many signed extrinsics the block has."""
    core = node.ledger.runtime.core
    call = core.compose_call(SHIELD, "submit_encrypted", {"ciphertext": "0x" + ciphertext.hex()})
    node.submit("0x" + signed(node, bytes(call), nonce=0).hex())
    return len(node.head.extrinsics) - 1


def test_what_was_hidden_lands_in_the_same_block(node: Node) -> None:
    inner = commitment(node)

    assert submit(node, sealed(node, inner)) == 2

    assert node.head.extrinsics[-1] == "0x" + inner.hex()
    assert account_nonce(node.ledger, VALIDATOR.hotkey) == 2
    assert node.ledger.get("Commitments", "CommitmentOf", NETUID, VALIDATOR.hotkey) is not None


@pytest.mark.parametrize(
    "ciphertext",
    [
        lambda node: b"",
        lambda node: b"\x00" * 300,
        lambda node: sealed(node, b"no extrinsic"),
        lambda node: sealed(node, commitment(node))[:-1],
        lambda node: sealed(node, commitment(node), Shield(bytes(SEED_BYTES)).public_key),
        lambda node: sealed(node, commitment(node, nonce=0)),
        lambda node: sealed(node, commitment(node, nonce=2)),
        lambda node: sealed(node, commitment(node, nonce=1, signer=MINER.keypair)),
        lambda node: sealed(node, commitment(node)[:-1] + b"\x00"),
    ],
    ids=["empty", "zeros", "noise", "cut", "other_key", "used", "ahead", "stranger", "forged"],
)
def test_anything_else_is_left_out(node: Node, ciphertext: object) -> None:
    assert submit(node, ciphertext(node)) == 1  # type: ignore[operator]

    assert account_nonce(node.ledger, VALIDATOR.hotkey) == 1
    assert node.ledger.get("Commitments", "CommitmentOf", NETUID, VALIDATOR.hotkey) is None


def test_a_seed_fixes_the_key() -> None:
    same = Shield(bytes(SEED_BYTES)).public_key

    assert same == Shield(bytes(SEED_BYTES)).public_key
    assert same != Shield(b"\x01" * SEED_BYTES).public_key
