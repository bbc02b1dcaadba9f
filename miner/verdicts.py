"""What validators made of this miner's reports, from their signed log entries. Pure.

A validator's log holds, per round, its verdicts and one record with the scores and weights that
came of them. Every entry is taken only under its validator's signature.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from miner.advice import advice_on
from protocol.canonical import Json, canonical_json, parse
from protocol.constants import LOG_ENTRY_MAX_BYTES
from protocol.errors import MalformedMessageError
from protocol.ids import Hotkey, RoundNumber
from protocol.messages import Finding, MinerScore, RoundRecord, Verdict
from protocol.signing import Signed, verify
from protocol.units import PPM_ONE, U16_MAX, ratio, wh_per_1k_from_uwh

_MILLI = 10**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One validator's view of one of our rounds."""

    validator: Hotkey
    round: RoundNumber
    accepted: bool
    code: str
    """Rejection code; empty when accepted."""
    finding: str
    """What was found, in words."""
    advice: str
    """What to do about it; empty when there is nothing to do."""
    energy_wh_per_1k_output_tokens: float | None
    """The figure that the report counts with; None when it does not."""
    score: float | None
    """This round's; None until the round is scored."""
    average_score: float | None
    weight_share: float | None
    """Share of the weights that the validator set after this round, 0 to 1."""


@dataclass(slots=True)
class OwnRounds:
    """What one validator's entries say about one miner, gathered entry by entry.

    Args:
        miner: Whose rounds.
        validator: Who must have signed; None takes the validator of the first entry.
    """

    miner: Hotkey
    validator: Hotkey | None = None
    verdicts: dict[RoundNumber, Verdict] = field(default_factory=dict)
    records: dict[RoundNumber, RoundRecord] = field(default_factory=dict)

    def take(self, entries: Iterable[Json]) -> None:
        """Take entries of the log, as its server gives them.

        Raises:
            ProtocolError: If one is malformed, or not signed by the validator.
        """
        for entry in entries:
            message = self._verified(entry)
            if isinstance(message, RoundRecord):
                self.records[RoundNumber(message.round)] = message
            elif message.miner == self.miner:
                self.verdicts[RoundNumber(message.round)] = message

    def judgements(self) -> tuple[Judgement, ...]:
        """One per verdict, newest round first."""
        newest_first = sorted(self.verdicts, reverse=True)
        return tuple(self._judgement(self.verdicts[number]) for number in newest_first)

    def _verified(self, entry: Json) -> Verdict | RoundRecord:
        payload = entry.get("payload") if isinstance(entry, dict) else None
        if not isinstance(payload, dict):
            raise MalformedMessageError("a log entry without payload")
        if self.validator is None:
            self.validator = Hotkey(str(payload.get("validator")))
        data = canonical_json(entry)
        if payload.get("kind") == "round":
            record = parse(Signed[RoundRecord], data, max_bytes=LOG_ENTRY_MAX_BYTES)
            return verify(record, hotkey=self.validator)
        verdict = parse(Signed[Verdict], data, max_bytes=LOG_ENTRY_MAX_BYTES)
        return verify(verdict, hotkey=self.validator)

    def _judgement(self, verdict: Verdict) -> Judgement:
        record = self.records.get(RoundNumber(verdict.round))
        score = _score(record, self.miner)
        code = verdict.rejection.code if verdict.rejection else ""
        uwh = verdict.energy_per_1k_output_tokens_uwh
        return Judgement(
            validator=Hotkey(verdict.validator),
            round=RoundNumber(verdict.round),
            accepted=verdict.outcome == "accepted",
            code=code,
            finding=in_words(verdict, score),
            advice=advice_on(code) if code else "",
            energy_wh_per_1k_output_tokens=None if uwh is None else wh_per_1k_from_uwh(uwh),
            score=ratio(score.report_score_ppm) if score else None,
            average_score=ratio(score.average_score_ppm) if score else None,
            weight_share=_share(record, self.miner),
        )


def in_words(verdict: Verdict, score: MinerScore | None) -> str:
    """What a verdict says, in words: the rejection, else what kept the score from being full."""
    if verdict.rejection is not None:
        return f"{verdict.rejection.code}: {verdict.rejection.detail}"
    notes = [_soft(finding) for finding in verdict.findings if not finding.passed]
    if score is not None and score.z_milli is not None and score.consistency_ppm < PPM_ONE:
        side = "below" if score.z_milli < 0 else "above"
        distance = abs(score.z_milli) / _MILLI
        notes.append(f"{distance:.1f} standard deviations {side} the other operators")
    return "; ".join(["accepted", *notes])


def _soft(finding: Finding) -> str:
    low, high = finding.low, finding.high
    if low is None and high is None:
        return f"{finding.code} is {finding.value}"
    if low is None:
        return f"{finding.code} is {finding.value}, at most {high} is usual"
    if high is None:
        return f"{finding.code} is {finding.value}, at least {low} is usual"
    return f"{finding.code} is {finding.value}, {low} to {high} is usual"


def _score(record: RoundRecord | None, miner: Hotkey) -> MinerScore | None:
    scores = record.scores if record else ()
    return next((score for score in scores if score.miner == miner), None)


def _share(record: RoundRecord | None, miner: Hotkey) -> float | None:
    if record is None:
        return None
    total = sum(entry.weight_u16 for entry in record.weights) or U16_MAX
    own = sum(entry.weight_u16 for entry in record.weights if entry.hotkey == miner)
    return own / total
