"""Between the validator's records and the rows of its tables. No queries here."""

import struct
from collections.abc import Sequence

from protocol.canonical import canonical_bytes, message_digest
from protocol.chain import Axon
from protocol.errors import Rejection, RejectionCode
from protocol.ids import BlockHash, BlockNumber, Coldkey, Digest, Hotkey, RoundNumber, Uid
from protocol.merkle import leaf_hash
from protocol.messages import Commitment, Profile, RoundRecord
from protocol.signing import Signed
from validator.cohorts import log_nano
from validator.records import Facts, Opening, RoundState, Seat
from validator.tables import EntryRow, RoundRow, ScoreRow, SeatRow

_INT32_MAX = 2**31 - 1
RECORD = ""
"""Stands in place of a miner in the key of a round record."""


def state_of(row: RoundRow) -> RoundState:
    """A round as far as it has got."""
    opening = Opening(
        round=RoundNumber(row.number),
        start_block=BlockNumber(row.start_block),
        block_hash=BlockHash(row.block_hash),
        opened_unix_ms=row.opened_unix_ms,
    )
    return RoundState(
        opening=opening,
        beacon_hash=BlockHash(row.beacon_hash) if row.beacon_hash else None,
        scored_block=_block(row.scored_block),
        weights_block=_block(row.weights_block),
    )


def seat_row(seat: Seat) -> SeatRow:
    """A seat that has just been taken."""
    return SeatRow(
        round=seat.round,
        hotkey=seat.hotkey,
        coldkey=seat.coldkey,
        uid=seat.uid,
        ip=seat.axon.ip,
        port=seat.axon.port,
        failure_code=str(seat.failure.code) if seat.failure else None,
        failure_detail=seat.failure.detail if seat.failure else None,
        asked_block=seat.asked_block,
        profile=canonical_bytes(seat.profile) if seat.profile else None,
    )


def seat_of(row: SeatRow) -> Seat:
    """A seat as it stands."""
    failure = None
    if row.failure_code is not None:
        code = RejectionCode(row.failure_code)
        failure = Rejection(code=code, detail=row.failure_detail or "")
    return Seat(
        round=RoundNumber(row.round),
        hotkey=Hotkey(row.hotkey),
        coldkey=Coldkey(row.coldkey),
        uid=Uid(row.uid),
        axon=Axon(ip=row.ip, port=row.port),
        profile=Signed[Profile].model_validate_json(row.profile) if row.profile else None,
        commitment=(
            Signed[Commitment].model_validate_json(row.commitment) if row.commitment else None
        ),
        commitment_block=_block(row.commitment_block),
        commitment_unix_ms=row.commitment_unix_ms,
        report_digest=Digest(row.report_digest) if row.report_digest else None,
        failure=failure,
        asked_block=_block(row.asked_block),
    )


def verdict_row(facts: Facts) -> EntryRow:
    """A verdict that waits for its place in the log."""
    verdict, data = facts.verdict.payload, canonical_bytes(facts.verdict)
    figure = verdict.energy_per_1k_output_tokens_uwh
    return EntryRow(
        round=verdict.round,
        miner=verdict.miner,
        position=None,
        digest=message_digest(verdict),
        leaf_hash=leaf_hash(data),
        data=data,
        outcome=verdict.outcome,
        code=verdict.rejection.code if verdict.rejection else None,
        coldkey=verdict.operator,
        cell_key=verdict.cell.key if verdict.cell else None,
        log_nano=log_nano(figure) if figure else None,
        energy_mj=verdict.energy_mj,
        duration_us=verdict.duration_us,
        trace_digest=facts.trace_digest,
        trace_shape=pack_shape(facts.trace_shape),
    )


def pack_shape(shape: Sequence[int]) -> bytes | None:
    """A trace's shape as bytes; None for none, or for one that no device has."""
    if not shape or max(map(abs, shape)) > _INT32_MAX:
        return None
    return struct.pack(f"<{len(shape)}i", *shape)


def shape_of(data: bytes) -> tuple[int, ...]:
    """The shape that bytes stand for."""
    return struct.unpack(f"<{len(data) // 4}i", data)


def record_row(record: Signed[RoundRecord]) -> EntryRow:
    """A round record, about to be logged."""
    data = canonical_bytes(record)
    return EntryRow(
        round=record.payload.round,
        miner=RECORD,
        position=None,
        digest=message_digest(record.payload),
        leaf_hash=leaf_hash(data),
        data=data,
    )


def score_rows(record: RoundRecord) -> list[ScoreRow]:
    """What later rounds need to know of a record's scores."""
    return [
        ScoreRow(
            round=record.round,
            miner=score.miner,
            operator=score.operator,
            average_ppm=score.average_score_ppm,
        )
        for score in record.scores
    ]


def _block(number: int | None) -> BlockNumber | None:
    return None if number is None else BlockNumber(number)
