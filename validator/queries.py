"""The longer questions to the validator's database, each on a session of `validator.store`."""

from collections import defaultdict
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.constants import EXCLUSION_ROUNDS
from protocol.errors import RejectionCode
from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import Verdict
from protocol.signing import Signed
from protocol.units import Seconds, Watts, joules, seconds_from_us
from validator.cohorts import Observation
from validator.operators import Run
from validator.physics import Baseline
from validator.rows import RECORD, shape_of
from validator.scoring import FRAUD_CODES, excluded_until
from validator.tables import EntryRow, ScoreRow, SeatRow

_US_PER_MS = 10**3
_BASELINE_REPORTS = 50
_BASELINE_MINERS = 3


def baseline(session: Session, cell_key: str, without: Hotkey) -> Baseline | None:
    """Medians of other miners' latest accepted reports in a cell; None if too few."""
    wanted = (
        select(EntryRow.miner, EntryRow.energy_mj, EntryRow.duration_us)
        .where(EntryRow.cell_key == cell_key, EntryRow.miner != without)
        .order_by(EntryRow.round.desc(), EntryRow.miner)
        .limit(_BASELINE_REPORTS)
    )
    runs = [
        (miner, joules(energy_mj), seconds_from_us(duration_us))
        for miner, energy_mj, duration_us in session.execute(wanted)
        if energy_mj and duration_us
    ]
    if len({miner for miner, _, _ in runs}) < _BASELINE_MINERS:
        return None
    return Baseline(
        median_power=Watts(median(energy / span for _, energy, span in runs)),
        median_duration=Seconds(median(span for _, _, span in runs)),
    )


def history(session: Session, number: RoundNumber, first: RoundNumber) -> tuple[Observation, ...]:
    """Accepted reports from round `first` to the one before `number`."""
    same_seat = (ScoreRow.round == EntryRow.round) & (ScoreRow.miner == EntryRow.miner)
    wanted = (
        select(
            EntryRow.cell_key, EntryRow.miner, ScoreRow.operator, EntryRow.round, EntryRow.log_nano
        )
        .join(ScoreRow, same_seat)
        .where(EntryRow.outcome == "accepted", EntryRow.round >= first, EntryRow.round < number)
        .order_by(EntryRow.round, EntryRow.miner)
    )
    return tuple(
        Observation(
            cell_key=cell_key,
            miner=Hotkey(miner),
            operator=Coldkey(operator),
            round=RoundNumber(seen),
            log_nano=log,
        )
        for cell_key, miner, operator, seen, log in session.execute(wanted)
        if cell_key is not None and log is not None
    )


def earlier_shapes(
    session: Session, hotkey: Hotkey, cell_key: str, limit: int
) -> tuple[tuple[int, ...], ...]:
    """Shapes of the traces of a miner's latest reports in a cell."""
    wanted = (
        select(EntryRow.trace_shape)
        .where(
            EntryRow.cell_key == cell_key,
            EntryRow.miner == hotkey,
            EntryRow.trace_shape.is_not(None),
        )
        .order_by(EntryRow.round.desc())
        .limit(limit)
    )
    return tuple(shape_of(data) for data in session.scalars(wanted) if data)


def shapes(session: Session, number: RoundNumber) -> dict[str, dict[Hotkey, tuple[int, ...]]]:
    """Shapes of a round's accepted traces, by cell and miner."""
    wanted = select(EntryRow.cell_key, EntryRow.miner, EntryRow.trace_shape).where(
        EntryRow.round == number,
        EntryRow.outcome == "accepted",
        EntryRow.trace_shape.is_not(None),
    )
    found: defaultdict[str, dict[Hotkey, tuple[int, ...]]] = defaultdict(dict)
    for cell_key, miner, data in session.execute(wanted):
        if cell_key is not None and data is not None:
            found[cell_key][Hotkey(miner)] = shape_of(data)
    return dict(found)


def runs(session: Session, number: RoundNumber, count: int) -> tuple[Run, ...]:
    """Accepted runs of a round and of those before it, `count` rounds in all."""
    same_seat = (SeatRow.round == EntryRow.round) & (SeatRow.hotkey == EntryRow.miner)
    wanted = (
        select(
            EntryRow.round,
            EntryRow.miner,
            EntryRow.cell_key,
            EntryRow.log_nano,
            EntryRow.duration_us,
            SeatRow.commitment_unix_ms,
        )
        .join(SeatRow, same_seat)
        .where(
            EntryRow.outcome == "accepted",
            EntryRow.round > number - count,
            EntryRow.round <= number,
            SeatRow.commitment_unix_ms.is_not(None),
        )
        .order_by(EntryRow.round, EntryRow.miner)
    )
    return tuple(
        Run(
            round=RoundNumber(seen),
            miner=Hotkey(miner),
            cell_key=cell_key,
            start_ms=end_ms - duration_us // _US_PER_MS,
            end_ms=end_ms,
            log_nano=log,
        )
        for seen, miner, cell_key, log, duration_us, end_ms in session.execute(wanted)
        if cell_key and log is not None and duration_us is not None and end_ms is not None
    )


def proof_failures(session: Session, number: RoundNumber) -> dict[Hotkey, list[RoundNumber]]:
    """Rounds before `number` in which miners failed the token proof, as far as they count."""
    wanted = (
        select(EntryRow.miner, EntryRow.round)
        .where(
            EntryRow.code == str(RejectionCode.TOKEN_PROOF_FAILED),
            EntryRow.round >= number - 2 * EXCLUSION_ROUNDS,
            EntryRow.round < number,
        )
        .order_by(EntryRow.round)
    )
    failures: defaultdict[Hotkey, list[RoundNumber]] = defaultdict(list)
    for miner, failed in session.execute(wanted):
        failures[Hotkey(miner)].append(RoundNumber(failed))
    return dict(failures)


def excluded(session: Session, number: RoundNumber) -> frozenset[str]:
    """Hotkeys and coldkeys that fraud or three failed token proofs exclude from a round."""
    failed = str(RejectionCode.TOKEN_PROOF_FAILED)
    codes = [*(str(code) for code in FRAUD_CODES), failed]
    wanted = (
        select(EntryRow.data, EntryRow.miner)
        .where(
            EntryRow.code.in_(codes),
            EntryRow.round >= number - EXCLUSION_ROUNDS,
            EntryRow.round < number,
        )
        .order_by(EntryRow.round)
    )
    failures = proof_failures(session, number)
    keys: set[str] = set()
    for data, miner in session.execute(wanted):
        verdict = Signed[Verdict].model_validate_json(data).payload
        until = excluded_until(verdict, failures.get(Hotkey(miner), ()))
        if until is not None and until >= number:
            keys |= {verdict.miner, verdict.operator}
    return frozenset(keys)


def recent_codes(
    session: Session, number: RoundNumber, count: int
) -> dict[Hotkey, tuple[str, ...]]:
    """Codes ("" for accepted) of each miner's verdicts in the last rounds, newest last."""
    wanted = (
        select(EntryRow.miner, EntryRow.code)
        .where(EntryRow.round >= number - count, EntryRow.round < number, EntryRow.miner != RECORD)
        .order_by(EntryRow.round)
    )
    codes: defaultdict[Hotkey, tuple[str, ...]] = defaultdict(tuple)
    for miner, code in session.execute(wanted):
        codes[Hotkey(miner)] += (code or "",)
    return dict(codes)
