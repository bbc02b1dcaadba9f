"""The miner's HTTP face, over ASGI, with real signatures."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from miner.server import CALLER_BURST, MAX_BODY_BYTES, create_app
from protocol.auth import MemoryNonceStore, RequestVerifier, SignedRequests, sign_request
from protocol.errors import ConfigurationError, StoreError
from protocol.http_server import HttpServer, bind
from protocol.ids import Coldkey, RoundNumber
from protocol.messages import Commitment, Profile, Report
from protocol.signing import Signed, verify
from tests.support.keys import ALICE, BOB, CHARLIE
from tests.support.miner import NETWORK, Stage

ROUND = RoundNumber(1)
START = NETWORK.schedule.start(ROUND)
DEADLINE = NETWORK.schedule.commit_deadline(ROUND)
COMMITMENT = f"/v1/rounds/{ROUND}/commitment"
REPORT = f"/v1/rounds/{ROUND}/report"


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    """//Alice's miner, committed in round 1; //Bob validates; //Charlie only mines."""
    stage = Stage(tmp_path)
    stage.world.ledger.register(BOB.hotkey, Coldkey(BOB.hotkey), permit=True, stake_tao=100.0)
    stage.world.ledger.register(CHARLIE.hotkey, Coldkey(CHARLIE.hotkey))
    stage.move_to(START)
    await stage.follow_until(START + 60)
    return stage


@pytest.fixture
async def http(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the miner's application."""
    verifier = RequestVerifier(self_hotkey=ALICE.hotkey, nonces=MemoryNonceStore())
    app = create_app(stage.standing(), stage.archive, verifier)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://miner") as client:
        yield client


BOBS = SignedRequests(BOB, ALICE.hotkey)


async def reveal(stage: Stage) -> None:
    stage.move_to(DEADLINE + 1)
    await stage.session.begin()


def problem_code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document.keys() == {"type", "title", "status", "detail", "code", "hint"}
    assert document["status"] == answer.status_code
    return str(document["code"])


async def test_anyone_may_ask_for_health_and_status(http: httpx.AsyncClient) -> None:
    health = await http.get("/healthz")
    status = (await http.get("/v1/status")).json()

    assert health.json() == {"status": "ok"}
    assert (status["hotkey"], status["round"], status["phase"]) == (ALICE.hotkey, 1, "measuring")
    assert status["state"] == "committed"
    assert status["last_rounds"][0]["ending"] == "committed"


async def test_a_validator_reads_profile_commitment_and_report(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    await reveal(stage)

    profile = await http.get("/v1/profile", auth=BOBS)
    commitment = await http.get(COMMITMENT, auth=BOBS)
    report = await http.get(REPORT, auth=BOBS)

    signed_profile = Signed[Profile].model_validate_json(profile.content)
    signed_commitment = Signed[Commitment].model_validate_json(commitment.content)
    signed_report = Signed[Report].model_validate_json(report.content)
    assert verify(signed_profile, hotkey=ALICE.hotkey).hotkey == ALICE.hotkey
    assert verify(signed_commitment, hotkey=ALICE.hotkey).round == ROUND
    assert verify(signed_report, hotkey=ALICE.hotkey).round == ROUND


async def test_a_report_stays_sealed_until_the_deadline_has_passed(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    early = await http.get(REPORT, auth=BOBS)
    await reveal(stage)
    late = await http.get(REPORT, auth=BOBS)

    assert (early.status_code, problem_code(early)) == (409, "wrong_round")
    assert late.status_code == 200


async def test_rounds_without_commitment_or_report_are_not_found(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    commitment = await http.get("/v1/rounds/0/commitment", auth=BOBS)
    report = await http.get("/v1/rounds/0/report", auth=BOBS)

    assert (commitment.status_code, problem_code(commitment)) == (404, "no_commitment")
    assert (report.status_code, problem_code(report)) == (404, "no_report")


async def test_an_uncommitted_report_is_never_shown(stage: Stage, http: httpx.AsyncClient) -> None:
    (stage.archive._round(ROUND) / "commitment.json").unlink()
    await reveal(stage)

    answer = await http.get(REPORT, auth=BOBS)

    assert (answer.status_code, problem_code(answer)) == (404, "no_report")


@pytest.mark.parametrize("path", ["/v1/profile", COMMITMENT, REPORT])
async def test_nobody_reads_unsigned(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)

    assert (answer.status_code, problem_code(answer)) == (401, "malformed")


@pytest.mark.parametrize("path", ["/v1/profile", COMMITMENT, REPORT])
async def test_a_hotkey_without_permit_is_refused(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, auth=SignedRequests(CHARLIE, ALICE.hotkey))

    assert (answer.status_code, problem_code(answer)) == (403, "not_permitted")


async def test_a_request_for_another_miner_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.get(COMMITMENT, auth=SignedRequests(BOB, CHARLIE.hotkey))

    assert (answer.status_code, problem_code(answer)) == (403, "not_permitted")


async def test_a_caller_that_asks_too_often_is_put_off_and_delays_nobody(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    answers = [await http.get("/v1/profile", auth=BOBS) for _ in range(CALLER_BURST + 40)]
    late = [answer for answer in answers if answer.status_code != 200]

    assert problem_code(late[-1]) == "rate_limited"
    assert {answer.status_code for answer in late} == {429}
    assert int(late[-1].headers["retry-after"]) == 1
    other = await http.get("/v1/profile", auth=SignedRequests(CHARLIE, ALICE.hotkey))
    assert problem_code(other) == "not_permitted"


async def test_a_replayed_request_is_refused(http: httpx.AsyncClient) -> None:
    headers = sign_request(BOB, method="GET", target=COMMITMENT, body=b"", receiver=ALICE.hotkey)

    first = await http.get(COMMITMENT, headers=headers)
    again = await http.get(COMMITMENT, headers=headers)

    assert first.status_code == 200
    assert (again.status_code, problem_code(again)) == (401, "replayed")


async def test_a_signature_for_another_target_is_refused(http: httpx.AsyncClient) -> None:
    headers = sign_request(BOB, method="GET", target=COMMITMENT, body=b"", receiver=ALICE.hotkey)

    answer = await http.get(REPORT, headers=headers)

    assert (answer.status_code, problem_code(answer)) == (401, "signature_invalid")


async def test_nobody_is_admitted_on_a_stale_metagraph(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    stage.world.now_seconds += 3_600

    answer = await http.get(COMMITMENT, auth=BOBS)

    assert (answer.status_code, problem_code(answer)) == (403, "not_permitted")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/healthz?" + "x" * 3_000, 414, "oversized"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
    ],
)
async def test_what_is_not_offered_is_a_problem(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await http.request(method, path)

    assert (answer.status_code, problem_code(answer)) == (status, code)


@pytest.mark.parametrize("number", ["x", "-1", "1.5", str(2**53), "9" * 400])
async def test_a_round_that_is_no_number_is_malformed(http: httpx.AsyncClient, number: str) -> None:
    answer = await http.get(f"/v1/rounds/{number}/commitment", auth=BOBS)

    assert (answer.status_code, problem_code(answer)) == (400, "malformed")


async def test_an_oversized_body_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.request("GET", COMMITMENT, content=b"x" * (MAX_BODY_BYTES + 1), auth=BOBS)

    assert (answer.status_code, problem_code(answer)) == (413, "oversized")


async def test_oversized_headers_are_refused(http: httpx.AsyncClient) -> None:
    answer = await http.get("/healthz", headers={"X-Long": "x" * 20_000})

    assert (answer.status_code, problem_code(answer)) == (431, "oversized")


@pytest.mark.parametrize("error", [StoreError("/secret/path is gone"), ValueError("a secret")])
async def test_a_failure_of_ours_tells_nothing(
    stage: Stage, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(stage.archive, "outcomes", fail)

    answer = await http.get("/v1/status")

    assert (answer.status_code, problem_code(answer)) == (500, "internal")
    assert "secret" not in answer.text


def test_a_busy_port_is_named() -> None:
    with bind("127.0.0.1", 0, variable="MINER_PORT") as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"port {port}") as refusal:
            bind("127.0.0.1", port, variable="MINER_PORT")

    assert "--port" in refusal.value.hint


async def test_a_server_ends_when_told_and_frees_its_port(stage: Stage) -> None:
    import asyncio

    verifier = RequestVerifier(self_hotkey=ALICE.hotkey, nonces=MemoryNonceStore())
    server = HttpServer(create_app(stage.standing(), stage.archive, verifier))
    listener = bind("127.0.0.1", 0, variable="MINER_PORT")
    port = listener.getsockname()[1]
    running = asyncio.create_task(server.run_on(listener))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/healthz")

    server.stop()
    await running

    assert answer.status_code == 200
    bind("127.0.0.1", port, variable="MINER_PORT").close()
