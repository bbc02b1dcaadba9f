"""Metrics, and the dashboard and alerts that hang on their names."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from tests.support.keys import ALICE
from tests.support.simulator import NETWORK, SimulatedMiner
from tests.support.validator import Simulation
from validator.follower import HeadClock
from validator.metrics import Metrics, Sources
from validator.miners import HttpMiners
from validator.server import create_app
from validator.status import Observer
from validator.watch import Watch

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
NAME = re.compile(r"carbonbench_validator_\w+")


@dataclass
class Scraped:
    """A validator after a round, and its figures."""

    simulation: Simulation
    watch: Watch
    metrics: Metrics

    def figures(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.metrics.scrape().decode())
        return {
            sample.name + "".join(f":{value}" for value in sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }


@pytest.fixture
async def scraped(tmp_path: Path) -> AsyncIterator[Scraped]:
    simulation = Simulation([SimulatedMiner(name) for name in ("ann", "ben")], tmp_path)
    clock = await HeadClock.started(simulation.chain, 1.0)
    observer = Observer(
        validator=simulation.signer.hotkey, schedule=NETWORK.schedule, store=simulation.store
    )
    watch = Watch(simulation.chain, clock, simulation.signer.hotkey, NETWORK.schedule)
    miners = HttpMiners(ALICE, allow_private=True)
    miners.outcomes.update(["ok", "ok", "unreachable"])
    sources = Sources(
        status=lambda: observer.at(clock.head.number),
        clock=clock,
        watch=watch,
        store=simulation.store,
        miners=miners,
        connection_count=lambda: 3,
    )
    await simulation.play(1)
    await clock.look()
    yield Scraped(simulation, watch, Metrics(sources))
    simulation.store.close()


async def test_figures_are_those_of_the_round_and_the_chain(scraped: Scraped) -> None:
    await scraped.watch.look()

    figures = scraped.figures()

    prefix = "carbonbench_validator_"
    expected = {
        "registered": 1,
        "permit": 1,
        "stake_tao": 1_000,
        "weights_overdue": 0,
        "last_scored_round": 1,
        "log_entries": 3,
        "chain_connections_total": 3,
        "miner_requests_total:ok": 2,
        "miner_requests_total:unreachable": 1,
        "weight_attempts_total:set": 1,
        "weight_attempts_total:refused": 0,
    }
    assert {name: figures[prefix + name] for name in expected} == expected
    assert figures[prefix + "weights_age_blocks"] < figures[prefix + "weights_due_blocks"]


async def test_what_is_not_known_yet_is_left_out(scraped: Scraped) -> None:
    figures = scraped.figures()

    assert "carbonbench_validator_weights_overdue" not in figures
    assert "carbonbench_validator_permit" not in figures
    assert figures["carbonbench_validator_block"] > 0


async def test_the_log_server_serves_them(scraped: Scraped) -> None:
    simulation = scraped.simulation
    app = create_app(simulation.log, simulation.store, lambda: None, metrics=scraped.metrics.scrape)  # type: ignore[arg-type,return-value]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://validator") as http:
        answer = await http.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"carbonbench_validator_block" in answer.content


@pytest.mark.parametrize("name", ["grafana-validator.json", "alerts.yaml"])
async def test_dashboard_and_alerts_name_only_what_is_there(scraped: Scraped, name: str) -> None:
    await scraped.watch.look()
    there = {figure.partition(":")[0] for figure in scraped.figures()}

    named = set(NAME.findall((MONITORING / name).read_text()))

    assert named
    assert named <= there


def test_dashboard_and_alerts_are_well_formed() -> None:
    dashboard = json.loads((MONITORING / "grafana-validator.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]

    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities) >= 12
    assert all(panel["targets"][0]["expr"] for panel in dashboard["panels"])
    assert all(rule["annotations"]["action"] and rule["labels"]["severity"] for rule in rules)
