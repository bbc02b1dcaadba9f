"""What the network did, from the verified logs: validators, rounds, miners."""

from datetime import datetime

from api.network import SignedRecord
from api.release import Release
from api.schemas import Answer, Meta, SourceState
from protocol.units import ratio

NEWEST_ROUNDS = 100


class RoundSummary(Answer):
    """A round as one validator recorded it."""

    round: int
    validator: str
    signed_at: datetime
    digest: str
    """Of the record's canonical bytes; find it in the validator's log."""
    start_block: int
    block_hash: str
    verdict_count: int
    valid_count: int
    cell_count: int
    cells: list[str]
    contested: list[str]


class MinerSummary(Answer):
    """A miner in a validator's newest round."""

    miner: str
    operator: str
    validator: str
    round: int
    is_valid: bool
    average_score: float
    """Moving average; 1 is a miner that earns its whole share."""
    consistency: float
    distance: float | None
    """From the other operators' median, in standard deviations."""
    uid: int | None
    weight_u16: int | None


class Validators(Answer):
    """Validators whose logs are followed."""

    validators: list[SourceState]
    meta: Meta


class Rounds(Answer):
    """The newest rounds first."""

    rounds: list[RoundSummary]
    meta: Meta


class Miners(Answer):
    """Miners of each validator's newest round."""

    miners: list[MinerSummary]
    meta: Meta


def validators_answer(release: Release) -> bytes:
    """Validators whose logs are followed, with their state."""
    followed = [source for source in release.sources if source.kind == "log"]
    return _json(Validators(validators=followed, meta=release.meta()))


def rounds_answer(release: Release) -> bytes:
    """The newest rounds of all validators."""
    newest = sorted(release.records, key=lambda r: (r.record.round, r.validator), reverse=True)
    rounds = [_round(source) for source in newest[:NEWEST_ROUNDS]]
    return _json(Rounds(rounds=rounds, meta=release.meta()))


def miners_answer(release: Release) -> bytes:
    """Miners of each validator's newest round, best first."""
    newest: dict[str, SignedRecord] = {}
    for source in release.records:
        held = newest.get(source.validator)
        if held is None or held.record.round <= source.record.round:
            newest[source.validator] = source
    miners = [miner for source in newest.values() for miner in _miners(source)]
    miners.sort(key=lambda miner: (-miner.average_score, miner.miner, miner.validator))
    return _json(Miners(miners=miners, meta=release.meta()))


def _round(source: SignedRecord) -> RoundSummary:
    record = source.record
    return RoundSummary(
        round=record.round,
        validator=record.validator,
        signed_at=source.signed_at,
        digest=source.digest,
        start_block=record.start_block,
        block_hash=record.block_hash,
        verdict_count=len(record.verdict_digests),
        valid_count=sum(score.valid for score in record.scores),
        cell_count=len(record.cells),
        cells=[value.cell.key for value in record.cells],
        contested=[value.cell.key for value in record.cells if value.label == "contested"],
    )


def _miners(source: SignedRecord) -> list[MinerSummary]:
    weights = {weight.hotkey: weight for weight in source.record.weights}
    found = []
    for score in source.record.scores:
        weight = weights.get(score.miner)
        found.append(
            MinerSummary(
                miner=score.miner,
                operator=score.operator,
                validator=source.validator,
                round=source.record.round,
                is_valid=score.valid,
                average_score=ratio(score.average_score_ppm),
                consistency=ratio(score.consistency_ppm),
                distance=None if score.z_milli is None else score.z_milli / _MILLI,
                uid=weight.uid if weight else None,
                weight_u16=weight.weight_u16 if weight else None,
            )
        )
    return found


_MILLI = 10**3


def _json(answer: Answer) -> bytes:
    return answer.model_dump_json().encode()
