"""What simulated miners do: honest, and every kind of cheat."""

from dataclasses import dataclass

from protocol.constants import REPORT_MAX_BYTES
from protocol.ids import BlockHash
from protocol.messages import Commitment, Report

REFERENCE = "reference"
"""Weights of the toy model that everybody should run."""
COMMIT_BLOCKS = 10
"""Length of the commitment phase in the simulated network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a miner does; the defaults are honest."""

    weights: str = REFERENCE
    gain: float = 1.0
    """Factor on every joule that the device shows."""
    delay_blocks: int = 4
    """Blocks after the round's start at which the commitment is there."""

    def seed_hash(self, block_hash: BlockHash) -> BlockHash:
        """The block hash from which the nonce chain is seeded."""
        return block_hash

    def alter(self, report: Report) -> Report:
        """The report that is committed to and revealed."""
        return report

    def reveal(self, report: Report) -> Report | None:
        """The report that is revealed in place of the committed one; None for none."""
        return report

    def commitment(self, commitment: Commitment, times_asked: int) -> Commitment:
        """The commitment that is served."""
        return commitment

    def on_the_wire(self, data: bytes) -> bytes:
        """What leaves the server in place of a message."""
        return data


class Honest(Behaviour):
    """Does as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shades(Behaviour):
    """Runs the model and shows fewer joules, in counter and trace alike."""

    gain: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherModel(Behaviour):
    """Runs cheaper weights."""

    weights: str = "int4"


class Replays(Behaviour):
    """Shows the run of its first round under every later round's name."""

    def alter(self, report: Report) -> Report:
        first: Report = self.__dict__.setdefault("first", report)
        return first.model_copy(update={"round": report.round, "block_hash": report.block_hash})


class StaleNonce(Behaviour):
    """Runs before the round's first block is known, on a nonce of its own."""

    def seed_hash(self, block_hash: BlockHash) -> BlockHash:
        return BlockHash("0x" + "00" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Late(Behaviour):
    """Commits after the deadline."""

    delay_blocks: int = COMMIT_BLOCKS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent(Behaviour):
    """Serves its profile and never commits."""

    delay_blocks: int = 10**9


class Withholds(Behaviour):
    """Commits and does not reveal."""

    def reveal(self, report: Report) -> Report | None:
        return None


class Malformed(Behaviour):
    """Serves something that is no message."""

    def on_the_wire(self, data: bytes) -> bytes:
        return b'{"payload": 1.5}'


class Oversized(Behaviour):
    """Serves more than anybody should read."""

    def on_the_wire(self, data: bytes) -> bytes:
        return data + b" " * REPORT_MAX_BYTES * 2


class ForeignSignature(Behaviour):
    """Serves messages that another key signed."""


class BrokenNonceChain(Behaviour):
    """Answers prompts out of order: the leaves are renumbered."""

    def alter(self, report: Report) -> Report:
        first, second, *rest = report.leaves
        swapped = (
            first.model_copy(update={"output_ids": second.output_ids}),
            second.model_copy(update={"output_ids": first.output_ids}),
        )
        return report.model_copy(update={"leaves": (*swapped, *rest)})


class Reorders(Behaviour):
    """Shows its leaves in another order."""

    def alter(self, report: Report) -> Report:
        first, second, *rest = report.leaves
        return report.model_copy(update={"leaves": (second, first, *rest)})


class EditedCounter(Behaviour):
    """States less energy than its own counter values add up to."""

    def alter(self, report: Report) -> Report:
        energy_mj = report.energy_mj // 2
        (device,) = report.device_energy
        edited = device.model_copy(update={"energy_mj": energy_mj})
        return report.model_copy(update={"energy_mj": energy_mj, "device_energy": (edited,)})


class SwapsReport(Behaviour):
    """Reveals another report than it committed to."""

    def reveal(self, report: Report) -> Report | None:
        return report.model_copy(update={"energy_mj": report.energy_mj - 1})


class Equivocates(Behaviour):
    """Signs two commitments to one round."""

    def commitment(self, commitment: Commitment, times_asked: int) -> Commitment:
        if times_asked == 1:
            return commitment
        return commitment.model_copy(update={"energy_mj": commitment.energy_mj - 1})


class TooShort(Behaviour):
    """Generates fewer tokens than asked."""

    def alter(self, report: Report) -> Report:
        leaves = tuple(
            leaf.model_copy(update={"output_ids": leaf.output_ids[:-1]}) for leaf in report.leaves
        )
        return report.model_copy(update={"leaves": leaves})


class WrongAssignment(Behaviour):
    """Runs another workload than the round's."""

    def alter(self, report: Report) -> Report:
        return report.model_copy(update={"workload": "aies-textgen-v1/plain"})
