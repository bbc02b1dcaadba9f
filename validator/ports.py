"""What the round's story (`validator.round`, `validator.settlement`) needs from the world.

The adapters are `protocol.subtensor`, `validator.miners`, `validator.rescoring`,
`validator.store` and `validator.follower`; tests have fakes for all but the store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from protocol.chain import Axon, Block, Chain
from protocol.errors import Rejection
from protocol.ids import BlockHash, BlockNumber, Digest, Hotkey, RoundNumber, Uid
from protocol.messages import (
    Commitment,
    MinerScore,
    Profile,
    Report,
    RoundRecord,
    TreeHead,
    Verdict,
)
from protocol.signing import Signed, Signer
from validator.cohorts import Observation
from validator.judging import Rescorer
from validator.operators import Run
from validator.physics import Baseline
from validator.records import Facts, Opening, RoundState, Seat, WeightAttempt

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """A round's end: its record, and the head of the log that holds it."""

    record: Signed[RoundRecord]
    head: Signed[TreeHead]


class Ledger(Protocol):
    """What is remembered across restarts: rounds, seats, reports, verdicts and the log.

    Each call is one transaction, on disk when it returns.
    """

    def state(self, number: RoundNumber) -> RoundState | None:
        """How far a round has got; None if it was never opened."""
        ...

    def open_round(self, opening: Opening, seats: Sequence[Seat]) -> None:
        """Remember a round and who is in it; does nothing if it is known."""
        ...

    def add_seats(self, seats: Sequence[Seat]) -> None:
        """Let more miners into a round that has been opened."""
        ...

    def seats(self, number: RoundNumber) -> tuple[Seat, ...]:
        """The round's miners, by hotkey."""
        ...

    def keep_announcement(
        self, number: RoundNumber, hotkey: Hotkey, profile: Signed[Profile]
    ) -> None:
        """Remember a profile that was served before the round began."""
        ...

    def announcements(self, number: RoundNumber) -> dict[Hotkey, Signed[Profile]]:
        """Profiles that were served before the round began."""
        ...

    def keep_profile(self, number: RoundNumber, hotkey: Hotkey, profile: Signed[Profile]) -> None:
        """Remember the profile that holds for the round."""
        ...

    def keep_commitment(
        self,
        number: RoundNumber,
        commitment: Signed[Commitment],
        *,
        block: BlockNumber,
        unix_ms: int,
    ) -> None:
        """Remember a commitment, and when it was seen."""
        ...

    def keep_failure(
        self, number: RoundNumber, hotkey: Hotkey, failure: Rejection, *, asked: BlockNumber
    ) -> None:
        """Remember why a miner's last answer was none."""
        ...

    def keep_report(self, number: RoundNumber, report: Signed[Report]) -> None:
        """Remember a revealed report."""
        ...

    def report(self, digest: Digest) -> Signed[Report] | None:
        """A revealed report by the digest of its payload."""
        ...

    def keep_beacon(self, number: RoundNumber, beacon: BlockHash) -> None:
        """Remember the hash that picks the round's samples."""
        ...

    def keep_verdict(self, facts: Facts) -> None:
        """Remember a signed verdict; a second one on the same miner and round is refused."""
        ...

    def verdicts(self, number: RoundNumber) -> tuple[Signed[Verdict], ...]:
        """The round's verdicts, by hotkey."""
        ...

    def earlier_energies_mj(self, hotkey: Hotkey, cell_key: str) -> tuple[int, ...]:
        """Energies of a miner's latest accepted reports in a cell (mJ)."""
        ...

    def earlier_shapes(self, hotkey: Hotkey, cell_key: str) -> tuple[tuple[int, ...], ...]:
        """Shapes of the traces of a miner's latest reports in a cell."""
        ...

    def shapes(self, number: RoundNumber) -> dict[str, dict[Hotkey, tuple[int, ...]]]:
        """Shapes of a round's accepted traces, by cell and miner."""
        ...

    def runs(self, number: RoundNumber, *, count: int) -> tuple[Run, ...]:
        """Accepted runs of a round and of those before it, `count` rounds in all."""
        ...

    def trace_count(self, trace: Digest, *, before: RoundNumber) -> int:
        """Verdicts of earlier rounds on reports with this very power trace."""
        ...

    def baseline(self, cell_key: str, *, without: Hotkey) -> Baseline | None:
        """Medians of other miners' latest accepted reports in a cell; None if too few."""
        ...

    def has_open_before(self, number: RoundNumber) -> bool:
        """Whether an earlier round is not concluded yet."""
        ...

    def history(self, number: RoundNumber, *, first: RoundNumber) -> tuple[Observation, ...]:
        """Accepted reports from round `first` to the one before `number`."""
        ...

    def averages_ppm(self, number: RoundNumber) -> dict[Hotkey, int]:
        """Moving averages after the last round concluded before `number`."""
        ...

    def recent_codes(self, number: RoundNumber, *, count: int) -> dict[Hotkey, tuple[str, ...]]:
        """Codes ("" for accepted) of each miner's verdicts in the last rounds, newest last."""
        ...

    def proof_failures(self, number: RoundNumber) -> dict[Hotkey, list[RoundNumber]]:
        """Rounds before `number` in which miners failed the token proof, as far as they count."""
        ...

    def excluded(self, number: RoundNumber) -> frozenset[str]:
        """Hotkeys and coldkeys that proven fraud excludes from a round."""
        ...

    def grown(self, entries: Sequence[bytes]) -> tuple[int, Digest]:
        """Size and root that the log would have with these entries appended."""
        ...

    def conclude(self, conclusion: Conclusion) -> None:
        """Append the round's verdicts and record to the log, under the new head, at once."""
        ...

    def has_scored_after(self, number: RoundNumber) -> bool:
        """Whether a later round is concluded."""
        ...

    def scores(self, number: RoundNumber) -> tuple[MinerScore, ...]:
        """Scores of a concluded round."""
        ...

    def mark_weights(
        self, number: RoundNumber, *, block: BlockNumber, vector: dict[Uid, int]
    ) -> None:
        """Remember that the round's weights are on chain."""
        ...

    def keep_attempt(self, attempt: WeightAttempt) -> None:
        """Remember an attempt to set weights."""
        ...

    def last_attempt(self) -> WeightAttempt | None:
        """The newest attempt to set weights."""
        ...

    def head_to_commit(self, number: RoundNumber) -> TreeHead | None:
        """The round's tree head, unless its root is on chain already."""
        ...

    def mark_committed(self, size: int) -> None:
        """Remember that the head of this size is on chain."""
        ...


class Miners(Protocol):
    """The miners' servers. Whatever goes wrong there is a `Rejection`, never an exception."""

    def refusal(self, axon: Axon) -> Rejection | None:
        """Why this address is not called; None if it may be."""
        ...

    async def profile(self, hotkey: Hotkey, axon: Axon) -> Signed[Profile] | Rejection:
        """What the miner offers."""
        ...

    async def commitment(
        self, hotkey: Hotkey, axon: Axon, number: RoundNumber
    ) -> Signed[Commitment] | Rejection:
        """Its commitment of a round."""
        ...

    async def report(
        self, hotkey: Hotkey, axon: Axon, number: RoundNumber
    ) -> Signed[Report] | Rejection:
        """Its report of a round."""
        ...


class Clock(Protocol):
    """Where the chain is now."""

    @property
    def head(self) -> Block:
        """The newest block that was seen."""
        ...

    async def reached(self, number: BlockNumber) -> None:
        """Return once the head is at this block or beyond."""
        ...

    def unix_ms(self) -> int:
        """Wall-clock time (ms)."""
        ...


class Workshop(Protocol):
    """Where blocking work is done, so that the event loop stays free."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The work's result."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the story needs from the world."""

    chain: Chain
    miners: Miners
    rescorer: Rescorer
    ledger: Ledger
    clock: Clock
    signer: Signer
    workshop: Workshop
