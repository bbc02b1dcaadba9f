"""What a miner keeps on disk, and what a kill at any point leaves."""

import os
from pathlib import Path

import pytest

from miner.archive import FileArchive, data_folder, rounds_folder
from miner.outcome import Ending, Outcome
from miner.reporting import Identity
from protocol.errors import ConfigurationError, StoreError
from protocol.ids import GenesisHash, Hotkey, Netuid, RoundNumber
from protocol.messages import Commitment, Report
from protocol.signing import Signed, sign
from tests.support import factories
from tests.support.keys import DevSigner

MINER = factories.MINER


def signed_report(number: int, *, prompt_count: int = 2) -> Signed[Report]:
    report = factories.report(prompt_count=prompt_count)
    return sign(report.model_copy(update={"round": number}), MINER)


def signed_commitment(number: int) -> Signed[Commitment]:
    return sign(factories.commitment().model_copy(update={"round": number}), MINER)


def outcome(number: int, ending: Ending, *, run_us: int = 1) -> Outcome:
    return Outcome(
        round=RoundNumber(number),
        ending=ending,
        code="" if ending is Ending.COMMITTED else "no_time",
        detail="",
        model_id="",
        report_digest="",
        energy_mj=None,
        run_us=run_us,
    )


@pytest.fixture
def archive(tmp_path: Path) -> FileArchive:
    return FileArchive(tmp_path, keep_rounds=3)


def test_what_is_kept_is_found_again_after_a_restart(tmp_path: Path) -> None:
    before = FileArchive(tmp_path, keep_rounds=3)
    report, commitment = signed_report(7), signed_commitment(7)
    before.keep_report(report)
    before.keep_commitment(commitment)

    after = FileArchive(tmp_path, keep_rounds=3)

    assert after.report(RoundNumber(7)) == report
    assert after.commitment(RoundNumber(7)) == commitment


def test_a_round_of_which_nothing_is_known_has_nothing(archive: FileArchive) -> None:
    assert archive.report(RoundNumber(1)) is None
    assert archive.commitment(RoundNumber(1)) is None
    assert archive.outcomes() == ()


def test_a_second_commitment_for_a_round_is_refused(archive: FileArchive) -> None:
    first = signed_commitment(7)
    archive.keep_commitment(first)

    with pytest.raises(StoreError, match="never replaced"):
        archive.keep_commitment(signed_commitment(7))

    assert archive.commitment(RoundNumber(7)) == first


def test_a_report_is_not_replaced_once_it_is_committed_to(archive: FileArchive) -> None:
    first = signed_report(7)
    archive.keep_report(first)
    archive.keep_report(signed_report(7, prompt_count=3))
    replaced = archive.report(RoundNumber(7))
    archive.keep_commitment(signed_commitment(7))

    with pytest.raises(StoreError, match="committed"):
        archive.keep_report(first)

    assert archive.report(RoundNumber(7)) == replaced


def test_a_kill_while_writing_leaves_no_half_message(
    archive: FileArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        archive.keep_report(signed_report(7))
    monkeypatch.undo()

    assert archive.report(RoundNumber(7)) is None
    archive.keep_report(signed_report(7))
    assert archive.report(RoundNumber(7)) is not None


def test_a_kill_just_after_the_commitment_appeared_does_not_harm_it(
    archive: FileArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_self: Path, missing_ok: bool = False) -> None:
        if not missing_ok:
            raise KeyboardInterrupt

    first = signed_commitment(7)
    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        archive.keep_commitment(first)
    monkeypatch.undo()

    with pytest.raises(StoreError):
        archive.keep_commitment(signed_commitment(7))

    assert archive.commitment(RoundNumber(7)) == first


def test_room_is_made_sure_of_before_a_run(tmp_path: Path) -> None:
    FileArchive(tmp_path / "new", keep_rounds=5).make_room()
    with pytest.raises(StoreError, match="MiB are left") as refusal:
        FileArchive(tmp_path / "new", keep_rounds=5, room_bytes=2**62).make_room()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        FileArchive(tmp_path / "file", keep_rounds=5).make_room()

    assert "MINER_KEEP_ROUNDS" in refusal.value.hint


def test_a_full_disk_is_told_and_loses_nothing(
    archive: FileArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    archive.keep_report(signed_report(6))
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(StoreError, match="No space left"):
        archive.keep_report(signed_report(7))

    assert archive.report(RoundNumber(6)) is not None


def test_old_rounds_are_forgotten(archive: FileArchive) -> None:
    for number in range(1, 7):
        archive.keep_report(signed_report(number))
        archive.keep_commitment(signed_commitment(number))

    assert archive.report(RoundNumber(3)) is None
    assert archive.report(RoundNumber(4)) is not None


def test_a_damaged_file_is_told_apart_from_none(archive: FileArchive, tmp_path: Path) -> None:
    archive.keep_report(signed_report(7))
    next(tmp_path.rglob("report.json")).write_text("{")

    with pytest.raises(StoreError, match="damaged"):
        archive.report(RoundNumber(7))


def test_outcomes_come_newest_first(archive: FileArchive) -> None:
    for number in (2, 1, 3):
        archive.keep_outcome(outcome(number, Ending.COMMITTED))

    assert [found.round for found in archive.outcomes()] == [3, 2, 1]


def test_an_outcome_that_another_version_wrote_is_left_out(
    archive: FileArchive, tmp_path: Path
) -> None:
    archive.keep_outcome(outcome(1, Ending.REFUSED))
    archive.keep_outcome(outcome(2, Ending.REFUSED))
    (tmp_path / f"{2:012d}" / "outcome.json").write_text('{"round": 2}')

    assert [found.round for found in archive.outcomes()] == [1]
    archive.keep_outcome(outcome(2, Ending.DECLINED))
    assert [found.round for found in archive.outcomes()] == [2, 1]


def test_only_a_commitment_takes_the_place_of_an_outcome(archive: FileArchive) -> None:
    archive.keep_outcome(outcome(1, Ending.REFUSED, run_us=5))
    archive.keep_outcome(outcome(1, Ending.DECLINED))
    assert archive.outcomes()[0].run_us == 5

    archive.keep_outcome(outcome(1, Ending.COMMITTED))
    archive.keep_outcome(outcome(1, Ending.REFUSED))
    assert archive.outcomes()[0].ending is Ending.COMMITTED


def test_one_data_folder_serves_one_miner(tmp_path: Path) -> None:
    with (
        data_folder(tmp_path),
        pytest.raises(ConfigurationError, match="another miner"),
        data_folder(tmp_path),
    ):
        pass

    with data_folder(tmp_path) as again:
        assert again == tmp_path


def test_an_unwritable_data_folder_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    with pytest.raises(ConfigurationError, match="cannot write") as refusal, data_folder(blocked):
        pass

    assert "MINER_DATA_DIR" in refusal.value.hint


def test_each_chain_subnet_and_hotkey_has_its_own_rounds() -> None:
    def folder(genesis: str, netuid: int, hotkey: str) -> str:
        return rounds_folder(
            Identity(
                genesis_hash=GenesisHash("0x" + genesis * 32),
                netuid=Netuid(netuid),
                hotkey=Hotkey(hotkey),
            )
        )

    alice, bob = DevSigner("//Alice").hotkey, DevSigner("//Bob").hotkey
    names = {folder(g, n, h) for g in ("ab", "cd") for n in (1, 2) for h in (alice, bob)}

    assert len(names) == 8
