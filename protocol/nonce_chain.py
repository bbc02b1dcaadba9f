"""The chain of nonces that makes a run fresh and serial.

The seed comes from a block hash that nobody knew before the round, and from who is asked
for what. Each link takes in the token ids of the answer before it, so that prompt i + 1
cannot be known, batched or cached before answer i exists.

A workload with batches has one link per batch: its prompts are known together, the next
batch's only when all their answers are. With batches of one this is the chain above.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from protocol.canonical import Json, canonical_json
from protocol.ids import BlockHash, GenesisHash, Hotkey, ModelId, Netuid, Nonce

_SEED_DOMAIN = b"carbonbench/seed/1\n"
_FIRST_DOMAIN = b"carbonbench/nonce/first/1\n"
_NEXT_DOMAIN = b"carbonbench/nonce/next/1\n"
_PLACE_DOMAIN = b"carbonbench/nonce/place/1\n"


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


def batch_nonces(nonce: Nonce, size: int) -> tuple[Nonce, ...]:
    """The nonce of each prompt of one batch: the batch's own for the first, then derived ones.

    Different ones, so that the prompts of a batch share no prefix that could be cached.

    Args:
        nonce: The batch's link of the chain.
        size: Prompts in the batch; at least 1.
    """
    places = (place.to_bytes(4, "big") for place in range(1, size))
    derived = (Nonce(hashlib.sha256(_PLACE_DOMAIN + nonce + place).digest()) for place in places)
    return (nonce, *derived)


def next_batch_nonce(nonce: Nonce, outputs: Sequence[Sequence[int]]) -> Nonce:
    """The nonce after a batch: `next_nonce` of all its answers, in order, as one.

    All answers of a workload have the same length, so they cannot run into each other.

    Args:
        nonce: The batch's link of the chain.
        outputs: Its answers' token ids.
    """
    return next_nonce(nonce, tuple(chain.from_iterable(outputs)))


def nonces(
    seed: bytes, outputs: Iterable[Sequence[int]], *, batch_size: int = 1
) -> Iterator[Nonce]:
    """The nonce of each prompt of a finished run, one per answer.

    Args:
        seed: Seed of the run.
        outputs: All answers' token ids, in order.
        batch_size: Prompts that were known together; the last batch may be smaller.
    """
    nonce = first_nonce(seed)
    answers = iter(outputs)
    while batch := list(islice(answers, batch_size)):
        yield from batch_nonces(nonce, len(batch))
        nonce = next_batch_nonce(nonce, batch)
