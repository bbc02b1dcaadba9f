"""Attempts to set weights, as they are kept: part of the adapter `validator.store`."""

import json

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from protocol.ids import BlockNumber, RoundNumber, Uid
from validator.records import WeightAttempt, WeightOutcome
from validator.tables import WeightAttemptRow

_DETAIL_LENGTH = 500


def attempt_row(attempt: WeightAttempt) -> WeightAttemptRow:
    """A row of its own for each attempt."""
    return WeightAttemptRow(
        round=attempt.round,
        block=attempt.block,
        unix_ms=attempt.unix_ms,
        outcome=attempt.outcome,
        cause=attempt.cause,
        detail=attempt.detail[:_DETAIL_LENGTH],
        weights_json=json.dumps(dict(attempt.weights)),
        reveal_round=attempt.reveal_round,
    )


def last_attempt(session: Session) -> WeightAttempt | None:
    """The newest attempt."""
    row = session.scalar(select(WeightAttemptRow).order_by(WeightAttemptRow.id.desc()).limit(1))
    return None if row is None else _attempt_of(row)


def attempts(session: Session, number: RoundNumber) -> tuple[WeightAttempt, ...]:
    """All attempts of a round, oldest first."""
    wanted = select(WeightAttemptRow).where(WeightAttemptRow.round == number)
    return tuple(_attempt_of(row) for row in session.scalars(wanted.order_by(WeightAttemptRow.id)))


def attempt_counts(session: Session) -> dict[str, int]:
    """How many attempts ended in each way."""
    wanted = select(WeightAttemptRow.outcome, func.count()).group_by(WeightAttemptRow.outcome)
    return {outcome: int(count) for outcome, count in session.execute(wanted)}


def _attempt_of(row: WeightAttemptRow) -> WeightAttempt:
    return WeightAttempt(
        round=RoundNumber(row.round),
        block=BlockNumber(row.block),
        unix_ms=row.unix_ms,
        outcome=WeightOutcome(row.outcome),
        cause=row.cause,
        detail=row.detail,
        weights={Uid(int(uid)): weight for uid, weight in json.loads(row.weights_json).items()},
        reveal_round=row.reveal_round,
    )
