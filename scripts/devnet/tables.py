"""What the demo shows at its end, read back from the real parts.

Verdicts and scores come from the validator's signed log, weights from the chain through the
unmodified SDK, the ranking from the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from protocol.canonical import canonical_json, parse
from protocol.constants import LOG_ENTRY_MAX_BYTES
from protocol.ids import Hotkey, Uid
from protocol.messages import MinerScore, RoundRecord, Verdict
from protocol.networks import DEVNET
from protocol.signing import Signed, verify
from protocol.subtensor import SubtensorChain
from protocol.units import PPM_ONE, U16_MAX, wh_per_1k_from_uwh
from scripts.devnet.processes import ChildError
from scripts.devnet.stage import Stage
from validator.scoring import reason

_RANKING_ROWS = 5
_LOG_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRound:
    """The newest scored round in the validator's log."""

    record: RoundRecord
    verdicts: Mapping[str, Verdict]
    scores: Mapping[str, MinerScore]


async def print_tables(stage: Stage, console: Console) -> None:
    """Both tables, and where to look further."""
    last = await _last_round(stage)
    console.print()
    console.print(_miners_table(stage, last, await _weights(stage), await _models(stage)))
    console.print()
    console.print(await _ranking_table(stage))
    console.print()
    console.print("Every joule above is [bold]simulated[/bold]: the GPUs are; the tokens are real.")
    console.print(
        f"Ranking: {stage.api_url}/?regime=single&status=simulated   API: {stage.api_url}/docs"
    )
    console.print(f"Log: {stage.validator_url}/v1/log/head   Chain: {stage.endpoint}")


async def _last_round(stage: Stage) -> LastRound:
    """Verdicts and record of the newest round, each with its signature checked."""
    verdicts: dict[str, Verdict] = {}
    record: RoundRecord | None = None
    start, size = 0, 1
    while start < size:
        url = f"{stage.validator_url}/v1/log/entries"
        page = await stage.get(url, start=start, limit=_LOG_PAGE)
        size = int(page["size"])
        for entry in page["entries"]:
            message = _verified(entry, stage.validator_hotkey)
            if isinstance(message, RoundRecord):
                record = message
            else:
                verdicts[message.miner] = message
        start += len(page["entries"])
    if record is None:
        raise ChildError("the validator's log holds no scored round")
    return LastRound(
        record=record,
        verdicts={miner: found for miner, found in verdicts.items() if found.round == record.round},
        scores={score.miner: score for score in record.scores},
    )


def _verified(entry: dict[str, Any], validator: Hotkey) -> Verdict | RoundRecord:
    data = canonical_json(entry)
    if entry["payload"]["kind"] == "round":
        record = parse(Signed[RoundRecord], data, max_bytes=LOG_ENTRY_MAX_BYTES)
        return verify(record, hotkey=validator)
    verdict = parse(Signed[Verdict], data, max_bytes=LOG_ENTRY_MAX_BYTES)
    return verify(verdict, hotkey=validator)


async def _weights(stage: Stage) -> dict[Hotkey, float]:
    """Share of each hotkey in the validator's weights, read from the chain."""
    netuid = DEVNET.netuid
    if netuid is None:
        raise ChildError("the devnet profile names no subnet")
    chain = await SubtensorChain.connect(endpoint=stage.endpoint, netuid=netuid, signer=None)
    try:
        metagraph = await chain.metagraph()
        validator = metagraph.by_hotkey(stage.validator_hotkey)
        if validator is None:
            raise ChildError("the validator holds no UID on chain")
        row = await chain.weights(validator.uid)
    finally:
        await chain.close()
    total = sum(row.values()) or U16_MAX
    return {neuron.hotkey: row.get(Uid(neuron.uid), 0) / total for neuron in metagraph.neurons}


async def _models(stage: Stage) -> dict[Hotkey, str]:
    """The model of each miner's newest run, in the miner's own words."""
    models = {}
    for miner in stage.miners:
        ended = (await stage.get(f"{miner.url}/v1/status"))["last_rounds"]
        models[miner.hotkey] = str(ended[0]["model_id"]).rpartition("/")[2] if ended else "-"
    return models


def _miners_table(
    stage: Stage, last: LastRound, weights: Mapping[Hotkey, float], models: Mapping[Hotkey, str]
) -> Table:
    table = Table(
        title=f"Miners after round {last.record.round} on {DEVNET.name} (simulated GPUs)",
        title_justify="left",
    )
    table.add_column("miner and model", no_wrap=True)
    table.add_column("Wh / 1k\noutput tokens", justify="right", no_wrap=True)
    table.add_column("verdict and reason", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("weight\non chain", justify="right", no_wrap=True)
    for miner in stage.miners:
        verdict, score = last.verdicts.get(miner.hotkey), last.scores.get(miner.hotkey)
        about = f"{miner.part.behaviour}\n{models[miner.hotkey]}"
        table.add_row(
            f"{miner.part.name}\n[dim]{about}[/dim]",
            _energy(verdict),
            _verdict(verdict, score),
            f"{score.report_score_ppm / PPM_ONE:.2f}" if score else "-",
            f"{weights.get(miner.hotkey, 0.0):.1%}",
        )
    burned = sum(weights.values()) - sum(weights.get(miner.hotkey, 0) for miner in stage.miners)
    table.caption = f"{burned:.1%} unearned, burned through the subnet owner's UID"
    return table


def _energy(verdict: Verdict | None) -> str:
    if verdict is None or verdict.energy_per_1k_output_tokens_uwh is None:
        return "-"
    return f"{wh_per_1k_from_uwh(verdict.energy_per_1k_output_tokens_uwh):#.3g}"


def _verdict(verdict: Verdict | None, score: MinerScore | None) -> str:
    text = reason(verdict, score)
    accepted = verdict is not None and verdict.outcome == "accepted"
    colour = "green" if accepted and text == "accepted" else "yellow" if accepted else "red"
    return f"[{colour}]{text}[/{colour}]"


async def _ranking_table(stage: Stage) -> Table:
    """The top of the API's ranking in the regime of the network's own figures."""
    answer = await stage.get(
        f"{stage.api_url}/api/v1/leaderboard",
        regime="single",
        status="simulated",
        limit=_RANKING_ROWS,
    )
    title = "The top of the API's ranking, regime single"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", no_wrap=True)
    table.add_column("model, provider, place", no_wrap=True)
    table.add_column("gCO2e / Mtok\noutput", justify="right", no_wrap=True)
    table.add_column("Wh /\nMtok", justify="right", no_wrap=True)
    table.add_column("g /\nkWh", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in answer["rows"]:
        table.add_row(*_ranking_row(row))
    if not answer["rows"]:
        raise ChildError("the API's ranking holds no row of this network")
    table.caption = "Intervals at 95 %; a rank range where intervals overlap"
    return table


def _ranking_row(row: dict[str, Any]) -> tuple[str, ...]:
    carbon, factors = row["carbon"], row["factors"]
    low, high = row["rank_low"], row["rank_high"]
    return (
        str(low) if low == high else f"{low}-{high}",
        f"{row['model']['name']}\n[dim]{row['provider']['name']}, {row['place']['name']}[/dim]",
        f"{carbon['value']:,.0f}\n[dim]{carbon['low']:,.0f} to {carbon['high']:,.0f}[/dim]",
        f"{factors['energy']['value']:,.0f}",
        f"{factors['grid']['value']:,.0f}",
        f"{row['status']}\n[dim]{factors['energy']['agreement']}[/dim]",
    )
