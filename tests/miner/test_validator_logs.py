"""Reading validators' logs: honest ones, absent ones, and ones that lie."""

from dataclasses import replace

import httpx
import pytest

from miner.validator_logs import LogAddress, addresses, announced_logs, read_logs
from protocol.chain import Axon
from protocol.ids import Coldkey
from protocol.networks import DEVNET, TESTNET
from tests.support.chain import FakeChain, FakeLedger
from tests.support.factories import MINER
from tests.support.keys import ALICE, BOB, CHARLIE
from tests.support.log import DevLog

URL = "http://validator.example:8092"
ADDRESS = LogAddress(url=URL, validator=None)


def served(log: DevLog) -> httpx.MockTransport:
    return httpx.MockTransport(log.answer)


def played(rounds: int) -> DevLog:
    log = DevLog()
    for _ in range(rounds):
        log.add_round([])
    return log


def page(entry: bytes) -> httpx.Response:
    return httpx.Response(200, content=b'{"size": 1, "entries": [' + entry + b"]}")


async def test_the_newest_verdicts_are_read() -> None:
    (view,) = await read_logs(MINER.hotkey, [ADDRESS], transport=served(played(3)))

    assert (view.problem, view.entries, view.validator) == ("", 6, ALICE.hotkey)
    assert [one.round for one in view.judgements] == [3, 2, 1]


async def test_a_long_log_is_read_from_its_end() -> None:
    log = played(3)
    log.entries = [*log.entries[:2]] * 2_500 + log.entries[4:]

    (view,) = await read_logs(MINER.hotkey, [ADDRESS], transport=served(log))

    assert view.entries == 5_002
    assert [one.round for one in view.judgements] == [3, 1]
    assert len(log.requests) == 5


async def test_an_empty_log_has_nothing_to_say() -> None:
    (view,) = await read_logs(MINER.hotkey, [ADDRESS], transport=served(DevLog()))

    assert (view.problem, view.judgements) == ("", ())


async def test_a_log_of_another_validator_than_announced_is_not_believed() -> None:
    address = LogAddress(url=URL, validator=CHARLIE.hotkey)

    (view,) = await read_logs(MINER.hotkey, [address], transport=served(played(1)))

    assert view.problem.startswith("an entry is not to be believed")
    assert view.judgements == ()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (httpx.Response(503), "no answer"),
        (httpx.Response(302, headers={"Location": "http://127.0.0.1/"}), "no answer"),
        (httpx.Response(200, text="<html>"), "this is no validator's log"),
        (httpx.Response(200, json=[1]), "this is no validator's log"),
        (httpx.Response(200, json={"size": "many"}), "this is no validator's log"),
        (httpx.Response(200, json={"size": 1, "entries": 5}), "this is no validator's log"),
        (httpx.Response(200, json={"size": 1, "entries": [{}]}), "an entry is not to be believed"),
        (httpx.Response(200, content=b" " * (64 * 2**20 + 1)), "this is no validator's log"),
        (httpx.Response(200, content=b"[" * 10**6), "this is no validator's log"),
        (page(b'{"payload": {"kind": "verdict", "x": 1.5}}'), "an entry is not to be believed"),
        (page(b'{"payload": {"kind": "verdict", "x": 1e999}}'), "an entry is not to be believed"),
        (page(b'{"payload": {"kind": "round", "x": "\\ud800"}}'), "an entry is not to be believed"),
        (page(b"[" * 900 + b"]" * 900), "an entry is not to be believed"),
    ],
)
async def test_what_is_no_log_is_said_and_the_others_are_read_all_the_same(
    answer: httpx.Response, problem: str
) -> None:
    log = played(1)

    def respond(request: httpx.Request) -> httpx.Response:
        return answer if request.url.host == "other.example" else log.answer(request)

    other = LogAddress(url="http://other.example", validator=None)
    broken, good = await read_logs(
        MINER.hotkey, [other, ADDRESS], transport=httpx.MockTransport(respond)
    )

    assert broken.problem.startswith(problem)
    assert good.judgements


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://a:b", "ftp://x", "log"])
async def test_an_absent_validator_is_said(url: str) -> None:
    (view,) = await read_logs(MINER.hotkey, [LogAddress(url=url, validator=None)])

    assert view.problem.startswith("no answer")


async def test_logs_are_found_on_chain_where_they_may_be_called() -> None:
    ledger = FakeLedger()
    for signer, axon, permit in (
        (ALICE, Axon(ip="8.8.8.8", port=8092), True),
        (BOB, Axon(ip="127.0.0.1", port=8093), True),
        (CHARLIE, Axon(ip="8.8.4.4", port=8094), False),
    ):
        ledger.register(signer.hotkey, Coldkey(signer.hotkey), permit=permit)
        ledger.change(signer.hotkey, axon=axon)

    metagraph = await FakeChain(ledger, hotkey=ALICE.hotkey).metagraph()

    real = announced_logs(metagraph, TESTNET)
    local = announced_logs(metagraph, DEVNET)

    assert real == (LogAddress(url="http://8.8.8.8:8092", validator=ALICE.hotkey),)
    assert {log.validator for log in local} == {ALICE.hotkey, BOB.hotkey}


def test_an_address_that_is_named_and_announced_is_read_once() -> None:
    announced = LogAddress(url=URL, validator=ALICE.hotkey)

    found = addresses([f"{URL}/", "http://second.example"], [announced])

    assert found == (announced, replace(ADDRESS, url="http://second.example"))
