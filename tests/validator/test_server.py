"""The log server: what it serves, and how it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from protocol.canonical import canonical_bytes
from protocol.http_server import bind
from protocol.ids import RoundNumber
from protocol.messages import Report, RoundRecord, TreeHead, Verdict
from protocol.signing import Signed, verify
from tests.support.behaviours import OtherModel, Shades
from tests.support.simulator import NETWORK, SimulatedMiner
from tests.support.validator import Simulation
from validator.server import create_app
from validator.status import Observer


class Served:
    """A validator after a round, behind its server."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        observer = Observer(
            validator=simulation.signer.hotkey, schedule=NETWORK.schedule, store=simulation.store
        )
        app = create_app(
            simulation.log, simulation.store, lambda: observer.at(simulation.clock.head.number)
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://validator")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    miners = [
        SimulatedMiner("ann"),
        SimulatedMiner("ben"),
        SimulatedMiner("cat"),
        SimulatedMiner("shade", Shades()),
        SimulatedMiner("cheap", OtherModel()),
    ]
    up = Served(Simulation(miners, tmp_path))
    yield up
    await up.http.aclose()
    up.simulation.store.close()


async def test_health_needs_no_round(served: Served) -> None:
    answer = await served.http.get("/healthz")

    assert answer.json() == {"status": "ok"}


async def test_an_empty_log_has_no_head_and_no_entries(served: Served) -> None:
    head = await served.http.get("/v1/log/head")
    entries = await served.http.get("/v1/log/entries")

    assert (head.status_code, head.json()["code"]) == (404, "empty_log")
    assert entries.json() == {"start": 0, "size": 0, "entries": []}


async def test_head_and_entries_verify_as_signed_messages(served: Served) -> None:
    await served.simulation.play(1)
    hotkey = served.simulation.signer.hotkey

    head = Signed[TreeHead].model_validate_json((await served.http.get("/v1/log/head")).content)
    page = (await served.http.get("/v1/log/entries?start=0&limit=500")).json()

    assert verify(head, hotkey=hotkey).size == page["size"] == len(page["entries"]) == 6
    for entry in page["entries"][:5]:
        verify(Signed[Verdict].model_validate(entry, strict=False), hotkey=hotkey)
    record = Signed[RoundRecord].model_validate(page["entries"][5], strict=False)
    assert verify(record, hotkey=hotkey).round == 1


async def test_proofs_are_served(served: Served) -> None:
    await served.simulation.play(1)

    inclusion = (await served.http.get("/v1/log/inclusion?index=2&size=6")).json()
    consistency = (await served.http.get("/v1/log/consistency?old=4&new=6")).json()

    assert inclusion["proof"] == list(served.simulation.log.inclusion(2, 6).proof)
    assert len(inclusion["root"]) == len(inclusion["leaf"]) == 64
    assert consistency == {
        "old": 4,
        "new": 6,
        "proof": list(served.simulation.log.consistency(4, 6)),
    }


async def test_a_report_is_served_as_it_was_revealed(served: Served) -> None:
    await served.simulation.play(1)
    verdict = served.simulation.verdict("ann", 1)

    answer = await served.http.get(f"/v1/reports/{verdict.report_digest}")

    report = Signed[Report].model_validate_json(answer.content)
    assert answer.content == canonical_bytes(report)
    assert verify(report, hotkey=verdict.miner).round == 1
    assert "immutable" in answer.headers["cache-control"]


async def test_the_status_tells_where_the_round_stands_and_why_miners_scored(
    served: Served,
) -> None:
    await served.simulation.play(1)

    status = (await served.http.get("/v1/status")).json()

    expected = {"round": 1, "miners": 5, "committed": 5, "revealed": 5, "verdicts": 5}
    assert {name: status[name] for name in expected} == expected
    assert status["validator"] == served.simulation.signer.hotkey
    assert (status["last_scored_round"], status["log_size"]) == (1, 6)
    assert status["last_weights_block"] == served.simulation.store.last_weights_block()
    reasons = sorted(result["reason"].split(":")[0] for result in status["last_results"])
    assert reasons == ["accepted"] * 3 + ["accepted; energy_outlier", "token_proof_failed"]


async def test_before_any_round_the_status_is_empty(served: Served) -> None:
    status = (await served.http.get("/v1/status")).json()

    assert (status["last_scored_round"], status["last_weights_block"]) == (None, None)
    assert (status["miners"], status["log_size"], status["last_results"]) == (0, 0, [])


async def test_anybody_may_read_from_any_page(served: Served) -> None:
    answer = await served.http.get("/healthz", headers={"Origin": "https://example.org"})

    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/v1/status", 405, "method_not_allowed"),
        ("GET", "/v1/reports/xyz", 400, "malformed"),
        ("GET", "/v1/reports/" + "0" * 64, 404, "no_report"),
        ("GET", "/v1/log/entries?limit=501", 400, "malformed"),
        ("GET", "/v1/log/entries?start=-1", 400, "malformed"),
        ("GET", "/v1/log/entries?start=" + "9" * 400, 400, "malformed"),
        ("GET", "/v1/log/inclusion?index=0&size=9", 404, "no_such_entry"),
        ("GET", "/v1/log/inclusion?index=0", 400, "malformed"),
        ("GET", "/v1/log/consistency?old=0&new=0", 404, "no_such_size"),
        ("GET", "/healthz?" + "x" * 3_000, 414, "oversized"),
    ],
)
async def test_refusals_are_problem_documents(
    served: Served, method: str, path: str, status: int, code: str
) -> None:
    answer = await served.http.request(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert set(problem) == {"type", "title", "status", "detail", "code", "hint"}


async def test_bodies_and_huge_headers_are_refused(served: Served) -> None:
    body = await served.http.request("GET", "/healthz", content=b"x" * 100)
    header = await served.http.get("/healthz", headers={"X-Long": "x" * 20_000})

    assert (body.status_code, header.status_code) == (413, 431)


async def test_a_database_that_is_gone_is_no_stack_trace(served: Served, tmp_path: Path) -> None:
    await served.simulation.play(1)
    served.simulation.store.close()
    for file in tmp_path.glob("validator.db*"):
        file.unlink()

    answer = await served.http.get("/v1/status")

    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"


def test_a_busy_port_is_one_clear_line() -> None:
    with bind("127.0.0.1", 0, variable="VALIDATOR_PORT") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Exception, match=f"port {port}") as caught:
            bind("127.0.0.1", port, variable="VALIDATOR_PORT")

    assert "VALIDATOR_PORT" in getattr(caught.value, "hint", "")


async def test_the_current_round_has_its_own_counts(served: Served) -> None:
    await served.simulation.play(1)
    await served.simulation.play_until(2, NETWORK.schedule.start(RoundNumber(2)) + 5)

    status = (await served.http.get("/v1/status")).json()

    assert (status["round"], status["phase"]) == (2, "measuring")
    assert (status["committed"], status["revealed"], status["verdicts"]) == (5, 0, 0)
