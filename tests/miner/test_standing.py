"""What a running miner shows of itself: status, page, metrics, and nothing before its time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from miner.metrics import Metrics
from miner.outcome import Ending, Outcome
from miner.reach import knock, refuse_twin, trouble_at
from miner.refusals import CounterResetError
from miner.server import create_app
from miner.standing import Standing
from miner.validator_logs import LogView
from miner.verdicts import Judgement
from miner.visits import Visits
from protocol.auth import MemoryNonceStore, RequestVerifier, SignedRequests
from protocol.chain import Axon
from protocol.errors import ConfigurationError
from protocol.http_server import HttpServer, bind
from protocol.ids import Coldkey, RoundNumber
from tests.support.keys import ALICE, BOB
from tests.support.miner import AXON, NETWORK, Stage

ROUND = RoundNumber(1)
START = NETWORK.schedule.start(ROUND)
DEADLINE = NETWORK.schedule.commit_deadline(ROUND)
JUDGEMENT = Judgement(
    validator=BOB.hotkey,
    round=ROUND,
    accepted=False,
    code="time_impossible",
    finding="time_impossible: <script>alert(1)</script>",
    advice="Check this machine's clock.",
    energy_wh_per_1k_output_tokens=None,
    score=0.5,
    average_score=0.25,
    weight_share=0.125,
)
VIEW = LogView(
    url="http://log.example", validator=BOB.hotkey, problem="", entries=2, judgements=(JUDGEMENT,)
)


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    """//Alice's miner, committed in round 1; //Bob validates."""
    stage = Stage(tmp_path)
    stage.world.ledger.register(BOB.hotkey, Coldkey(BOB.hotkey), permit=True, stake_tao=100.0)
    stage.move_to(START)
    await stage.follow_until(START + 60)
    return stage


@pytest.fixture
def standing(stage: Stage) -> Standing:
    return stage.standing()


@pytest.fixture
async def http(stage: Stage, standing: Standing) -> AsyncIterator[httpx.AsyncClient]:
    verifier = RequestVerifier(self_hotkey=ALICE.hotkey, nonces=MemoryNonceStore())
    transport = httpx.ASGITransport(create_app(standing, stage.archive, verifier))
    async with httpx.AsyncClient(transport=transport, base_url="http://miner") as client:
        yield client


async def reveal(stage: Stage) -> None:
    stage.move_to(DEADLINE + 1)
    await stage.session.begin()


async def scraped(http: httpx.AsyncClient) -> dict[str, float]:
    """Every sample by its name and labels."""
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        " ".join([sample.name.removeprefix("carbonbench_miner_"), *sample.labels.values()]): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_energy_and_duration_stay_sealed_until_the_deadline(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    before, counted = await scraped(http), (await http.get("/v1/status")).json()
    await reveal(stage)
    after, revealed = await scraped(http), (await http.get("/v1/status")).json()

    assert before["rounds_total  committed"] == after["rounds_total  committed"] == 1
    assert (before["energy_joules_total"], after["energy_joules_total"]) == (0, 150)
    assert (before["run_seconds_count"], after["run_seconds_count"]) == (0, 1)
    assert counted["last_rounds"][0]["energy_mj"] is None
    assert revealed["last_rounds"][0]["energy_mj"] == 150_000


def test_rounds_are_counted_and_forgotten_where_nobody_scrapes() -> None:
    metrics = Metrics(Visits())
    for number in range(100):
        metrics.tell(
            Outcome(
                round=RoundNumber(number),
                ending=Ending.COMMITTED,
                code="",
                detail="",
                model_id="m",
                report_digest="",
                energy_mj=1_000,
                run_us=1,
            )
        )

    assert len(metrics._sealed) == 1
    assert metrics._registry.get_sample_value("carbonbench_miner_energy_joules_total") == 99


async def test_metrics_tell_chain_registration_and_state(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    stage.world.now_seconds += 7

    found = await scraped(http)

    assert found["block"] == stage.session.block
    assert found["chain_age_seconds"] >= 7
    assert (found["registered"], found["last_committed_round"]) == (1, 1)
    assert (found["state committed"], found["state measuring"]) == (1, 0)


async def test_a_refused_round_is_counted_by_its_reason(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.meter.refusal = CounterResetError("the counter restarted")
    stage.move_to(START)
    await stage.follow_until(START + 60)

    scrape = stage.standing().metrics.scrape(stage.session).decode()

    sample = 'carbonbench_miner_rounds_total{code="counter_reset",ending="refused"} 1.0'
    assert sample in scrape


async def test_who_has_asked_for_what_is_shown(stage: Stage, http: httpx.AsyncClient) -> None:
    auth = SignedRequests(BOB, ALICE.hotkey)
    await http.get("/v1/profile", auth=auth)
    await http.get(f"/v1/rounds/{ROUND}/commitment", auth=auth)
    await http.get(f"/v1/rounds/{ROUND}/report", auth=auth)  # sealed: nothing was given

    status = (await http.get("/v1/status")).json()

    asked = {"validator": BOB.hotkey, "last_block": stage.session.block}
    assert status["asked_by"] == [asked | {"profile": 1, "commitment": 1}]
    assert (await scraped(http))[f"answers {BOB.hotkey} commitment"] == 1


async def test_verdicts_are_shown_counted_and_logged_once(
    standing: Standing, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = iter([(replace(VIEW, judgements=()),), (VIEW,), (VIEW,)])

    async def read(*_: object) -> tuple[LogView, ...]:
        return next(views)

    async def pause(_duration_seconds: float) -> None:
        if standing.logs == (VIEW,) and len(pauses) == 2:
            raise asyncio.CancelledError
        pauses.append(_duration_seconds)

    pauses: list[float] = []
    monkeypatch.setattr("miner.standing.read_logs", read)
    with structlog.testing.capture_logs() as events, pytest.raises(asyncio.CancelledError):
        await standing.follow_logs(pause)

    found = await scraped(http)
    told = [event for event in events if event["event"] == "verdict_read"]
    assert [event["code"] for event in told] == ["time_impossible"]
    assert (found[f"verdict_round {BOB.hotkey}"], found[f"verdict_accepted {BOB.hotkey}"]) == (1, 0)
    assert (found[f"average_score {BOB.hotkey}"], found[f"weight_share {BOB.hotkey}"]) == (
        0.25,
        0.125,
    )
    assert found["log_up http://log.example"] == 1


async def test_the_page_says_it_all_and_runs_nothing(
    standing: Standing, http: httpx.AsyncClient
) -> None:
    gone = replace(VIEW, url="http://gone.example", problem="no answer", judgements=())
    standing.logs = (VIEW, gone)

    page = await http.get("/status")

    assert ALICE.hotkey in page.text
    assert "time_impossible: &lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert "no answer" in page.text
    assert "No validator has called" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_an_announced_address_is_called_from_here(stage: Stage, standing: Standing) -> None:
    verifier = RequestVerifier(self_hotkey=ALICE.hotkey, nonces=MemoryNonceStore())
    server = HttpServer(create_app(standing, stage.archive, verifier))
    listener = bind("127.0.0.1", 0, variable="MINER_PORT")
    here = Axon(ip="127.0.0.1", port=listener.getsockname()[1])
    running = asyncio.create_task(server.run_on(listener))
    try:
        assert await trouble_at(here, ALICE.hotkey) == ""
        assert (await trouble_at(here, BOB.hotkey)).startswith("another miner answers")
        stage.world.ledger.change(ALICE.hotkey, axon=here)
        await refuse_twin(stage.chain, here, ALICE.hotkey)
        await refuse_twin(stage.chain, AXON, BOB.hotkey)
        with pytest.raises(ConfigurationError, match="is running at") as refusal:
            await refuse_twin(stage.chain, AXON, ALICE.hotkey)
        assert "Stop that one" in refusal.value.hint
    finally:
        server.stop()
        await running
    assert "try `curl" in await trouble_at(here, ALICE.hotkey)
    await refuse_twin(stage.chain, AXON, ALICE.hotkey)


async def test_a_connection_that_arrives_elsewhere_proves_nothing() -> None:
    with (
        bind("127.0.0.1", 0, variable="MINER_PORT") as ours,
        bind("127.0.0.1", 0, variable="MINER_PORT") as other,
    ):
        here, there = (
            Axon(ip="127.0.0.1", port=listener.getsockname()[1]) for listener in (ours, other)
        )

        assert await knock(here, ours) == ""
        other.close()
        assert "proves nothing" in await knock(there, ours)
