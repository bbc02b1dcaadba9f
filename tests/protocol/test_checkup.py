"""`check` of both roles: a table of what was probed, a hint for each line that failed, status 1."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import miner.cli
import validator.cli
from protocol.checkup import Row, chain_rows, print_rows
from protocol.ids import Netuid
from protocol.wallet import create_dev_wallet
from scripts.devnet.chain.control import DevnetControl
from tests.support.devnet import NETUID, devnet_process

NEURONS = ["--neuron", "//Validator,//Alice,5000,permit", "--neuron", "//Miner,//Alice"]
COMMANDS = {"miner": miner.cli.run, "validator": validator.cli.execute}
NOBODY_LISTENS = "ws://127.0.0.1:9"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with devnet_process(
        tmp_path_factory.mktemp("chain"), "--block-seconds", "0", *NEURONS
    ) as found:
        yield found


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in ("//Validator", "//Miner", "//Nobody"):
        create_dev_wallet(uri[2:], "default", tmp_path / "wallets", uri=uri)


def options(endpoint: str, wallet: str, netuid: int = NETUID) -> list[str]:
    where = ["--network", "devnet", "--endpoint", endpoint, "--netuid", str(netuid)]
    here = ["--port", "0", "--host", "127.0.0.1", "--data-dir", "data"]
    return [*where, *here, "--wallet", wallet, "--wallet-path", "wallets"]


def checked(
    role: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> dict[str, dict[str, Any]]:
    """The rows of `check`, after a look at its status and at each failing row's hint."""
    run: Callable[[list[str]], int] = COMMANDS[role]
    status = run(["check", "--json", *arguments])
    rows = json.loads(capsys.readouterr().out)["rows"]
    failed = [row for row in rows if not row["ok"]]
    assert failed
    assert status == 1
    assert all(row["hint"] and row["detail"] for row in failed), failed
    return {row["what"]: row for row in rows}


@pytest.mark.parametrize("role", COMMANDS)
def test_a_hotkey_without_uid_is_told_the_command_that_registers_it(
    endpoint: str, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = checked(role, capsys, options(endpoint, "Nobody"))

    assert rows["chain"]["ok"]
    assert rows["call"]["ok"]
    assert "holds no UID on subnet 2" in rows["registration"]["detail"]
    command = (
        f"carbonbench-{role} register --network devnet --netuid 2 --wallet Nobody --hotkey default"
    )
    assert command in rows["registration"]["hint"]


def test_a_validator_without_permit_is_told_how_to_stake(
    endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = checked("validator", capsys, options(endpoint, "Miner"))

    assert "UID 2 has no validator permit, with 0 TAO" in rows["registration"]["detail"]
    assert "btcli stake add --netuid 2 -w Miner -H default --amount" in rows["registration"]["hint"]


@pytest.mark.parametrize("role", COMMANDS)
def test_a_subnet_that_is_not_there_is_told(
    endpoint: str, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = checked(role, capsys, options(endpoint, "Miner", netuid=9))

    assert "there is no subnet 9" in rows["registration"]["detail"]
    assert "--netuid" in rows["registration"]["hint"]


@pytest.mark.parametrize("role", COMMANDS)
def test_a_dead_endpoint_is_one_row_of_the_printed_table(
    role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = checked(role, capsys, options(NOBODY_LISTENS, "Miner"))
    status = COMMANDS[role](["check", *options(NOBODY_LISTENS, "Miner")])
    table = capsys.readouterr().out

    assert status == 1
    assert "registration" not in rows
    assert "does not answer" in rows["chain"]["detail"]
    assert table.count("│ -> ") == sum(not row["ok"] for row in rows.values())
    assert "failed" in table


async def test_what_an_old_runtime_lacks_is_a_row_with_the_sdk_to_install(tmp_path: Path) -> None:
    with devnet_process(tmp_path, "--block-seconds", "0", *NEURONS) as endpoint:
        async with DevnetControl(endpoint, netuid=NETUID) as control:
            await control.upgrade(470, complete=False)
        rows = await chain_rows(endpoint, lambda: Netuid(NETUID), ())

    (failed,) = (row for row in rows if not row.ok)
    assert failed.what == "storage"
    assert failed.detail.startswith("SubtensorModule.SubnetEpochConsensus: ")
    assert "runtime spec 470" in failed.detail
    assert "install bittensor 11.1.0" in failed.hint
    assert any(row.what == "storage" and row.ok for row in rows)


def test_the_table_shows_each_hint_under_its_row() -> None:
    rows = (
        Row(what="port", ok=True, detail="free"),
        Row(what="wallet", ok=False, detail="no [hotkey]", hint="Make one."),
    )
    console = Console(width=80, record=True, file=io.StringIO())

    print_rows(rows, console)

    shown = console.export_text()
    assert "no [hotkey]" in shown
    assert "-> Make one." in shown
    assert shown.index("failed") < shown.index("-> Make one.")
