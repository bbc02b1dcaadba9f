"""The chain of nonces that makes a run fresh and serial.

The seed comes from a block hash that nobody knew before the round, and from who is asked
for what. Each link takes in the token ids of the answer before it, so that prompt i + 1
cannot be known, batched or cached before answer i exists.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from protocol.canonical import Json, canonical_json
from protocol.ids import BlockHash, GenesisHash, Hotkey, ModelId, Netuid, Nonce

_SEED_DOMAIN = b"carbonbench/seed/1\n"
_FIRST_DOMAIN = b"carbonbench/nonce/first/1\n"
_NEXT_DOMAIN = b"carbonbench/nonce/next/1\n"


def round_seed(
    *,
    genesis_hash: GenesisHash,
    netuid: Netuid,
    block_hash: BlockHash,
    hotkey: Hotkey,
    model: tuple[ModelId, str],
    workload: str,
) -> bytes:
    """The 32-byte seed of one miner's run in one round.

    Args:
        genesis_hash: Hash of block 0.
        netuid: The subnet.
        block_hash: Hash of the round's first block.
        hotkey: The miner.
        model: Assigned model and its revision.
        workload: The workload's key.
    """
    fields: Json = {
        "block_hash": block_hash,
        "genesis_hash": genesis_hash,
        "hotkey": hotkey,
        "model": model[0],
        "netuid": netuid,
        "revision": model[1],
        "workload": workload,
    }
    return hashlib.sha256(_SEED_DOMAIN + canonical_json(fields)).digest()


def first_nonce(seed: bytes) -> Nonce:
    """The nonce of prompt 0."""
    return Nonce(hashlib.sha256(_FIRST_DOMAIN + seed).digest())


def next_nonce(nonce: Nonce, output_ids: Sequence[int]) -> Nonce:
    """The nonce after an answer.

    Args:
        nonce: The nonce under which the answer was made.
        output_ids: The answer's token ids, in order, without the prompt.
    """
    answer = canonical_json(list(output_ids))
    return Nonce(hashlib.sha256(_NEXT_DOMAIN + nonce + answer).digest())


def nonces(seed: bytes, outputs: Iterable[Sequence[int]]) -> Iterator[Nonce]:
    """The nonce of each prompt of a finished run, one per answer."""
    nonce = first_nonce(seed)
    for output_ids in outputs:
        yield nonce
        nonce = next_nonce(nonce, output_ids)
