"""A round's clock, in blocks, and who is asked for what.

Rounds are anchored on block numbers, the same for every validator, so that one run serves
them all. Nobody has to be asked: block hash, hotkey and profile say what to run.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocol.canonical import canonical_json
from protocol.constants import BEACON_DELAY_BLOCKS
from protocol.ids import BlockHash, BlockNumber, Hotkey, RoundNumber

_ASSIGN_DOMAIN = b"carbonbench/assign/1\n"


class Phase(StrEnum):
    """What a round waits for."""

    MEASURING = "measuring"
    """Miners run; commitments come in."""
    SEALED = "sealed"
    """No more commitments; the beacon block is not there yet."""
    REVEALING = "revealing"
    """The sample is known; reports are fetched and checked."""
    SCORING = "scoring"
    """No more reports; verdicts become weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Lengths of a round's phases, in blocks; the round number is block // `round_blocks`."""

    round_blocks: int
    commit_blocks: int
    """Commitments count if seen at most this many blocks after the round's start."""
    reveal_blocks: int
    """Reports count if seen at most this many blocks after the round's start."""

    def __post_init__(self) -> None:
        beacon = self.commit_blocks + BEACON_DELAY_BLOCKS
        # At least one block is left for scoring after the last block that reveals.
        last = self.round_blocks - 1
        if not 0 < self.commit_blocks < beacon < self.reveal_blocks < last:
            raise ValueError(f"phases out of order: {self}")

    def round_at(self, block: BlockNumber) -> RoundNumber:
        """The round to which a block belongs."""
        return RoundNumber(block // self.round_blocks)

    def start(self, number: RoundNumber) -> BlockNumber:
        """First block of a round: its hash seeds the runs."""
        return BlockNumber(number * self.round_blocks)

    def commit_deadline(self, number: RoundNumber) -> BlockNumber:
        """Last block at which a commitment counts."""
        return BlockNumber(self.start(number) + self.commit_blocks)

    def beacon(self, number: RoundNumber) -> BlockNumber:
        """The block whose hash picks the sample."""
        return BlockNumber(self.commit_deadline(number) + BEACON_DELAY_BLOCKS)

    def reveal_deadline(self, number: RoundNumber) -> BlockNumber:
        """Last block at which a report counts."""
        return BlockNumber(self.start(number) + self.reveal_blocks)

    def phase(self, block: BlockNumber) -> Phase:
        """What the block's round waits for."""
        number = self.round_at(block)
        if block <= self.commit_deadline(number):
            return Phase.MEASURING
        if block < self.beacon(number):
            return Phase.SEALED
        if block <= self.reveal_deadline(number):
            return Phase.REVEALING
        return Phase.SCORING


def assign(
    *, block_hash: BlockHash, hotkey: Hotkey, models: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    """The model that a miner runs in a round.

    Args:
        block_hash: Hash of the round's first block.
        hotkey: The miner.
        models: (id, revision) of each model of its profile that the network knows; their
            order does not matter.

    Raises:
        ValueError: If there is no model to choose from.
    """
    if not models:
        raise ValueError("no model to choose from")
    return min(models, key=lambda model: _draw(block_hash, hotkey, model))


def _draw(block_hash: BlockHash, hotkey: Hotkey, model: tuple[str, str]) -> bytes:
    fields = canonical_json([block_hash, hotkey, *model])
    return hashlib.sha256(_ASSIGN_DOMAIN + fields).digest()
