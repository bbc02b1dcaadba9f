"""`carbonbench-miner status`: what it finds out, and what it says where nothing is to be had."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from miner.archive import FileArchive, rounds_folder
from miner.cli import run
from miner.outcome import Declined, outcome_of
from miner.reporting import Identity
from miner.settings import Settings
from miner.status_report import StatusReport, print_status, report_status
from miner.validator_logs import LogView
from miner.verdicts import Judgement
from protocol.ids import Netuid, RoundNumber
from protocol.wallet import HotkeySigner, create_dev_wallet
from scripts.devnet.processes import free_port
from tests.support.devnet import NETUID, running_devnet, seat
from tests.support.keys import BOB

JUDGEMENT = Judgement(
    validator=BOB.hotkey,
    round=RoundNumber(7),
    accepted=False,
    code="unreachable",
    finding="unreachable: no answer from [8.8.8.8]",
    advice="Open MINER_PORT to the world.",
    energy_wh_per_1k_output_tokens=None,
    score=0.0,
    average_score=0.5,
    weight_share=0.125,
)
VIEW = LogView(
    url="http://log.example", validator=BOB.hotkey, problem="", entries=2, judgements=(JUDGEMENT,)
)


@pytest.fixture
def signer(tmp_path: Path) -> HotkeySigner:
    return create_dev_wallet("miner", "hot", tmp_path / "wallets", uri="//status")


def settings(folder: Path, endpoint: str = "ws://127.0.0.1:9", **changes: object) -> Settings:
    given: dict[str, object] = {
        "network": "devnet",
        "endpoint": endpoint,
        "wallet_name": "miner",
        "wallet_hotkey": "hot",
        "wallet_path": folder / "wallets",
        "host": "127.0.0.1",
        "port": free_port(),
        "data_dir": folder / "data",
    }
    return Settings.load(given | changes)


async def test_with_nothing_running_it_says_so(tmp_path: Path, signer: HotkeySigner) -> None:
    found = await report_status(settings(tmp_path))

    assert (found.hotkey, found.uid, found.node) == (signer.hotkey, None, None)
    node, chain = found.problems
    assert "it is not running here" in node
    assert "ws://127.0.0.1:9" in chain
    assert "MINER_VALIDATOR_LOGS" in found.notes[0]


async def test_a_hotkey_without_uid_is_told(tmp_path: Path, signer: HotkeySigner) -> None:
    async with running_devnet() as devnet:
        found = await report_status(settings(tmp_path, devnet.endpoint))

    assert found.uid is None
    assert any("not registered" in problem for problem in found.problems)


async def test_kept_rounds_are_shown_while_the_miner_is_down(
    tmp_path: Path, signer: HotkeySigner
) -> None:
    async with running_devnet() as devnet:
        uid = seat(devnet.subnet, signer.hotkey)
        devnet.node.seal()
        genesis = await (await devnet.chain()).genesis_hash()
        identity = Identity(genesis_hash=genesis, netuid=Netuid(NETUID), hotkey=signer.hotkey)
        archive = FileArchive(tmp_path / "data" / rounds_folder(identity), keep_rounds=5)
        declined = Declined(code="no_time", detail="3 s to the deadline")
        archive.keep_outcome(outcome_of(RoundNumber(4), declined, 0))
        silent = "http://127.0.0.1:9"

        found = await report_status(settings(tmp_path, devnet.endpoint, validator_logs=silent))

    assert found.uid == uid
    assert [outcome.code for outcome in found.last_rounds] == ["no_time"]
    assert found.notes[0].startswith(f"the log at {silent}: no answer")
    assert len(found.problems) == 1


def test_the_tables_hold_findings_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    node = {
        "state": "idle",
        "block": 9,
        "round": 0,
        "phase": "measuring",
        "asked_by": [{"validator": BOB.hotkey, "last_block": 9, "report": 2, "profile": 1}],
    }
    declined = outcome_of(RoundNumber(7), Declined(code="no_space", detail="full"), 0)
    report = StatusReport(
        hotkey=BOB.hotkey,
        uid=3,
        node=node,
        last_rounds=(declined,),
        logs=(VIEW, replace(VIEW, problem="no answer", judgements=())),
        problems=("something [is] wrong",),
        notes=("a note",),
    )

    print_status(report, Console(width=160))

    printed = capsys.readouterr().out
    for words in (
        "UID 3",
        "idle, block 9",
        "profile 1, report 2",
        "something [is] wrong",
        "a note",
        "no_space: full",
        "no answer from [8.8.8.8]",
        "-> Open MINER_PORT",
        "12.5%",
    ):
        assert words in printed


def test_the_command_exits_1_and_prints_json(
    tmp_path: Path,
    signer: HotkeySigner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--network", "devnet", "--endpoint", "ws://127.0.0.1:9", "--port", str(free_port())]
    options += ["--wallet", "miner", "--hotkey", "hot", "--wallet-path", str(tmp_path / "wallets")]

    status = run(["status", "--json", "--log", "http://127.0.0.1:9", *options])

    found = json.loads(capsys.readouterr().out)
    assert status == 1
    assert found["hotkey"] == signer.hotkey
    assert found["logs"][0]["url"] == "http://127.0.0.1:9"
