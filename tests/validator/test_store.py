"""The store on SQLite and on PostgreSQL: what is kept, what is refused, what survives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.canonical import canonical_bytes, message_digest
from protocol.chain import Axon
from protocol.errors import Rejection, RejectionCode, StoreError
from protocol.ids import (
    BlockHash,
    BlockNumber,
    Coldkey,
    Digest,
    GenesisHash,
    Hotkey,
    Netuid,
    RoundNumber,
    Uid,
)
from protocol.messages import RefusalRecord, Verdict
from protocol.signing import Signed, sign
from tests.support import factories
from tests.support.keys import ALICE, BOB, CHARLIE
from tests.support.validator import open_store
from validator.log import TransparencyLog
from validator.ports import Conclusion
from validator.records import Facts, Opening, Seat
from validator.store import Store

ROUND = RoundNumber(factories.ROUND)
Opened = tuple[Store, TransparencyLog]


@pytest.fixture
def opened(database: str | None, tmp_path: Path) -> Iterator[Opened]:
    store, log = open_store(database, tmp_path)
    yield store, log
    store.close()


def opening(number: int = ROUND) -> Opening:
    return Opening(
        round=RoundNumber(number),
        start_block=BlockNumber(number * 240),
        block_hash=BlockHash(factories.BLOCK_HASH),
        opened_unix_ms=1_700_000_000_000,
    )


def seat(hotkey: Hotkey = BOB.hotkey, number: int = ROUND) -> Seat:
    return Seat(
        round=RoundNumber(number),
        hotkey=hotkey,
        coldkey=Coldkey(factories.OPERATOR),
        uid=Uid(3),
        axon=Axon(ip="127.0.0.1", port=8091),
    )


def verdict(number: int = ROUND, *, miner: Hotkey = BOB.hotkey, code: str = "") -> Facts:
    update: dict[str, object] = {"round": number, "miner": miner}
    if code:
        refusal = RefusalRecord(code=code, detail="")
        update |= {"outcome": "rejected", "rejection": refusal, "cell": None}
        update |= {"energy_per_1k_output_tokens_uwh": None, "energy_mj": None}
    message: Verdict = factories.verdict().model_copy(update=update)
    return Facts(verdict=sign(message, ALICE), trace_digest=Digest("ab" * 32))


def conclude(store: Store, number: int = ROUND) -> Conclusion:
    """End a round with whatever verdicts it has."""
    verdicts = store.verdicts(RoundNumber(number))
    record = factories.round_record().model_copy(
        update={
            "round": number,
            "verdict_digests": tuple(message_digest(each.payload) for each in verdicts),
        }
    )
    signed = sign(record, ALICE)
    size, root = store.grown([*map(canonical_bytes, verdicts), canonical_bytes(signed)])
    update = {"size": size, "root": root, "round": number}
    head = sign(factories.tree_head().model_copy(update=update), ALICE)
    conclusion = Conclusion(record=signed, head=head)
    store.conclude(conclusion)
    return conclusion


def test_a_round_is_remembered_with_its_miners(opened: Opened) -> None:
    store, _ = opened

    store.open_round(opening(), [seat()])

    state = store.state(ROUND)
    assert state is not None
    assert state.opening == opening()
    assert (state.beacon_hash, state.scored_block, state.weights_block) == (None, None, None)
    assert store.seats(ROUND) == (seat(),)
    assert store.state(RoundNumber(99)) is None


def test_opening_a_round_again_changes_nothing(opened: Opened) -> None:
    store, _ = opened
    store.open_round(opening(), [seat()])

    store.open_round(opening(), [seat(), seat(CHARLIE.hotkey)])

    assert len(store.seats(ROUND)) == 1


def test_what_a_miner_sent_comes_back_as_it_was_signed(opened: Opened) -> None:
    store, _ = opened
    store.open_round(opening(), [seat()])
    profile, commitment = sign(factories.profile(), BOB), sign(factories.commitment(), BOB)
    report = sign(factories.report(), BOB)

    store.keep_failure(
        ROUND,
        BOB.hotkey,
        Rejection(code=RejectionCode.NO_COMMITMENT, detail="none"),
        asked=BlockNumber(1_690),
    )
    store.keep_profile(ROUND, BOB.hotkey, profile)
    store.keep_commitment(ROUND, commitment, block=BlockNumber(1_700), unix_ms=5)
    store.keep_report(ROUND, report)
    store.keep_report(ROUND, report)

    [kept] = store.seats(ROUND)
    assert (kept.profile, kept.commitment) == (profile, commitment)
    assert (kept.commitment_block, kept.commitment_unix_ms) == (1_700, 5)
    assert kept.failure is None
    assert kept.report_digest == message_digest(report.payload)
    assert store.report(message_digest(report.payload)) == report
    assert store.report(Digest("00" * 32)) is None


def test_a_failure_is_remembered_with_the_block_at_which_it_was_asked(opened: Opened) -> None:
    store, _ = opened
    store.open_round(opening(), [seat()])
    failure = Rejection(code=RejectionCode.UNREACHABLE, detail="no answer")

    store.keep_failure(ROUND, BOB.hotkey, failure, asked=BlockNumber(1_838))

    [kept] = store.seats(ROUND)
    assert (kept.failure, kept.asked_block) == (failure, 1_838)


def test_a_second_verdict_on_the_same_miner_and_round_is_refused(opened: Opened) -> None:
    store, _ = opened
    store.open_round(opening(), [seat()])
    store.keep_verdict(verdict())

    with pytest.raises(StoreError, match="refuses"):
        store.keep_verdict(verdict())

    assert len(store.verdicts(ROUND)) == 1


def test_a_conclusion_puts_verdicts_and_record_into_the_log_at_once(opened: Opened) -> None:
    store, log = opened
    store.open_round(opening(), [seat(), seat(CHARLIE.hotkey)])
    for hotkey in sorted((BOB.hotkey, CHARLIE.hotkey), reverse=True):
        store.keep_verdict(verdict(miner=hotkey))

    conclusion = conclude(store)

    entries = log.entries(0, 10)
    miners = [Signed[Verdict].model_validate_json(data).payload.miner for data in entries[:2]]
    assert miners == sorted(miners)
    assert entries[2] == canonical_bytes(conclusion.record)
    assert log.head() == canonical_bytes(conclusion.head)
    assert store.last_scored() == ROUND
    assert store.scores(ROUND) == conclusion.record.payload.scores


def test_a_conclusion_that_does_not_fit_the_log_leaves_no_trace(opened: Opened) -> None:
    store, log = opened
    store.open_round(opening(), [seat()])
    store.keep_verdict(verdict())
    head = factories.tree_head().model_copy(update={"size": 9})
    wrong = Conclusion(record=sign(factories.round_record(), ALICE), head=sign(head, ALICE))

    with pytest.raises(StoreError, match="does not fit"):
        store.conclude(wrong)

    assert log.size == 0
    assert store.last_scored() is None
    conclude(store)
    assert log.size == 2


def test_everything_survives_a_new_process(
    opened: Opened, database: str | None, tmp_path: Path
) -> None:
    store, log = opened
    store.open_round(opening(), [seat()])
    store.keep_beacon(ROUND, BlockHash(factories.BEACON_HASH))
    store.keep_verdict(verdict())
    conclude(store)
    store.mark_weights(ROUND, block=BlockNumber(1_900), vector={Uid(0): 65_535})
    root = store.grown([])

    again, log_again = open_store(database, tmp_path)

    assert log_again.size == log.size == 2
    assert again.grown([]) == root
    assert again.last_weights_block() == 1_900
    state = again.state(ROUND)
    assert state is not None
    assert (state.beacon_hash, state.weights_block) == (factories.BEACON_HASH, 1_900)
    assert again.unsettled() == ()
    again.close()


def test_unsettled_rounds_are_those_open_and_the_last_without_weights(opened: Opened) -> None:
    store, _ = opened
    for number in (5, 6, 7):
        store.open_round(opening(number), [])
    conclude(store, 5)
    conclude(store, 6)

    assert store.unsettled() == (6, 7)
    assert store.has_open_before(RoundNumber(8))
    assert not store.has_open_before(RoundNumber(7))
    assert store.has_scored_after(RoundNumber(5))


def test_the_head_waits_until_its_root_is_on_chain(opened: Opened) -> None:
    store, _ = opened
    store.open_round(opening(), [])
    head = conclude(store).head.payload

    assert store.head_to_commit(ROUND) == head
    store.mark_committed(head.size)
    assert store.head_to_commit(ROUND) is None


def test_history_holds_accepted_reports_of_the_window_with_their_operators(
    opened: Opened,
) -> None:
    store, _ = opened
    miner = Hotkey(factories.round_record().scores[0].miner)
    for number in (5, 6, 7):
        store.open_round(opening(number), [seat(miner, number)])
        code = "token_proof_failed" if number == 6 else ""
        store.keep_verdict(verdict(number, miner=miner, code=code))
        conclude(store, number)

    history = store.history(RoundNumber(8), first=RoundNumber(5))

    assert [(seen.round, seen.miner) for seen in history] == [(5, miner), (7, miner)]
    assert {seen.operator for seen in history} == {factories.round_record().scores[0].operator}
    assert store.history(RoundNumber(7), first=RoundNumber(6)) == ()
    assert store.recent_codes(RoundNumber(8), count=2) == {miner: ("token_proof_failed", "")}
    averages = store.averages_ppm(RoundNumber(8))
    assert averages[miner] == factories.round_record().scores[0].average_score_ppm


def test_fraud_excludes_hotkey_and_coldkey_for_a_hundred_rounds(opened: Opened) -> None:
    store, _ = opened
    store.open_round(opening(), [seat()])
    store.keep_verdict(verdict(code="commitment_changed"))

    assert store.excluded(RoundNumber(ROUND + 1)) == {BOB.hotkey, factories.OPERATOR}
    assert store.excluded(RoundNumber(ROUND + 100)) == {BOB.hotkey, factories.OPERATOR}
    assert store.excluded(RoundNumber(ROUND + 101)) == frozenset()
    assert store.excluded(ROUND) == frozenset()


def test_earlier_runs_are_found_for_comparison(opened: Opened) -> None:
    store, _ = opened
    key = factories.cell().key
    miners = [BOB.hotkey, CHARLIE.hotkey, ALICE.hotkey]
    store.open_round(opening(), [seat(miner) for miner in miners])
    for miner in miners:
        store.keep_verdict(verdict(miner=miner))

    assert store.earlier_energies_mj(BOB.hotkey, key) == (30_000,)
    assert store.trace_count(Digest("ab" * 32), before=RoundNumber(ROUND + 1)) == 3
    assert store.trace_count(Digest("ab" * 32), before=ROUND) == 0
    assert store.baseline(key, without=BOB.hotkey) is None
    found = store.baseline(key, without=Hotkey("nobody"))
    assert found is not None
    assert (found.median_power, found.median_duration) == (75.0, 0.4)


def test_a_database_belongs_to_one_validator_on_one_chain(opened: Opened) -> None:
    store, _ = opened
    store.claim(ALICE.hotkey, GenesisHash(factories.GENESIS_HASH), Netuid(2))
    store.claim(ALICE.hotkey, GenesisHash(factories.GENESIS_HASH), Netuid(2))

    with pytest.raises(StoreError, match="belongs to"):
        store.claim(BOB.hotkey, GenesisHash(factories.GENESIS_HASH), Netuid(2))


def test_progress_counts_the_round(opened: Opened) -> None:
    store, _ = opened
    store.open_round(opening(), [seat(), seat(CHARLIE.hotkey)])
    store.keep_commitment(ROUND, sign(factories.commitment(), BOB), block=BlockNumber(1), unix_ms=1)
    store.keep_report(ROUND, sign(factories.report(), BOB))
    store.keep_verdict(verdict())

    assert store.progress(ROUND) == {"miners": 2, "committed": 1, "revealed": 1, "verdicts": 1}
