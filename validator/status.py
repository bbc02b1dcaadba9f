"""Where a validator stands, as `/v1/status` and the `status` command tell it."""

from dataclasses import asdict, dataclass
from functools import lru_cache

from protocol.canonical import Json
from protocol.ids import BlockNumber, Hotkey, RoundNumber
from protocol.rounds import Schedule
from validator.scoring import reason
from validator.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the last scored round came to for one miner."""

    miner: Hotkey
    outcome: str
    reason: str
    report_score_ppm: int
    average_score_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the current round is."""

    miners: int = 0
    committed: int = 0
    revealed: int = 0
    verdicts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that the outside may know."""

    validator: Hotkey
    block: BlockNumber
    round: RoundNumber
    phase: str
    progress: Progress
    last_scored_round: RoundNumber | None
    log_size: int
    last_weights_block: BlockNumber | None
    last_results: tuple[Result, ...]

    def as_json(self) -> dict[str, Json]:
        """One flat object, the current round's progress among the rest."""
        content: dict[str, Json] = asdict(self)
        progress = content.pop("progress")
        if isinstance(progress, dict):
            content |= progress
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Reads the status from the store."""

    validator: Hotkey
    schedule: Schedule
    store: Store

    def at(self, block: BlockNumber) -> Status:
        """The status when the chain is at this block."""
        number = self.schedule.round_at(block)
        last = self.store.last_scored()
        return Status(
            validator=self.validator,
            block=block,
            round=number,
            phase=self.schedule.phase(block),
            progress=Progress(**self.store.progress(number)),
            last_scored_round=last,
            log_size=self.store.log_size,
            last_weights_block=self.store.last_weights_block(),
            last_results=() if last is None else results(self.store, last),
        )


@lru_cache(maxsize=2)
def results(store: Store, number: RoundNumber) -> tuple[Result, ...]:
    """What a concluded round came to, miner by miner. A concluded round never changes."""
    verdicts = {signed.payload.miner: signed.payload for signed in store.verdicts(number)}
    return tuple(
        Result(
            miner=Hotkey(score.miner),
            outcome=verdict.outcome if (verdict := verdicts.get(score.miner)) else "none",
            reason=reason(verdict, score),
            report_score_ppm=score.report_score_ppm,
            average_score_ppm=score.average_score_ppm,
        )
        for score in store.scores(number)
    )
