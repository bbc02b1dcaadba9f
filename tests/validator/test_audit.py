"""The audit: an honest log holds, and whatever is changed in it is named."""

import asyncio
import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from protocol.canonical import Json, canonical_bytes, canonical_json
from protocol.ids import Hotkey
from protocol.merkle import MerkleTree
from protocol.messages import RoundRecord, TreeHead, Verdict
from protocol.signing import Signed, sign
from tests.support.behaviours import Equivocates, OtherModel, Shades, Silent
from tests.support.keys import DevSigner
from tests.support.simulator import SimulatedMiner
from tests.support.validator import Simulation
from validator.audit import AuditReport, audit
from validator.log_source import ExportedLog, read_log, save_log

VALIDATOR = DevSigner("//Validator")
Entries = list[dict[str, Any]]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Entries, dict[str, Any]]:
    """Three rounds with honest miners and cheats."""
    miners = [
        SimulatedMiner("ann"),
        SimulatedMiner("ben"),
        SimulatedMiner("cat", coldkey_of="ben"),
        SimulatedMiner("shade", Shades()),
        SimulatedMiner("cheap", OtherModel()),
        SimulatedMiner("silent", Silent()),
        SimulatedMiner("fraud", Equivocates()),
    ]
    simulation = Simulation(miners, tmp_path_factory.mktemp("audited"))
    asyncio.run(play_three(simulation))
    entries = [json.loads(data) for data in simulation.log.entries(0, 500)]
    head = json.loads(simulation.log.head() or b"null")
    simulation.store.close()
    return entries, head


async def play_three(simulation: Simulation) -> None:
    for number in (1, 2, 3):
        await simulation.play(number)


def found(report: AuditReport) -> list[tuple[int | None, str]]:
    return [(fault.position, fault.what) for fault in report.faults]


def positions(report: AuditReport) -> set[int | None]:
    return {fault.position for fault in report.faults}


def forged_head(entries: Entries) -> dict[str, Any]:
    """A head that the validator signs over a log that it changed."""
    update = {
        "size": len(entries),
        "root": MerkleTree.of([canonical_json(entry) for entry in entries]).root().hex(),
    }
    record = Signed[RoundRecord].model_validate(entries[-1], strict=False).payload
    head = TreeHead(
        genesis_hash=record.genesis_hash,
        netuid=record.netuid,
        validator=VALIDATOR.hotkey,
        round=record.round,
        block=record.scored_block,
        unix_ms=0,
        **update,  # type: ignore[arg-type]
    )
    content: dict[str, Any] = json.loads(canonical_bytes(sign(head, VALIDATOR)))
    return content


def resigned(
    entry: dict[str, Any], kind: type[Verdict] | type[RoundRecord], **update: object
) -> dict[str, Any]:
    """An entry that the validator itself signs with something changed."""
    message = kind.model_validate_json(json.dumps(entry["payload"])).model_copy(update=update)
    content: dict[str, Any] = json.loads(canonical_bytes(sign(message, VALIDATOR)))
    return content


def test_an_honest_log_holds(log: tuple[Entries, dict[str, Any]]) -> None:
    entries, head = log

    report = audit(entries, head, validator=VALIDATOR.hotkey)

    assert found(report) == []
    assert (report.entry_count, report.round_count, report.verdict_count) == (24, 3, 21)


PLACES = (0, 3, 6, 7, 8, 15, 20, 22, 23)
"""Of three rounds of seven verdicts and a record: firsts, lasts, records and between."""


def exported(log: tuple[Entries, dict[str, Any]], path: Path) -> list[bytes]:
    """The lines of an exported file."""
    entries, head = log
    save_log(ExportedLog(head=cast(Json, head), entries=tuple(cast(list[Json], entries))), path)
    return path.read_bytes().split(b"\n")


def audited(path: Path) -> AuditReport:
    read = read_log(str(path))
    return audit(read.entries, read.head, validator=VALIDATOR.hotkey)


@pytest.mark.parametrize("place", PLACES)
def test_a_changed_byte_of_an_export_names_its_entry(
    log: tuple[Entries, dict[str, Any]], place: int, tmp_path: Path
) -> None:
    path = tmp_path / "log.json"
    lines = exported(log, path)
    chance = random.Random(place)  # noqa: S311 - a test's seed
    line = lines[2 + place].removesuffix(b",")

    for _ in range(2):
        at = chance.randrange(len(line))
        changed = line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]
        comma = lines[2 + place][len(line) :]
        path.write_bytes(b"\n".join([*lines[: 2 + place], changed + comma, *lines[3 + place :]]))

        assert positions(audited(path)) == {None, place}, (at, changed[at - 20 : at + 20])


@pytest.mark.parametrize("place", PLACES)
def test_a_removed_entry_names_its_place(log: tuple[Entries, dict[str, Any]], place: int) -> None:
    entries, head = log

    report = audit(entries[:place] + entries[place + 1 :], head)

    assert positions(report) == {None, place}, found(report)


@pytest.mark.parametrize("place", PLACES[:-1])
def test_reordered_entries_are_named(log: tuple[Entries, dict[str, Any]], place: int) -> None:
    entries, head = copy.deepcopy(log)
    entries[place], entries[place + 1] = entries[place + 1], entries[place]

    report = audit(entries, head)

    assert {None, place} <= positions(report) <= {None, place, place + 1}, found(report)


@pytest.mark.parametrize("place", PLACES)
def test_a_foreign_entry_is_named(log: tuple[Entries, dict[str, Any]], place: int) -> None:
    entries, head = copy.deepcopy(log)
    entries.insert(place, copy.deepcopy(entries[place]))

    report = audit(entries, head)

    assert positions(report) & {place, place + 1}, found(report)


def test_another_validators_log_is_not_this_ones(log: tuple[Entries, dict[str, Any]]) -> None:
    entries, head = log

    report = audit(entries, head, validator=Hotkey(DevSigner("//Mallory").hotkey))

    assert None in positions(report)


def first_of(entries: Entries, *, accepted: bool) -> int:
    return next(
        place
        for place, entry in enumerate(entries)
        if (entry["payload"].get("outcome") == "accepted") is accepted
        and entry["payload"]["kind"] == "verdict"
    )


LIES: dict[str, tuple[Callable[[Entries], int], str]] = {}


def lie(what: str) -> Callable[[Callable[[Entries], int]], Callable[[Entries], int]]:
    """Register something that a validator changes and signs anew; it returns the place."""

    def register(change: Callable[[Entries], int]) -> Callable[[Entries], int]:
        LIES[change.__name__] = (change, what)
        return change

    return register


@lie("weights differ")
def more_weight_for_a_friend(entries: Entries) -> int:
    place = 7
    weights = RoundRecord.model_validate_json(json.dumps(entries[place]["payload"])).weights
    changed = (
        weights[0].model_copy(update={"weight_u16": weights[0].weight_u16 - 1}),
        weights[1].model_copy(update={"weight_u16": weights[1].weight_u16 + 1}),
        *weights[2:],
    )
    entries[place] = resigned(entries[place], RoundRecord, weights=changed)
    return place


@lie("scores differ")
def a_better_score(entries: Entries) -> int:
    place = 15
    scores = RoundRecord.model_validate_json(json.dumps(entries[place]["payload"])).scores
    changed = (scores[0].model_copy(update={"average_score_ppm": 999_999}), *scores[1:])
    entries[place] = resigned(entries[place], RoundRecord, scores=changed)
    return place


@lie("cells differ")
def a_greener_cell(entries: Entries) -> int:
    place = 7
    cells = RoundRecord.model_validate_json(json.dumps(entries[place]["payload"])).cells
    changed = (cells[0].model_copy(update={"energy_per_1k_output_tokens_uwh": 7}), *cells[1:])
    entries[place] = resigned(entries[place], RoundRecord, cells=changed)
    return place


@lie("micro-Wh")
def a_verdict_that_cannot_divide(entries: Entries) -> int:
    place = first_of(entries, accepted=True)
    entries[place] = resigned(entries[place], Verdict, energy_per_1k_output_tokens_uwh=5)
    return place


@lie("its own bounds")
def a_finding_against_its_own_bounds(entries: Entries) -> int:
    place = first_of(entries, accepted=True)
    findings = Verdict.model_validate_json(json.dumps(entries[place]["payload"])).findings
    changed = (findings[0].model_copy(update={"value": 1}), *findings[1:])
    entries[place] = resigned(entries[place], Verdict, findings=changed)
    return place


@lie("two operators")
def one_coldkey_as_two_operators(entries: Entries) -> int:
    place = 7
    record = RoundRecord.model_validate_json(json.dumps(entries[place]["payload"]))
    cat = DevSigner("//cat").hotkey
    changed = tuple(
        score.model_copy(update={"operator": cat}) if score.miner == cat else score
        for score in record.scores
    )
    entries[place] = resigned(entries[place], RoundRecord, scores=changed)
    return place


@lie("exclusion")
def a_pardon_after_fraud(entries: Entries) -> int:
    fraud = DevSigner("//fraud").hotkey
    place = next(
        index
        for index, entry in enumerate(entries)
        if entry["payload"].get("miner") == fraud and entry["payload"]["round"] == 2
    )
    refusal = {"code": "no_commitment", "detail": ""}
    verdict = copy.deepcopy(entries[place]["payload"]) | {"rejection": refusal}
    message = Verdict.model_validate_json(json.dumps(verdict))
    entries[place] = json.loads(canonical_bytes(sign(message, VALIDATOR)))
    return place


@pytest.mark.parametrize("name", sorted(LIES))
def test_a_lie_that_the_validator_itself_signs_is_named(
    log: tuple[Entries, dict[str, Any]], name: str
) -> None:
    entries, _ = copy.deepcopy(log)
    change, what = LIES[name]

    place = change(entries)
    report = audit(entries, forged_head(entries))

    assert any(position == place and what in told for position, told in found(report)), found(
        report
    )


@pytest.mark.parametrize("entry", [None, 5, {}, {"payload": []}, {"payload": {"kind": "verdict"}}])
def test_rubbish_is_a_fault_and_no_crash(
    log: tuple[Entries, dict[str, Any]], entry: object
) -> None:
    entries, head = copy.deepcopy(log)
    entries[3] = entry  # type: ignore[call-overload]

    assert 3 in positions(audit(entries, head))


def test_an_empty_log_with_no_head_does_not_hold() -> None:
    assert positions(audit([], None)) == {None}


def test_floats_are_a_fault(log: tuple[Entries, dict[str, Any]]) -> None:
    entries, head = copy.deepcopy(log)
    entries[3]["payload"]["round"] = 1.5

    assert {None, 3} <= positions(audit(entries, head))
