"""Validators' logs: what verifies is kept, what does not is refused and the last good stays."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from api import verdicts
from api.store import Store
from api.verdicts import LogAddress, ValidatorLogs
from protocol.ids import Hotkey
from protocol.signing import Signature
from tests.support.keys import ALICE, BOB
from tests.support.log import DevLog, client_of, value

URL = "http://validator"
NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


async def pulled(
    log: DevLog, store: Store, validator: Hotkey | None = None
) -> tuple[ValidatorLogs, httpx.AsyncClient]:
    client = client_of({URL: log})
    logs = ValidatorLogs([LogAddress(url=URL, validator=validator)], store, client)
    await logs.pull(NOW)
    return logs, client


def the_state(logs: ValidatorLogs) -> tuple[str, str]:
    (state,) = logs.states()
    return state.state, state.detail


@pytest.fixture
def log() -> DevLog:
    made = DevLog()
    made.add_round([value(uwh=500_000)])
    made.add_round([value(uwh=510_000)])
    return made


async def test_a_good_log_is_taken_whole(log: DevLog, store: Store) -> None:
    logs, _ = await pulled(log, store, ALICE.hotkey)

    assert the_state(logs) == ("ok", "4 entries verified")
    assert [r.record.round for r in logs.records()] == [1, 2]
    assert store.log_source(URL).size == 4  # type: ignore[union-attr]  # it was just stored


async def test_only_new_entries_are_asked_for_when_the_log_grows(log: DevLog, store: Store) -> None:
    logs, _ = await pulled(log, store)
    log.add_round([value(uwh=520_000)])
    log.requests.clear()

    await logs.pull(NOW)

    assert log.requests == ["/v1/log/head", "/v1/log/entries?start=4&limit=2"]
    assert len(logs.records()) == 3


async def test_a_long_log_is_taken_in_steps_tied_to_the_head(
    log: DevLog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "STEP_ENTRIES", 3)
    for uwh in range(500_000, 500_010):
        log.add_round([value(uwh=uwh)])

    logs, _ = await pulled(log, store)

    assert the_state(logs) == ("ok", "24 entries verified")
    assert sum("consistency" in request for request in log.requests) == 7


async def test_a_new_process_goes_on_where_the_last_one_stopped(log: DevLog, store: Store) -> None:
    await pulled(log, store)
    log.requests.clear()

    logs, _ = await pulled(log, store)

    assert log.requests == ["/v1/log/head"]
    assert len(logs.records()) == 2


async def test_a_log_without_entries_is_empty(store: Store) -> None:
    logs, _ = await pulled(DevLog(), store)

    assert the_state(logs)[0] == "empty"


async def test_a_silent_source_is_unreachable_and_keeps_its_records(
    log: DevLog, store: Store
) -> None:
    logs, _ = await pulled(log, store)
    log.overrides["/v1/log/head"] = lambda: httpx.Response(500)

    await logs.pull(NOW)

    assert the_state(logs) == ("unreachable", "/v1/log/head answered 500")
    assert len(logs.records()) == 2


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (lambda log: log.entries.clear(), "the log is gone"),
        (lambda log: log.entries.pop(), "shrunk from 4 to 3"),
        (lambda log: setattr(log, "entries", log.fork().entries), "forked"),
        (lambda log: setattr(log, "head_signer", BOB), "signed by"),
        (lambda log: log.head_changes.update(netuid=77), "another chain"),
        (lambda log: log.head_changes.update(validator=BOB.hotkey), "names another validator"),
    ],
    ids=["gone", "shrunk", "forked", "foreign key", "other chain", "other name"],
)
async def test_a_log_that_breaks_its_word_is_refused_and_the_last_good_stays(
    log: DevLog, store: Store, spoil: object, detail: str
) -> None:
    logs, _ = await pulled(log, store, ALICE.hotkey)
    assert callable(spoil)
    spoil(log)

    await logs.pull(NOW)

    state, said = the_state(logs)
    assert state == "refused"
    assert detail in said
    assert [r.record.round for r in logs.records()] == [1, 2]


async def test_a_rewritten_past_is_refused_when_the_log_grows(log: DevLog, store: Store) -> None:
    logs, _ = await pulled(log, store)
    log.entries = log.fork().entries
    log.add_round([value(uwh=1)])

    await logs.pull(NOW)

    assert the_state(logs) == (
        "refused",
        "commitment_mismatch: entries do not lead to the signed root at size 6",
    )
    assert len(logs.records()) == 2


async def test_an_entry_with_a_foreign_signature_is_refused(log: DevLog, store: Store) -> None:
    entry = log.entries[1]
    forged = Signature(keyid=BOB.hotkey, sig=entry.signatures[0].sig)
    log.entries[1] = entry.model_copy(update={"signatures": (forged,)})

    logs, _ = await pulled(log, store)

    assert the_state(logs)[0] == "refused"
    assert logs.records() == ()


async def test_an_entry_of_another_validator_is_refused(store: Store) -> None:
    log, other = DevLog(), DevLog(signer=BOB)
    other.add_round([value()])
    log.entries = other.entries

    logs, _ = await pulled(log, store)

    assert "signed by" in the_state(logs)[1]


async def test_the_first_signer_is_held_to_its_log(log: DevLog, store: Store) -> None:
    logs, _ = await pulled(log, store)
    log.signer = BOB
    log.entries.clear()
    for _ in range(3):
        log.add_round([value()])

    await logs.pull(NOW)

    assert the_state(logs)[0] == "refused"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "malformed"),
        (b"not json", "malformed"),
        (b"[" * 5_000, "malformed"),
        (b" " * 20_000, "oversized"),
    ],
    ids=["empty", "rubbish", "deep", "large"],
)
async def test_rubbish_is_refused_with_its_code(
    log: DevLog, store: Store, body: bytes, code: str
) -> None:
    log.overrides["/v1/log/head"] = lambda: httpx.Response(200, content=body)

    logs, _ = await pulled(log, store)

    assert the_state(logs)[0] == "refused"
    assert the_state(logs)[1].startswith(code)


async def test_a_page_without_the_promised_entries_is_refused(log: DevLog, store: Store) -> None:
    log.overrides["/v1/log/entries"] = lambda: httpx.Response(
        200, content=b'{"start":0,"size":4,"entries":[]}'
    )

    logs, _ = await pulled(log, store)

    assert "no entries from 0" in the_state(logs)[1]


async def test_one_bad_source_does_not_stop_another(log: DevLog, store: Store) -> None:
    bad = DevLog(signer=BOB)
    bad.add_round([value()])
    bad.head_signer = ALICE
    client = client_of({URL: log, "http://bad": bad})
    addresses = [LogAddress(url="http://bad"), LogAddress(url=URL), LogAddress(url="http://away")]
    logs = ValidatorLogs(addresses, store, client)

    await logs.pull(NOW)

    assert [state.state for state in logs.states()] == ["refused", "ok", "unreachable"]
    assert len(logs.records()) == 2


async def test_a_refusal_is_kept_as_evidence_once(log: DevLog, tmp_path: Path) -> None:
    path = tmp_path / "faults.sqlite3"
    store = Store.open(f"sqlite:///{path}")
    logs, _ = await pulled(log, store)
    log.entries.pop()

    await logs.pull(NOW)
    await logs.pull(NOW)

    (fault,) = store.faults(URL)
    assert fault.code == "commitment_mismatch"
    assert b'"size":3' in fault.body
    store.close()
