"""How a miner's rounds end, and what it is at. Pure.

A round ends in one of three ways, and each is kept: committed, refused (there is no number
that we would sign) or declined (there was no time or no right to run it).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from miner.refusals import MeterError
from protocol.errors import Error
from protocol.ids import RoundNumber
from protocol.messages import Commitment


class State(StrEnum):
    """What the miner is at."""

    IDLE = "idle"
    MEASURING = "measuring"
    COMMITTED = "committed"
    REFUSED = "refused"


class Ending(StrEnum):
    """How a round ended for this miner."""

    COMMITTED = "committed"
    REFUSED = "refused"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Why a round is not run, or not committed to."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one round."""

    round: RoundNumber
    ending: Ending
    code: str
    """Stable name of the reason; empty when committed."""
    detail: str
    model_id: str
    """Empty unless committed."""
    report_digest: str
    """Empty unless committed."""
    energy_mj: int | None
    """None unless committed."""
    run_us: int
    """Time of the run, loading and warm-up included; 0 when nothing was run."""


def outcome_of(number: RoundNumber, end: Commitment | Declined | Error, run_us: int) -> Outcome:
    """The outcome of a round from what it came to."""
    match end:
        case Commitment():
            ending, code, detail = Ending.COMMITTED, "", ""
        case Declined():
            ending, code, detail = Ending.DECLINED, end.code, end.detail
        case _:
            ending, code, detail = Ending.REFUSED, reason_of(end), f"{end}. {end.hint}".strip()
    committed = end if isinstance(end, Commitment) else None
    return Outcome(
        round=number,
        ending=ending,
        code=code,
        detail=detail,
        model_id=committed.model.id if committed else "",
        report_digest=committed.report_digest if committed else "",
        energy_mj=committed.energy_mj if committed else None,
        run_us=run_us,
    )


def reason_of(error: Error) -> str:
    """Stable name of what kept us from a number, such as `counter_reset` or `workload`."""
    if isinstance(error, MeterError):
        return error.reason
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def state_after(ending: Ending) -> State:
    """What a miner is at once a round has ended so."""
    match ending:
        case Ending.COMMITTED:
            return State.COMMITTED
        case Ending.REFUSED:
            return State.REFUSED
        case Ending.DECLINED:
            return State.IDLE
