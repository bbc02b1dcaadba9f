"""Token proofs run again from a log and its reports: what holds, and what is named."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.canonical import Json, canonical_bytes, message_digest
from protocol.errors import SourceError
from protocol.ids import Digest
from protocol.messages import Report
from protocol.signing import Signed
from tests.support.behaviours import OtherModel
from tests.support.simulator import SimulatedMiner, ToyRescorer
from tests.support.validator import Simulation
from validator.judging import Rescorer
from validator.proof_audit import ProvenVerdict, audit_proofs, proven_verdicts
from validator.report_source import fetch_reports


@dataclass(frozen=True)
class Played:
    """A log with its reports."""

    entries: list[Json]
    folder: Path

    @property
    def proven(self) -> list[ProvenVerdict]:
        return proven_verdicts(self.entries)

    def fetch(self, digest: Digest) -> Signed[Report] | None:
        return fetch_reports(str(self.folder))(digest)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Two rounds of an honest miner and one with another model, reports in a folder."""
    folder = tmp_path_factory.mktemp("reports")
    simulation = Simulation(
        [SimulatedMiner("ann"), SimulatedMiner("cheap", OtherModel())],
        tmp_path_factory.mktemp("rescored"),
    )

    async def play() -> None:
        for number in (1, 2):
            await simulation.play(number)

    asyncio.run(play())
    entries: list[Json] = [json.loads(data) for data in simulation.log.entries(0, 500)]
    for one in proven_verdicts(entries):
        digest = Digest(one.verdict.report_digest or "")
        (folder / f"{digest}.json").write_bytes(simulation.store.report_data(digest) or b"")
    simulation.store.close()
    return Played(entries, folder)


def toy(_report: Report) -> Rescorer:
    return ToyRescorer()


def test_all_verdicts_with_a_proof_come_out_as_they_say(played: Played) -> None:
    proofs = [one.proof for one in played.proven]
    total = sum(len(proof.indices) for proof in proofs)

    found = audit_proofs(played.proven, fetch=played.fetch, rescorers=toy, prompt_count=10**6)

    assert {proof.passed for proof in proofs} == {True, False}
    assert (found.prompt_count, found.verdict_count) == (total, len(proofs))
    assert (found.without_report, found.faults) == (0, ())


def test_only_as_many_prompts_as_asked_for_are_rescored(played: Played) -> None:
    found = audit_proofs(played.proven, fetch=played.fetch, rescorers=toy, prompt_count=3)

    assert (found.prompt_count, found.verdict_count) == (3, 1)
    assert found.faults == ()


def edited(one: ProvenVerdict, **fields: object) -> ProvenVerdict:
    proof = one.proof.model_copy(update=fields)
    verdict = one.verdict.model_copy(update={"proof": proof})
    return ProvenVerdict(position=one.position, verdict=verdict, proof=proof)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"mean_margin_micrologits": 400_000}, "mean margin"),
        ({"indices": (0, 1, 2)}, "beacon draws"),
        ({"beacon_hash": "0x" + "ab" * 32}, "beacon draws"),
    ],
)
def test_what_a_verdict_makes_up_is_named(
    fields: dict[str, object], what: str, played: Played
) -> None:
    honest = next(one for one in played.proven if one.proof.passed)

    found = audit_proofs(
        [edited(honest, **fields)], fetch=played.fetch, rescorers=toy, prompt_count=64
    )

    assert [fault.position for fault in found.faults] == [honest.position]
    assert what in found.faults[0].what


def test_a_pass_without_ground_is_named_from_a_part_of_its_prompts(played: Played) -> None:
    cheap = next(one for one in played.proven if not one.proof.passed)

    found = audit_proofs(
        [edited(cheap, passed=True)], fetch=played.fetch, rescorers=toy, prompt_count=2
    )

    assert "2 of its" in found.faults[0].what


def test_another_report_or_a_forged_one_is_named(played: Played) -> None:
    first, second = played.proven[:2]

    def other(_digest: Digest) -> Signed[Report] | None:
        return played.fetch(Digest(second.verdict.report_digest or ""))

    def forged(digest: Digest) -> Signed[Report] | None:
        signed = played.fetch(digest)
        assert signed is not None
        report = signed.payload.model_copy(update={"energy_mj": 1})
        return signed.model_copy(update={"payload": report})

    for fetch in (other, forged):
        found = audit_proofs([first], fetch=fetch, rescorers=toy, prompt_count=4)
        assert len(found.faults) == 1
        assert "report served" in found.faults[0].what


def test_verdicts_whose_report_is_gone_are_counted(played: Played, tmp_path: Path) -> None:
    found = audit_proofs(
        played.proven, fetch=fetch_reports(str(tmp_path)), rescorers=toy, prompt_count=4
    )

    assert found.without_report == len(played.proven)
    assert found.prompt_count == 0


def test_a_damaged_report_is_an_error_of_the_source(played: Played, tmp_path: Path) -> None:
    digest = Digest(played.proven[0].verdict.report_digest or "")
    (tmp_path / f"{digest}.json").write_text("{}")

    with pytest.raises(SourceError, match="serves no report"):
        fetch_reports(str(tmp_path))(digest)


def test_reports_come_from_where_they_are_kept(played: Played) -> None:
    digest = Digest(played.proven[0].verdict.report_digest or "")
    signed = played.fetch(digest)

    assert signed is not None
    assert message_digest(signed.payload) == digest
    assert canonical_bytes(signed.payload)
