"""Golden vectors: the bytes that every implementation must arrive at.

`python -m tests.support.vectors` writes the files of `tests/vectors/` anew. A vector that changes
is a break of the protocol: it needs a new `PROTOCOL_VERSION` and a line under *Protocol* in
the changelog. Signatures are randomised (sr25519), so one that still verifies is kept.
"""

import json
import sys
from pathlib import Path
from typing import TypedDict

from protocol.canonical import canonical_bytes, message_digest
from protocol.ids import BlockHash, Digest, GenesisHash, Hotkey, ModelId, Netuid
from protocol.merkle import MerkleTree, leaf_hash
from protocol.messages import NetworkMessage
from protocol.nonce_chain import nonces, round_seed
from protocol.rounds import assign
from protocol.sampling import sample_indices
from protocol.signing import payload_type, sign, signing_bytes
from tests.support import factories
from tests.support.keys import DevSigner

FOLDER = Path(__file__).parents[1] / "vectors"


class MessageVector(TypedDict):
    """A message, step by step from its fields to a signature."""

    message: dict[str, object]
    canonical: str
    digest: str
    payload_type: str
    signing_bytes: str
    hotkey: str
    signature: str


def messages() -> dict[str, tuple[NetworkMessage, DevSigner]]:
    """The examples by file name, and who signs each."""
    return {
        "profile": (factories.profile(), factories.MINER),
        "commitment": (factories.commitment(), factories.MINER),
        "report": (factories.report(), factories.MINER),
        "verdict": (factories.verdict(), factories.VALIDATOR),
        "verdict_rejected": (factories.rejecting_verdict(), factories.VALIDATOR),
        "round": (factories.round_record(), factories.VALIDATOR),
        "tree_head": (factories.tree_head(), factories.VALIDATOR),
    }


def message_vector(message: NetworkMessage, signer: DevSigner) -> MessageVector:
    """The vector of one message, under a new signature."""
    return MessageVector(
        message=message.model_dump(mode="json"),
        canonical=canonical_bytes(message).decode(),
        digest=message_digest(message),
        payload_type=payload_type(message),
        signing_bytes=signing_bytes(message).decode(),
        hotkey=signer.hotkey,
        signature=sign(message, signer).signatures[0].sig,
    )


def nonce_chain_vector() -> dict[str, object]:
    """A seed and the nonces of three prompts."""
    fields = {
        "genesis_hash": factories.GENESIS_HASH,
        "netuid": factories.NETUID,
        "block_hash": factories.BLOCK_HASH,
        "hotkey": factories.MINER.hotkey,
        "model": [factories.MODEL.id, factories.MODEL.revision],
        "workload": factories.WORKLOAD_KEY,
    }
    outputs = [[1, 2, 3], [], [49_151]]
    seed = round_seed(
        genesis_hash=GenesisHash(factories.GENESIS_HASH),
        netuid=Netuid(factories.NETUID),
        block_hash=BlockHash(factories.BLOCK_HASH),
        hotkey=factories.MINER.hotkey,
        model=(ModelId(factories.MODEL.id), factories.MODEL.revision),
        workload=factories.WORKLOAD_KEY,
    )
    links = [nonce.hex() for nonce in nonces(seed, outputs)]
    return {"fields": fields, "seed": seed.hex(), "outputs": outputs, "nonces": links}


def sampling_vector() -> list[dict[str, object]]:
    """Samples of some sizes."""
    beacon, committed = BlockHash(factories.BEACON_HASH), Digest("5a" * 32)
    return [
        {
            "beacon": beacon,
            "report_digest": committed,
            "population": population,
            "count": count,
            "indices": list(
                sample_indices(
                    beacon=beacon, report_digest=committed, population=population, count=count
                )
            ),
        }
        for population, count in ((1_000, 64), (16, 8), (3, 64), (1, 1))
    ]


class AssignmentVector(TypedDict):
    """Who is assigned what by one block."""

    block_hash: str
    models: list[tuple[str, str]]
    assigned: dict[str, tuple[str, str]]


def assignment_vector() -> AssignmentVector:
    """Six miners and four models."""
    models = [("a/first", "1"), ("b/second", "1"), ("b/second", "2"), ("c/third", "main")]
    return {
        "block_hash": factories.BLOCK_HASH,
        "models": models,
        "assigned": {
            signer.hotkey: assign(
                block_hash=BlockHash(factories.BLOCK_HASH),
                hotkey=Hotkey(signer.hotkey),
                models=models,
            )
            for signer in (DevSigner(f"//Miner{number}") for number in range(6))
        },
    }


def merkle_vector() -> dict[str, object]:
    """Seven leaves, every root, and one proof of each kind."""
    leaves = [b"leaf %d" % number for number in range(7)]
    tree = MerkleTree.of(leaves)
    return {
        "leaves": [data.decode() for data in leaves],
        "leaf_hashes": [leaf_hash(data).hex() for data in leaves],
        "roots": [tree.root(size).hex() for size in range(8)],
        "inclusion_of_4_in_7": [hashed.hex() for hashed in tree.inclusion_proof(4)],
        "consistency_of_3_with_7": [hashed.hex() for hashed in tree.consistency_proof(3)],
    }


def load(name: str) -> object:
    """A vector file's content."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def main() -> None:
    """Write all vector files; a signature is kept while its bytes stay the same."""
    for name, (message, signer) in messages().items():
        vector = message_vector(message, signer)
        path = FOLDER / f"{name}.json"
        if path.exists():
            old = json.loads(path.read_text())
            if old["signing_bytes"] == vector["signing_bytes"]:
                vector["signature"] = old["signature"]
        _write(name, vector)
    _write("nonce_chain", nonce_chain_vector())
    _write("sampling", sampling_vector())
    _write("assignment", assignment_vector())
    _write("merkle", merkle_vector())


def _write(name: str, content: object) -> None:
    text = json.dumps(content, indent=1) + "\n"
    (FOLDER / f"{name}.json").write_text(text)
    sys.stdout.write(f"{name}.json\n")


if __name__ == "__main__":
    main()
