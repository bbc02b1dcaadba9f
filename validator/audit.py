"""A validator's log, recomputed from its entries alone: no account, wallet, model or GPU.

Pure. Takes the entries as they were logged and the signed tree head, and says which entry does
not hold: a signature, the order, a digest, a verdict's arithmetic, a cell value, a score, a
weight. What cannot be seen from the log is taken from it and said so: which miners share an
operator beyond their coldkey (addresses are not published), and which UIDs were registered.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from protocol.canonical import Json, canonical_json, message_digest, parse
from protocol.constants import LOG_ENTRY_MAX_BYTES
from protocol.errors import ProtocolError, RejectionCode
from protocol.ids import Coldkey, Digest, Hotkey, RoundNumber, Uid
from protocol.merkle import MerkleTree
from protocol.messages import MinerScore, RoundRecord, TreeHead, Verdict
from protocol.signing import Signed, verify
from protocol.units import uwh_per_1k
from validator.cohorts import Observation
from validator.scoring import (
    RECENT_ROUNDS,
    Scorecard,
    excluded_until,
    observation,
    score_round,
)
from validator.weights import shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something in the log that does not hold."""

    position: int | None
    """The entry's place in the log, from 0; None for the tree head."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit came to."""

    validator: str
    entry_count: int
    round_count: int
    verdict_count: int
    faults: tuple[Fault, ...]


@dataclass(slots=True)
class _Book:
    """What the rounds before say about the next one."""

    history: list[Observation] = field(default_factory=list)
    averages_ppm: dict[Hotkey, int] = field(default_factory=dict)
    codes: defaultdict[int, dict[Hotkey, str]] = field(default_factory=lambda: defaultdict(dict))
    excluded_until: dict[str, int] = field(default_factory=dict)
    proof_failures: defaultdict[Hotkey, list[RoundNumber]] = field(
        default_factory=lambda: defaultdict(list)
    )
    last_round: int = -1
    is_whole: bool = True
    """Whether every entry so far could be read: else later rounds cannot be recomputed."""


def audit(entries: Sequence[Json], head: Json, *, validator: Hotkey | None = None) -> AuditReport:
    """Recompute a log.

    Args:
        entries: The signed entries from the first on, as plain JSON.
        head: The signed tree head.
        validator: Who must have signed; the head's own word by default.
    """
    auditor = _Auditor(validator)
    auditor.check_head(head, entries)
    auditor.check_entries(entries)
    return auditor.report(len(entries))


class _Auditor:
    def __init__(self, validator: Hotkey | None) -> None:
        self._validator = validator
        self._faults: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._book = _Book()

    def report(self, entry_count: int) -> AuditReport:
        return AuditReport(
            validator=self._validator or "unknown",
            entry_count=entry_count,
            round_count=self._counts["rounds"],
            verdict_count=self._counts["verdicts"],
            faults=tuple(self._faults),
        )

    def check_head(self, head: Json, entries: Sequence[Json]) -> None:
        """Signature, size and root of the tree head."""
        try:
            signed = parse(Signed[TreeHead], _bytes(head), max_bytes=LOG_ENTRY_MAX_BYTES)
            self._validator = self._validator or Hotkey(signed.payload.validator)
            stated = verify(signed, hotkey=self._validator)
            root = MerkleTree.of([canonical_json(entry) for entry in entries]).root().hex()
        except ProtocolError as error:
            self._fault(None, f"the tree head or an entry is unreadable: {error}")
            return
        if stated.size != len(entries):
            self._fault(None, f"the head covers {stated.size} entries, there are {len(entries)}")
        elif stated.root != root:
            self._fault(None, f"the entries have root {root}, the head says {stated.root}")

    def check_entries(self, entries: Sequence[Json]) -> None:
        """Every entry alone, then each round as a whole."""
        verdicts: list[tuple[int, Verdict]] = []
        for position, entry in enumerate(entries):
            message = self._read(position, entry)
            if message is None:
                self._book.is_whole = False
                verdicts = verdicts if _kind(entry) == "verdict" else []
            elif isinstance(message, Verdict):
                verdicts = self._admit(position, message, verdicts)
            else:
                self._counts["rounds"] += 1
                self._check_round(position, message, verdicts)
                verdicts = []
        if verdicts and self._book.is_whole:
            self._fault(len(entries), f"the record of round {verdicts[0][1].round} is missing")

    def _admit(
        self, position: int, verdict: Verdict, before: list[tuple[int, Verdict]]
    ) -> list[tuple[int, Verdict]]:
        """The open round's verdicts with one more; a new round begins only after a record."""
        self._counts["verdicts"] += 1
        book = self._book
        if verdict.round <= book.last_round:
            self._fault(position, f"a verdict of round {verdict.round} stands after its record")
            book.is_whole = False
            return before
        if before and verdict.round > before[0][1].round:
            if book.is_whole:
                what = f"the record of round {before[0][1].round} is missing here"
                self._fault(position, what)
            book.is_whole, before = False, []
        return [*before, (position, verdict)]

    def _read(self, position: int, entry: Json) -> Verdict | RoundRecord | None:
        kind = _kind(entry)
        try:
            if kind == "verdict":
                verdict = parse(Signed[Verdict], _bytes(entry), max_bytes=LOG_ENTRY_MAX_BYTES)
                return verify(verdict, hotkey=self._validator or "")
            record = parse(Signed[RoundRecord], _bytes(entry), max_bytes=LOG_ENTRY_MAX_BYTES)
            return verify(record, hotkey=self._validator or "")
        except ProtocolError as error:
            self._fault(position, f"{kind}: {error}")
            return None

    def _check_round(
        self, position: int, record: RoundRecord, found: Sequence[tuple[int, Verdict]]
    ) -> None:
        book = self._book
        if record.round <= book.last_round:
            self._fault(position, f"round {record.round} follows round {book.last_round}")
        was_whole = book.is_whole
        verdicts = self._in_sequence(position, record, found)
        for place, verdict in found:
            for what in _verdict_faults(verdict, record):
                self._fault(place, what)
            for what in _exclusion_faults(verdict, book) if was_whole else ():
                self._fault(place, what)
        for what in _round_faults(record, verdicts, book) if book.is_whole else ():
            self._fault(position, what)
        _enter(book, record, verdicts)

    def _in_sequence(
        self, position: int, record: RoundRecord, found: Sequence[tuple[int, Verdict]]
    ) -> tuple[Verdict, ...]:
        """The verdicts that the record names, in its order; says which are not as it says."""
        due = {Digest(digest): place for place, digest in enumerate(record.verdict_digests)}
        known: dict[Digest, tuple[int, Verdict]] = {}
        for place, verdict in found:
            digest = message_digest(verdict)
            if digest not in due or digest in known:
                what = "stands here again" if digest in known else "is not named by its record"
                self._fault(place, f"a verdict of round {verdict.round} {what}")
            else:
                known[digest] = (place, verdict)
        in_order = sorted(known, key=lambda digest: due[digest])
        for digest, (place, _), right in zip(known, known.values(), in_order, strict=True):
            if digest != right:
                self._fault(place, f"out of order: verdict {right} belongs here")
        missing = next((digest for digest in due if digest not in known), None)
        if missing is not None and self._book.is_whole:
            later = [place for one, (place, _) in known.items() if due[one] > due[missing]]
            self._fault(min(later, default=position), f"verdict {missing} is missing here")
            self._book.is_whole = False
        return tuple(known[digest][1] for digest in in_order)

    def _fault(self, position: int | None, what: str) -> None:
        self._faults.append(Fault(position=position, what=what))


def _verdict_faults(verdict: Verdict, record: RoundRecord) -> Iterator[str]:
    """What a verdict alone contradicts itself in."""
    if verdict.round != record.round:
        yield f"the verdict is of round {verdict.round}, in the entries of round {record.round}"
    for finding in verdict.findings:
        low_ok = finding.low is None or finding.low <= finding.value
        high_ok = finding.high is None or finding.value <= finding.high
        if finding.passed != (low_ok and high_ok):
            yield f"finding {finding.code} says {finding.passed} against its own bounds"
    failed = any(finding.hard and not finding.passed for finding in verdict.findings)
    if verdict.outcome == "rejected":
        if verdict.rejection is None:
            yield "rejected without a reason"
        return
    if failed or verdict.rejection is not None or (verdict.proof and not verdict.proof.passed):
        yield "accepted against a failed hard finding"
    yield from _figure_faults(verdict)


def _figure_faults(verdict: Verdict) -> Iterator[str]:
    energy_mj, tokens = verdict.energy_mj, verdict.output_tokens
    if energy_mj is None or not tokens or verdict.cell is None or verdict.status is None:
        yield "accepted without figures"
        return
    expected = uwh_per_1k(energy_mj, tokens)
    if verdict.energy_per_1k_output_tokens_uwh != expected:
        stated = verdict.energy_per_1k_output_tokens_uwh
        yield f"energy per 1,000 output tokens is {expected} micro-Wh, the verdict says {stated}"


def _exclusion_faults(verdict: Verdict, book: _Book) -> Iterator[str]:
    until = max(
        book.excluded_until.get(verdict.miner, -1), book.excluded_until.get(verdict.operator, -1)
    )
    code = verdict.rejection.code if verdict.rejection else ""
    if (verdict.round <= until) != (code == RejectionCode.EXCLUDED):
        yield f"exclusion does not follow from the log: {code or 'accepted'}, excluded to {until}"


def _round_faults(record: RoundRecord, verdicts: Sequence[Verdict], book: _Book) -> Iterator[str]:
    """Where a round's record does not follow from its verdicts and the rounds before."""
    miners = [verdict.miner for verdict in verdicts]
    if miners != sorted(set(miners)):
        yield "the verdicts are not one per miner in hotkey order"
        return
    operators = {Hotkey(score.miner): Coldkey(score.operator) for score in record.scores}
    if not set(miners) <= operators.keys():
        yield "a miner with a verdict has no score"
        return
    yield from _operator_faults(verdicts, operators)
    expected = score_round(_card(record, verdicts, operators, book))
    for name, values in (("cells", expected.cells), ("scores", expected.scores)):
        stated = getattr(record, name)
        if stated != values:
            yield f"{name} differ: {_first_difference(stated, values)}"
    yield from _weight_faults(record)


def _operator_faults(
    verdicts: Sequence[Verdict], operators: Mapping[Hotkey, Coldkey]
) -> Iterator[str]:
    """Miners of one coldkey are one operator at least."""
    by_coldkey: dict[str, Coldkey] = {}
    for verdict in verdicts:
        operator = operators[Hotkey(verdict.miner)]
        if by_coldkey.setdefault(verdict.operator, operator) != operator:
            yield f"coldkey {verdict.operator} counts as two operators"


def _card(
    record: RoundRecord,
    verdicts: Sequence[Verdict],
    operators: Mapping[Hotkey, Coldkey],
    book: _Book,
) -> Scorecard:
    codes: defaultdict[Hotkey, list[str]] = defaultdict(list)
    for number in range(record.round - RECENT_ROUNDS + 1, record.round):
        for miner, code in book.codes[number].items():
            codes[miner].append(code)
    return Scorecard(
        round=RoundNumber(record.round),
        round_blocks=record.start_block // max(record.round, 1) or 1,
        verdicts=tuple(verdicts),
        operators=operators,
        history=book.history,
        averages_ppm=book.averages_ppm,
        recent_codes=codes,
        proof_failures=book.proof_failures,
    )


def _weight_faults(record: RoundRecord) -> Iterator[str]:
    averages = {score.miner: score.average_score_ppm for score in record.scores}
    earned = {
        Uid(entry.uid): averages.get(entry.hotkey, 0)
        for entry in record.weights
        if entry.uid != record.burn_uid
    }
    burn_uid = None if record.burn_uid is None else Uid(record.burn_uid)
    expected = shares(earned, burn_uid=burn_uid)
    for entry in record.weights:
        due = expected.get(Uid(entry.uid), 0)
        if entry.weight_u16 != due:
            yield f"weights differ: UID {entry.uid} is due {due}, stated is {entry.weight_u16}"
            return
    if len(expected) != len(record.weights):
        yield "weights differ: the record leaves somebody out"


def _enter(book: _Book, record: RoundRecord, verdicts: Sequence[Verdict]) -> None:
    """Remember a round for the next ones, as its record states it."""
    operators = {score.miner: Coldkey(score.operator) for score in record.scores}
    for verdict in verdicts:
        code = verdict.rejection.code if verdict.rejection else ""
        book.codes[verdict.round][Hotkey(verdict.miner)] = code
        if verdict.energy_per_1k_output_tokens_uwh and verdict.cell and not code:
            operator = operators.get(verdict.miner, Coldkey(verdict.operator))
            book.history.append(observation(verdict, operator))
        failures = book.proof_failures[Hotkey(verdict.miner)]
        until = excluded_until(verdict, failures)
        if code == RejectionCode.TOKEN_PROOF_FAILED:
            failures.append(RoundNumber(verdict.round))
        if until is not None:
            book.excluded_until |= {verdict.miner: until, verdict.operator: until}
    book.averages_ppm = {Hotkey(score.miner): score.average_score_ppm for score in record.scores}
    book.last_round = record.round


def _first_difference(stated: Sequence[object], expected: Sequence[object]) -> str:
    for place, (have, want) in enumerate(zip(stated, expected, strict=False)):
        if have != want:
            name = have.miner if isinstance(have, MinerScore) else f"number {place}"
            return f"{name}: {_changed_fields(have, want)}"
    return f"{len(stated)} are stated, {len(expected)} follow from the verdicts"


def _changed_fields(have: object, want: object) -> str:
    fields = getattr(type(have), "model_fields", {})
    changed = [name for name in fields if getattr(have, name) != getattr(want, name)]
    return ", ".join(
        f"{name} is {getattr(have, name)}, {getattr(want, name)} follows" for name in changed
    )


def _kind(entry: Json) -> str:
    payload = entry.get("payload") if isinstance(entry, dict) else None
    if not isinstance(payload, dict):
        return "verdict"
    return "round" if "verdict_digests" in payload or payload.get("kind") == "round" else "verdict"


def _bytes(value: Json) -> bytes:
    return json.dumps(value).encode()
