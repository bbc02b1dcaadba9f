"""The validator's memory on SQLAlchemy: adapter of `validator.ports.Ledger`.

Each method is one transaction. Signed envelopes are kept as their canonical bytes, so that
what was verified once is served and logged byte for byte. The log itself (`validator.log`) is
the `entries` that have a position.
"""

import json
from collections.abc import Sequence

from sqlalchemy import Engine, func, select, update

from protocol.canonical import canonical_bytes, message_digest
from protocol.errors import Rejection, StoreError
from protocol.ids import (
    BlockHash,
    BlockNumber,
    Digest,
    GenesisHash,
    Hotkey,
    Netuid,
    RoundNumber,
    Uid,
)
from protocol.messages import (
    Commitment,
    MinerScore,
    Profile,
    Report,
    RoundRecord,
    TreeHead,
    Verdict,
)
from protocol.signing import Signed
from validator.attempts import attempt_counts, attempt_row, attempts, last_attempt
from validator.log import TransparencyLog
from validator.ports import Conclusion
from validator.recall import Recall
from validator.records import Facts, Opening, RoundState, Seat, WeightAttempt
from validator.rows import RECORD, record_row, score_rows, seat_of, seat_row, state_of, verdict_row
from validator.tables import (
    AnnouncementRow,
    EntryRow,
    HeadRow,
    IdentityRow,
    ReportRow,
    RoundRow,
    SeatRow,
)


class Store(Recall):
    """One validator's database.

    Args:
        engine: Opened and migrated (`validator.database`).
        log: The log over the same database.
    """

    def __init__(self, engine: Engine, log: TransparencyLog) -> None:
        super().__init__(engine)
        self._log = log

    def claim(self, hotkey: Hotkey, genesis_hash: GenesisHash, netuid: Netuid) -> None:
        """Bind the database to one validator on one subnet.

        Raises:
            StoreError: If it is another's.
        """
        with self._transaction() as session:
            row = session.get(IdentityRow, 1)
            if row is None:
                session.add(
                    IdentityRow(id=1, hotkey=hotkey, genesis_hash=genesis_hash, netuid=netuid)
                )
            elif (row.hotkey, row.genesis_hash, row.netuid) != (hotkey, genesis_hash, netuid):
                raise StoreError(
                    f"this database belongs to {row.hotkey} on subnet {row.netuid} of chain "
                    f"{row.genesis_hash[:10]}...",
                    hint="Use another data directory or DATABASE_URL for this key and chain.",
                )

    def state(self, number: RoundNumber) -> RoundState | None:
        """How far a round has got; None if it was never opened."""
        with self._transaction() as session:
            row = session.get(RoundRow, number)
            return None if row is None else state_of(row)

    def open_round(self, opening: Opening, seats: Sequence[Seat]) -> None:
        """Remember a round and who is in it; does nothing if it is known."""
        with self._transaction() as session:
            if session.get(RoundRow, opening.round) is not None:
                return
            session.add(
                RoundRow(
                    number=opening.round,
                    start_block=opening.start_block,
                    block_hash=opening.block_hash,
                    opened_unix_ms=opening.opened_unix_ms,
                )
            )
            session.add_all(seat_row(seat) for seat in seats)

    def add_seats(self, seats: Sequence[Seat]) -> None:
        """Let more miners into a round that has been opened."""
        with self._transaction() as session:
            session.add_all(seat_row(seat) for seat in seats)

    def seats(self, number: RoundNumber) -> tuple[Seat, ...]:
        """The round's miners, by hotkey."""
        wanted = select(SeatRow).where(SeatRow.round == number).order_by(SeatRow.hotkey)
        with self._transaction() as session:
            return tuple(seat_of(row) for row in session.scalars(wanted))

    def keep_announcement(
        self, number: RoundNumber, hotkey: Hotkey, profile: Signed[Profile]
    ) -> None:
        """Remember a profile that was served before the round began."""
        row = AnnouncementRow(round=number, hotkey=hotkey, profile=canonical_bytes(profile))
        with self._transaction() as session:
            session.merge(row)

    def announcements(self, number: RoundNumber) -> dict[Hotkey, Signed[Profile]]:
        """Profiles that were served before the round began."""
        wanted = select(AnnouncementRow).where(AnnouncementRow.round == number)
        with self._transaction() as session:
            return {
                Hotkey(row.hotkey): Signed[Profile].model_validate_json(row.profile)
                for row in session.scalars(wanted)
            }

    def keep_profile(self, number: RoundNumber, hotkey: Hotkey, profile: Signed[Profile]) -> None:
        """Remember the profile that holds for the round."""
        self._update_seat(number, hotkey, profile=canonical_bytes(profile))

    def keep_commitment(
        self,
        number: RoundNumber,
        commitment: Signed[Commitment],
        *,
        block: BlockNumber,
        unix_ms: int,
    ) -> None:
        """Remember a commitment, and when it was seen."""
        self._update_seat(
            number,
            Hotkey(commitment.payload.hotkey),
            commitment=canonical_bytes(commitment),
            commitment_block=block,
            commitment_unix_ms=unix_ms,
            failure_code=None,
            failure_detail=None,
        )

    def keep_failure(
        self, number: RoundNumber, hotkey: Hotkey, failure: Rejection, *, asked: BlockNumber
    ) -> None:
        """Remember why a miner's last answer was none."""
        self._update_seat(
            number,
            hotkey,
            failure_code=str(failure.code),
            failure_detail=failure.detail,
            asked_block=asked,
        )

    def keep_report(self, number: RoundNumber, report: Signed[Report]) -> None:
        """Remember a revealed report."""
        digest, hotkey = message_digest(report.payload), Hotkey(report.payload.hotkey)
        with self._transaction() as session:
            if session.get(ReportRow, digest) is None:
                data = canonical_bytes(report)
                session.add(ReportRow(digest=digest, round=number, miner=hotkey, data=data))
            seat = session.get_one(SeatRow, (number, hotkey))
            seat.report_digest = digest

    def report(self, digest: Digest) -> Signed[Report] | None:
        """A revealed report by the digest of its payload."""
        data = self.report_data(digest)
        return None if data is None else Signed[Report].model_validate_json(data)

    def report_data(self, digest: Digest) -> bytes | None:
        """The same, as canonical bytes of the signed envelope."""
        with self._transaction() as session:
            return session.scalar(select(ReportRow.data).where(ReportRow.digest == digest))

    def keep_beacon(self, number: RoundNumber, beacon: BlockHash) -> None:
        """Remember the hash that picks the round's samples."""
        with self._transaction() as session:
            session.get_one(RoundRow, number).beacon_hash = beacon

    def keep_verdict(self, facts: Facts) -> None:
        """Remember a signed verdict; a second one on the same miner and round is refused."""
        with self._transaction() as session:
            session.add(verdict_row(facts))

    def verdicts(self, number: RoundNumber) -> tuple[Signed[Verdict], ...]:
        """The round's verdicts, by hotkey."""
        wanted = (
            select(EntryRow.data)
            .where(EntryRow.round == number, EntryRow.miner != RECORD)
            .order_by(EntryRow.miner)
        )
        with self._transaction() as session:
            return tuple(
                Signed[Verdict].model_validate_json(data) for data in session.scalars(wanted)
            )

    def has_open_before(self, number: RoundNumber) -> bool:
        """Whether an earlier round is not concluded yet."""
        wanted = select(func.count()).where(
            RoundRow.number < number, RoundRow.scored_block.is_(None)
        )
        with self._transaction() as session:
            return session.scalars(wanted).one() > 0

    def unsettled(self) -> tuple[RoundNumber, ...]:
        """Rounds that are not concluded, and the last one if its weights are not set."""
        wanted = select(RoundRow.number, RoundRow.scored_block, RoundRow.weights_block).order_by(
            RoundRow.number
        )
        with self._transaction() as session:
            rows = [(number, scored, set_at) for number, scored, set_at in session.execute(wanted)]
        last = max((number for number, scored, _ in rows if scored is not None), default=None)
        return tuple(
            RoundNumber(number)
            for number, scored, set_at in rows
            if scored is None or (number == last and set_at is None)
        )

    def grown(self, entries: Sequence[bytes]) -> tuple[int, Digest]:
        """Size and root that the log would have with these entries appended."""
        return self._log.grown(entries)

    def conclude(self, conclusion: Conclusion) -> None:
        """Append the round's verdicts and record to the log, under the new head, at once."""
        record, head = conclusion.record.payload, conclusion.head.payload
        pending = select(EntryRow).where(EntryRow.round == record.round).order_by(EntryRow.miner)
        with self._transaction() as session:
            rows = [*session.scalars(pending), record_row(conclusion.record)]
            if self._log.size + len(rows) != head.size:
                raise StoreError(f"round {record.round} does not fit a log of {head.size}")
            for position, row in enumerate(rows, start=self._log.size):
                row.position = position
            session.add(rows[-1])
            session.add_all(score_rows(record))
            session.add(
                HeadRow(
                    size=head.size,
                    round=head.round,
                    data=canonical_bytes(conclusion.head),
                    committed=False,
                )
            )
            session.get_one(RoundRow, record.round).scored_block = record.scored_block
            hashes = [row.leaf_hash for row in rows]
        self._log.extend(hashes)

    def has_scored_after(self, number: RoundNumber) -> bool:
        """Whether a later round is concluded."""
        wanted = select(func.count()).where(
            RoundRow.number > number, RoundRow.scored_block.is_not(None)
        )
        with self._transaction() as session:
            return session.scalars(wanted).one() > 0

    def record(self, number: RoundNumber) -> Signed[RoundRecord] | None:
        """The record of a concluded round."""
        wanted = select(EntryRow.data).where(EntryRow.round == number, EntryRow.miner == RECORD)
        with self._transaction() as session:
            data = session.scalar(wanted)
        return None if data is None else Signed[RoundRecord].model_validate_json(data)

    def scores(self, number: RoundNumber) -> tuple[MinerScore, ...]:
        """Scores of a concluded round."""
        record = self.record(number)
        return record.payload.scores if record else ()

    def mark_weights(
        self, number: RoundNumber, *, block: BlockNumber, vector: dict[Uid, int]
    ) -> None:
        """Remember that the round's weights are on chain."""
        with self._transaction() as session:
            row = session.get_one(RoundRow, number)
            row.weights_block = block
            row.weights_json = json.dumps(vector)

    def keep_attempt(self, attempt: WeightAttempt) -> None:
        """Remember an attempt to set weights."""
        with self._transaction() as session:
            session.add(attempt_row(attempt))

    def last_attempt(self) -> WeightAttempt | None:
        """The newest attempt to set weights."""
        with self._transaction() as session:
            return last_attempt(session)

    def attempts(self, number: RoundNumber) -> tuple[WeightAttempt, ...]:
        """All attempts to set a round's weights, oldest first."""
        with self._transaction() as session:
            return attempts(session, number)

    def attempt_counts(self) -> dict[str, int]:
        """How many attempts to set weights ended in each way."""
        with self._transaction() as session:
            return attempt_counts(session)

    def head_to_commit(self, number: RoundNumber) -> TreeHead | None:
        """The round's tree head, unless its root is on chain already."""
        wanted = select(HeadRow.data).where(HeadRow.round == number, HeadRow.committed.is_(False))
        with self._transaction() as session:
            data = session.scalar(wanted)
        return None if data is None else Signed[TreeHead].model_validate_json(data).payload

    def mark_committed(self, size: int) -> None:
        """Remember that the head of this size is on chain."""
        with self._transaction() as session:
            session.get_one(HeadRow, size).committed = True

    def last_scored(self) -> RoundNumber | None:
        """The newest concluded round."""
        wanted = select(func.max(RoundRow.number)).where(RoundRow.scored_block.is_not(None))
        with self._transaction() as session:
            number = session.scalar(wanted)
        return None if number is None else RoundNumber(number)

    def last_weights_block(self) -> BlockNumber | None:
        """Block at which weights were last on chain."""
        with self._transaction() as session:
            block = session.scalar(select(func.max(RoundRow.weights_block)))
        return None if block is None else BlockNumber(block)

    @property
    def log_size(self) -> int:
        """Entries in the log."""
        return self._log.size

    def progress(self, number: RoundNumber) -> dict[str, int]:
        """Counts of a round: miners, commitments, revealed reports, verdicts."""
        seats = select(
            func.count(), func.count(SeatRow.commitment), func.count(SeatRow.report_digest)
        ).where(SeatRow.round == number)
        verdicts = select(func.count()).where(EntryRow.round == number, EntryRow.miner != RECORD)
        with self._transaction() as session:
            miners, committed, revealed = session.execute(seats).one()
            return {
                "miners": miners,
                "committed": committed,
                "revealed": revealed,
                "verdicts": session.scalars(verdicts).one(),
            }

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _update_seat(self, number: RoundNumber, hotkey: Hotkey, **columns: object) -> None:
        seat = update(SeatRow).where(SeatRow.round == number, SeatRow.hotkey == hotkey)
        with self._transaction() as session:
            session.execute(seat.values(**columns))
