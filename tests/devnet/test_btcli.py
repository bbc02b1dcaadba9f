"""The unmodified btcli does against the devnet node all that the documents tell people to do."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bittensor as bt
import bittensor_core
import pytest
from bittensor.hyperparams import STORAGE_ITEMS

from protocol.errors import ChainError
from protocol.ids import Uid
from protocol.subtensor import SubtensorChain
from protocol.units import rao_from_tao
from protocol.wallet import create_dev_wallet, load_wallet
from scripts.devnet.chain.control import DevnetControl
from scripts.devnet.chain.subnet import Subnet, balance_rao, set_balance
from tests.support.devnet import (
    MINER,
    NETUID,
    STRANGER,
    VALIDATOR,
    Devnet,
    clean_environment,
    devnet_process,
    running_devnet,
    seated_node,
)

DOCUMENTS = Path(__file__).parents[2] / "docs"
OWNER = "//Owner"
FUNDS_TAO = 50_000
NEURONS = ["--neuron", "//Validator,//Alice,5000,permit", "--neuron", "//Miner,//Alice"]
QUERIES = ("metagraph", "weights", "commitments", "epoch-status", "subnet-hyperparameters")

RUN_HERE = {
    "wallet new-coldkey",
    "wallet new-hotkey",
    "wallet create",
    "subnets burn-cost",
    "subnets register",
    "subnets create-cost",
    "subnets create",
    "subnets hyperparameters",
    "subnets metagraph",
    "stake add",
    "sudo start",
    "sudo set",
    *(f"query {query}" for query in QUERIES),
}


@dataclass(frozen=True, slots=True)
class Shell:
    """Where btcli is called."""

    endpoint: str
    folder: Path

    @property
    def wallets(self) -> Path:
        return self.folder / "wallets"

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Call btcli, never asked anything, with JSON for an answer."""
        program = str(Path(sys.executable).with_name("btcli"))
        where = ["--network", self.endpoint, "--fallback-endpoints", "none"]
        if command.startswith("wallet"):
            where = []
        if not command.startswith(("query", "subnets burn-cost", "subnets create-cost")):
            where += ["--wallet-path", str(self.wallets)]
        return subprocess.run(
            [program, "--json", *command.split(), *where],
            env=clean_environment(self.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, command: str) -> Any:  # noqa: ANN401 - whatever the command answers
        done = self.run(command)
        assert done.returncode == 0, f"btcli {command}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A node with a validator and a miner, whose subnet belongs to the wallet `owner`."""
    wallets = tmp_path / "wallets"
    coldkey = create_dev_wallet("owner", "default", wallets, uri=OWNER).coldkey
    options = ["--block-seconds", "0", "--owner", str(coldkey), *NEURONS]
    with devnet_process(tmp_path, *options) as endpoint:
        yield Shell(endpoint, tmp_path)


def test_every_command_of_the_documents_is_run_here() -> None:
    told = {
        f"{group} {name}"
        for document in sorted(DOCUMENTS.glob("*.md"))
        for group, name in re.findall(r"btcli (?:--json )?([a-z]+) ([a-z-]+)", document.read_text())
    }

    assert told == RUN_HERE


async def test_btcli_reads_what_the_adapter_wrote(shell: Shell) -> None:
    chain = await SubtensorChain.connect(endpoint=shell.endpoint, netuid=NETUID, signer=VALIDATOR)
    await chain.set_weights({Uid(0): 1, Uid(2): 3}, version_key=0)
    await chain.commit(b"carbonbench")
    await chain.close()

    found = {query: shell(f"query {query} --netuid 2") for query in QUERIES}
    tree = shell("subnets metagraph 2")

    assert found["metagraph"]["hotkeys"][1:] == [VALIDATOR.hotkey, MINER.hotkey]
    assert found["metagraph"]["validator_permit"] == [False, True, False]
    row = {"0": pytest.approx(0.25, abs=1e-4), "2": pytest.approx(0.75, abs=1e-4)}
    assert found["weights"] == {"1": row}
    assert VALIDATOR.hotkey in json.dumps(found["commitments"])
    assert found["epoch-status"]["tempo"] == 20
    assert "tempo" in json.dumps(found["subnet-hyperparameters"])
    assert VALIDATOR.hotkey in json.dumps(tree)


async def test_btcli_makes_a_validator(shell: Shell) -> None:
    shell("wallet new-coldkey -w validator --no-password")
    shell("wallet new-hotkey -w validator -H default")
    signer = load_wallet("validator", "default", shell.wallets)
    assert signer.coldkey is not None
    async with DevnetControl(shell.endpoint, netuid=NETUID) as control:
        await control.fund(signer.coldkey, FUNDS_TAO)

        cost = shell("subnets burn-cost 2")
        shell("subnets register --netuid 2 -w validator -H default --yes")
        shell("stake add --netuid 2 -w validator -H default --amount 1000 --yes")
        await control.mine(20)

    chain = await SubtensorChain.connect(endpoint=shell.endpoint, netuid=NETUID, signer=None)
    seat = (await chain.metagraph()).by_hotkey(signer.hotkey)
    await chain.close()
    assert "1" in json.dumps(cost)
    assert seat is not None
    assert seat.coldkey == signer.coldkey
    assert seat.stake_tao == 1_000
    assert seat.validator_permit


async def test_btcli_makes_a_subnet_and_rules_it(shell: Shell) -> None:
    shell("wallet create -w founder -H default --no-password")
    founder = load_wallet("founder", "default", shell.wallets)
    assert founder.coldkey is not None
    async with DevnetControl(shell.endpoint, netuid=NETUID) as control:
        await control.fund(founder.coldkey, FUNDS_TAO)

    before = shell("subnets create-cost")
    created = shell("subnets create -w founder -H default --yes")
    after = shell("subnets create-cost")
    shell("sudo start --netuid 1 -w founder --yes")
    shell("sudo set --netuid 1 --name tempo --value 360 -w founder --yes")
    stranger = shell.run("sudo set --netuid 2 --name tempo --value 360 -w founder --yes")
    rules = shell("subnets hyperparameters 1")

    assert after != before
    assert '"netuid": 1' in json.dumps(created)
    assert stranger.returncode != 0
    assert "BadOrigin" in stranger.stdout + stranger.stderr
    assert "360" in json.dumps(rules)


def told_hyperparameters() -> list[tuple[str, int]]:
    """Names and values of the table that an owner is told to set."""
    text = (DOCUMENTS / "subnet-owner.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (true|false|[\d,]+)", text, re.MULTILINE)
    words = {"true": 1, "false": 0}
    return [(name, words[told] if told in words else number(told)) for name, told in rows]


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.fixture
async def owned() -> AsyncIterator[tuple[Devnet, SubtensorChain, bittensor_core.Keypair]]:
    """A subnet in this process, a connection, and the owner's coldkey."""
    keypair = bittensor_core.Keypair.create_from_uri(OWNER)
    async with running_devnet(seated_node("--owner", OWNER)) as devnet:
        chain = await devnet.chain()
        yield devnet, chain, keypair
        await chain.close()


async def test_the_owner_sets_each_hyperparameter_of_the_document(
    owned: tuple[Devnet, SubtensorChain, bittensor_core.Keypair],
) -> None:
    devnet, chain, keypair = owned
    told = told_hyperparameters()
    before = [devnet.subnet.get(STORAGE_ITEMS[name].name) for name, _ in told]

    for name, value in told:
        intent = bt.SetHyperparameter(netuid=NETUID, name=name, value=value)
        await chain.execute(intent, keypair, f"setting {name}")

    after = [devnet.subnet.get(STORAGE_ITEMS[name].name) for name, _ in told]
    assert [int(value) for value in after] == [value for _, value in told]
    assert len(told) == 11
    assert before != after


async def test_what_the_document_leaves_to_the_root_is_not_the_owners() -> None:
    for name in ("weights_rate_limit", "max_weights_limit", "max_validators"):
        with pytest.raises(ValueError, match="unsettable"):
            bt.SetHyperparameter(netuid=NETUID, name=name, value=1)


async def test_only_the_owner_may(
    owned: tuple[Devnet, SubtensorChain, bittensor_core.Keypair],
) -> None:
    _, chain, _ = owned
    stranger = bittensor_core.Keypair.create_from_uri("//Alice")

    for intent in (
        bt.SetHyperparameter(netuid=NETUID, name="tempo", value=360),
        bt.StartCall(netuid=NETUID),
    ):
        with pytest.raises(ChainError, match="BadOrigin"):
            await chain.execute(intent, stranger, "meddling")


async def test_a_subnet_is_created_once_it_can_be_paid_and_started_once(
    owned: tuple[Devnet, SubtensorChain, bittensor_core.Keypair],
) -> None:
    devnet, chain, keypair = owned
    ledger = devnet.node.ledger
    before_rao = balance_rao(ledger, keypair.ss58_address)

    await chain.execute(bt.RegisterSubnet(hotkey_ss58=MINER.hotkey), keypair, "creating")
    paid_rao = before_rao - balance_rao(ledger, keypair.ss58_address)
    asleep = Subnet(ledger, 1).get("SubtokenEnabled")
    stake = bt.AddStake(hotkey_ss58=MINER.hotkey, netuid=1, amount_tao=5)
    with pytest.raises(ChainError, match="SubtokenDisabled"):
        await chain.execute(stake, keypair, "staking")
    await chain.execute(bt.StartCall(netuid=1), keypair, "starting")
    with pytest.raises(ChainError, match="FirstEmissionBlockNumberAlreadySet"):
        await chain.execute(bt.StartCall(netuid=1), keypair, "starting")
    await chain.execute(stake, keypair, "staking")

    assert (paid_rao, asleep) == (rao_from_tao(1_000), False)
    assert devnet.node.netuids == [NETUID, 1]
    assert Subnet(ledger, 1).hotkeys() == [MINER.hotkey]
    assert Subnet(ledger, 1).stake_rao(MINER.hotkey) == rao_from_tao(5)
    set_balance(ledger, keypair.ss58_address, rao_from_tao(1_999))
    with pytest.raises(ChainError, match="CannotAffordLockCost"):
        await chain.execute(bt.RegisterSubnet(hotkey_ss58=MINER.hotkey), keypair, "creating")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"amount_staked": 1}, "AmountTooLow"),
        ({"amount_staked": rao_from_tao(10**7)}, "NotEnoughBalanceToStake"),
        ({"netuid": 9}, "SubnetNotExists"),
        ({"hotkey": STRANGER.hotkey}, "HotKeyAccountNotExists"),
        ({"limit_price": 10**9 - 1}, "SlippageTooHigh"),
    ],
)
async def test_stake_is_refused_as_the_chain_does(
    owned: tuple[Devnet, SubtensorChain, bittensor_core.Keypair],
    changes: dict[str, object],
    error: str,
) -> None:
    _, chain, keypair = owned
    call = {
        "hotkey": MINER.hotkey,
        "netuid": NETUID,
        "amount_staked": rao_from_tao(1),
        "limit_price": 10**9,
        "allow_partial": False,
        **changes,
    }

    with pytest.raises(ChainError, match=error):
        await chain.submit(("SubtensorModule", "add_stake_limit", call), keypair, "staking")
