"""`carbonbench-miner status`: where the miner stands and what validators made of its reports.

It asks the running miner, the chain and the validators' logs, and does without whatever of them
is away: kept outcomes are read from the data folder then.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miner.archive import FileArchive, rounds_folder
from miner.outcome import Outcome
from miner.reach import trouble_at
from miner.reporting import Identity
from miner.settings import Settings
from miner.validator_logs import LogView, addresses, announced_logs, read_logs
from protocol.chain import Metagraph
from protocol.errors import Error
from protocol.ids import Hotkey
from protocol.subtensor import SubtensorChain
from protocol.wallet import load_wallet

_TIMEOUT_SECONDS = 5.0
_SHOWN_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Everything that could be found out."""

    hotkey: Hotkey
    uid: int | None
    """None when the hotkey is not registered, or the chain is away."""
    node: dict[str, Any] | None
    """What the running miner says of itself; None when it does not answer."""
    last_rounds: tuple[Outcome, ...]
    logs: tuple[LogView, ...]
    problems: tuple[str, ...]
    """What is wrong with this miner, in words; empty when all is well."""
    notes: tuple[str, ...]
    """What could not be asked of others."""

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return asdict(self)


async def report_status(settings: Settings) -> StatusReport:
    """Ask the miner, the chain and the validators.

    Raises:
        ConfigurationError: If the hotkey cannot be read.
    """
    signer = load_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
    problems: list[str] = []
    node = await _asked_node(settings)
    if node is None:
        problems.append(f"no miner answers at {_own_url(settings)}: it is not running here")
    elif node.get("hotkey") != signer.hotkey:
        problems.append(f"the miner at {_own_url(settings)} is another one: {node.get('hotkey')}")
    metagraph, outcomes = await _asked_chain(settings, signer.hotkey, problems)
    announced = announced_logs(metagraph, settings.profile) if metagraph else ()
    logs = await read_logs(signer.hotkey, addresses(settings.validator_logs, announced))
    neuron = metagraph.by_hotkey(signer.hotkey) if metagraph else None
    if metagraph and neuron is None:
        problems.append("the hotkey is not registered: register it with btcli")
    if neuron and neuron.axon and (trouble := await trouble_at(neuron.axon, signer.hotkey)):
        problems.append(trouble)
    return StatusReport(
        hotkey=signer.hotkey,
        uid=neuron.uid if neuron else None,
        node=node,
        last_rounds=outcomes[:_SHOWN_ROUNDS],
        logs=logs,
        problems=tuple(problems),
        notes=_about_logs(logs),
    )


def print_status(report: StatusReport, console: Console) -> None:
    """The report as tables."""
    node = report.node or {}
    console.print(f"hotkey  {report.hotkey}, UID {'none' if report.uid is None else report.uid}")
    if node:
        console.print(
            f"miner   {node['state']}, block {node['block']}, round {node['round']}"
            f" ({node['phase']})"
        )
        for caller in node["asked_by"]:
            asked = ", ".join(f"{what} {caller[what]}" for what in sorted(caller.keys() - _CALLER))
            console.print(f"asked   by {caller['validator']}: {asked}")
    for problem in report.problems:
        console.print(f"[bold red]problem[/] {escape(problem)}")
    for note in report.notes:
        console.print(f"note    {escape(note)}")
    console.print(_rounds_table(report.last_rounds))
    console.print(_verdicts_table(report.logs))


_CALLER = {"validator", "last_block"}


def _rounds_table(outcomes: tuple[Outcome, ...]) -> Table:
    table = Table(title="Last rounds", title_justify="left")
    table.add_column("round", justify="right", no_wrap=True)
    table.add_column("ended", no_wrap=True)
    table.add_column("model, or reason", overflow="fold")
    for outcome in outcomes:
        reason = ": ".join(part for part in (outcome.code, outcome.detail) if part)
        table.add_row(str(outcome.round), outcome.ending, escape(reason or outcome.model_id))
    return table


def _verdicts_table(logs: tuple[LogView, ...]) -> Table:
    table = Table(title="What validators made of them", title_justify="left")
    table.add_column("round", justify="right", no_wrap=True)
    table.add_column("validator, finding, and what to do", overflow="fold")
    table.add_column("Wh / 1k\noutput", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    for view in logs:
        for one in view.judgements[:_SHOWN_ROUNDS]:
            words = [f"{one.validator}", one.finding, *([f"-> {one.advice}"] if one.advice else [])]
            energy = one.energy_wh_per_1k_output_tokens
            table.add_row(
                str(one.round),
                escape("\n".join(words)),
                "" if energy is None else f"{energy:.3g}",
                "" if one.score is None else f"{one.score:.2f}",
                "" if one.weight_share is None else f"{one.weight_share:.1%}",
            )
    return table


async def _asked_node(settings: Settings) -> dict[str, Any] | None:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
            found = (await http.get(f"{_own_url(settings)}/v1/status")).json()
    except (httpx.HTTPError, ValueError):
        return None
    return dict(found) if isinstance(found, Mapping) and "state" in found else None


def _own_url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{host}:{settings.port}"


async def _asked_chain(
    settings: Settings, hotkey: Hotkey, problems: list[str]
) -> tuple[Metagraph | None, tuple[Outcome, ...]]:
    """The subnet, and the outcomes kept for this chain."""
    netuid = settings.subnet()
    try:
        chain = await SubtensorChain.connect(
            endpoint=settings.chain_endpoint, netuid=netuid, signer=None
        )
        try:
            genesis_hash, metagraph = await chain.genesis_hash(), await chain.metagraph()
        finally:
            await chain.close()
    except Error as error:
        problems.append(f"{error}. {error.hint}".strip())
        return None, ()
    identity = Identity(genesis_hash=genesis_hash, netuid=netuid, hotkey=hotkey)
    folder = settings.data_dir.expanduser() / rounds_folder(identity)
    return metagraph, FileArchive(folder, keep_rounds=settings.keep_rounds).outcomes()


def _about_logs(logs: tuple[LogView, ...]) -> tuple[str, ...]:
    if not logs:
        return ("no validator's log is known: name one with MINER_VALIDATOR_LOGS or --log",)
    return tuple(f"the log at {view.url}: {view.problem}" for view in logs if view.problem)
