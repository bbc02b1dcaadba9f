"""The HTTP client: signed requests, bounded answers, rejections instead of exceptions."""

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from protocol.auth import MemoryNonceStore, RequestVerifier
from protocol.canonical import canonical_bytes
from protocol.chain import Axon
from protocol.constants import COMMITMENT_MAX_BYTES, ENVELOPE_MAX_BYTES
from protocol.errors import Rejection, RejectionCode
from protocol.ids import Hotkey, RoundNumber
from protocol.signing import sign
from tests.protocol.test_addresses import HOSTILE
from tests.support import factories
from tests.support.keys import ALICE, BOB, DevSigner
from validator.miners import HttpMiners

AXON = Axon(ip="127.0.0.1", port=8091)
ROUND = RoundNumber(factories.ROUND)
PROFILE = sign(factories.profile(), BOB)
COMMITMENT = sign(factories.commitment(), BOB)
REPORT = sign(factories.report(), BOB)

Handler = Callable[[httpx.Request], httpx.Response]


def miners(handler: Handler, *, allow_private: bool = True, seconds: float = 5.0) -> HttpMiners:
    return HttpMiners(
        ALICE,
        allow_private=allow_private,
        timeout_seconds=seconds,
        transport=httpx.MockTransport(handler),
    )


def problem(status: int, code: str, detail: str = "") -> httpx.Response:
    content = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return httpx.Response(
        status, json=content, headers={"content-type": "application/problem+json"}
    )


async def code_of(handler: Handler, *, seconds: float = 5.0) -> RejectionCode:
    """Code of the rejection that a commitment request ends in."""
    async with miners(handler, seconds=seconds) as client:
        answer = await client.commitment(BOB.hotkey, AXON, ROUND)
    assert isinstance(answer, Rejection), answer
    return answer.code


async def test_each_message_is_asked_for_at_its_place() -> None:
    served = {
        "/v1/profile": canonical_bytes(PROFILE),
        f"/v1/rounds/{ROUND}/commitment": canonical_bytes(COMMITMENT),
        f"/v1/rounds/{ROUND}/report": canonical_bytes(REPORT),
    }

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=served[request.url.path])

    async with miners(handler) as client:
        assert await client.profile(BOB.hotkey, AXON) == PROFILE
        assert await client.commitment(BOB.hotkey, AXON, ROUND) == COMMITMENT
        assert await client.report(BOB.hotkey, AXON, ROUND) == REPORT


async def test_requests_prove_who_asks_whom() -> None:
    verifier = RequestVerifier(self_hotkey=BOB.hotkey, nonces=MemoryNonceStore())
    callers = []

    def handler(request: httpx.Request) -> httpx.Response:
        callers.append(
            verifier.verify(
                method=request.method,
                target=request.url.raw_path.decode(),
                headers=request.headers.items(),
                body=request.content,
            )
        )
        return problem(404, "no_commitment")

    async with miners(handler) as client:
        for _ in range(3):
            await client.commitment(BOB.hotkey, AXON, ROUND)

    assert callers == [ALICE.hotkey] * 3


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (404, "no_commitment", RejectionCode.NO_COMMITMENT),
        (404, "no_report", RejectionCode.NO_REPORT),
        (409, "wrong_round", RejectionCode.WRONG_ROUND),
        (403, "not_permitted", RejectionCode.NOT_PERMITTED),
        (400, "token_proof_failed", RejectionCode.UNREACHABLE),
        (500, "internal", RejectionCode.UNREACHABLE),
        (302, "elsewhere", RejectionCode.UNREACHABLE),
    ],
)
async def test_a_miner_may_say_only_some_words_about_itself(
    status: int, said: str, code: RejectionCode
) -> None:
    assert await code_of(lambda _: problem(status, said)) is code


async def test_redirects_are_not_followed() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(302, headers={"location": "http://169.254.169.254/"})

    assert await code_of(handler) is RejectionCode.UNREACHABLE
    assert len(asked) == 1


async def test_more_bytes_than_allowed_are_not_read() -> None:
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1
            yield b"x" * 4_096

    code = await code_of(lambda _: httpx.Response(200, content=flood()))

    assert code is RejectionCode.OVERSIZED
    assert sent * 4_096 <= COMMITMENT_MAX_BYTES + ENVELOPE_MAX_BYTES + 8_192


async def test_compressed_answers_are_refused_unopened() -> None:
    bomb = gzip.compress(b" " * 10_000_000)

    code = await code_of(
        lambda _: httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"})
    )

    assert code is RejectionCode.MALFORMED


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"payload":1.0}', b"[" * 5_000, b"<html>"],
)
async def test_what_is_no_message_is_malformed(body: bytes) -> None:
    assert await code_of(lambda _: httpx.Response(200, content=body)) is RejectionCode.MALFORMED


async def test_another_version_is_named() -> None:
    content = json.loads(canonical_bytes(COMMITMENT))
    content["payload"]["version"] = 2

    code = await code_of(lambda _: httpx.Response(200, json=content))

    assert code is RejectionCode.VERSION_MISMATCH


async def test_a_miner_that_drips_bytes_is_cut_off() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.02)
            yield b" "

    code = await code_of(lambda _: httpx.Response(200, content=drip()), seconds=0.1)

    assert code is RejectionCode.UNREACHABLE


async def test_nobody_there_is_unreachable() -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert await code_of(handler) is RejectionCode.UNREACHABLE


async def test_a_private_address_is_never_called_outside_the_devnet() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    async with miners(handler, allow_private=False) as client:
        answer = await client.profile(BOB.hotkey, AXON)

    assert isinstance(answer, Rejection)
    assert answer.code is RejectionCode.ADDRESS_REFUSED
    assert asked == []


async def test_an_ipv6_axon_is_called_in_brackets() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return problem(404, "no_commitment")

    async with miners(handler) as client:
        await client.profile(BOB.hotkey, Axon(ip="2606:4700:4700::1111", port=80))

    assert asked == ["http://[2606:4700:4700::1111]/v1/profile"]


async def test_one_slow_miner_delays_nobody() -> None:
    release = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        if request.url.port == 9_999:
            await release.wait()
        return problem(404, "no_commitment")

    client = HttpMiners(ALICE, allow_private=True, transport=httpx.MockTransport(handler))
    async with client:
        slow = asyncio.create_task(
            client.commitment(BOB.hotkey, Axon(ip="127.0.0.1", port=9_999), ROUND)
        )
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            quick = await client.commitment(BOB.hotkey, AXON, ROUND)
        assert not slow.done()
        release.set()
        await slow

    assert isinstance(quick, Rejection)


async def test_many_slow_miners_delay_nobody_for_long() -> None:
    begun = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal begun
        if request.url.port != AXON.port:
            begun += 1
            await asyncio.sleep(3_600)
        return problem(404, "no_commitment")

    slow = [DevSigner(f"//slow-{number}").hotkey for number in range(40)]
    client = HttpMiners(
        ALICE,
        allow_private=True,
        timeout_seconds=0.2,
        max_parallel=8,
        transport=httpx.MockTransport(handler),
    )

    async def ask_slow(hotkey: Hotkey) -> None:
        await client.commitment(hotkey, Axon(ip="127.0.0.1", port=9_999), ROUND)

    async with client:
        for _ in range(2):  # the first time nobody knows who is slow
            await asyncio.gather(*map(ask_slow, slow[:8]))
        waiting = [asyncio.create_task(ask_slow(hotkey)) for hotkey in slow[:8]]
        await asyncio.sleep(0)
        async with asyncio.timeout(0.15):
            await asyncio.gather(*(client.commitment(BOB.hotkey, AXON, ROUND) for _ in range(20)))
        assert not any(task.done() for task in waiting)
        await asyncio.gather(*waiting)

    assert begun == 3 * 8


async def test_requests_that_are_cut_short_leave_no_socket_behind() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    axon = Axon(ip="127.0.0.1", port=server.sockets[0].getsockname()[1])
    async with server, HttpMiners(ALICE, allow_private=True, timeout_seconds=0.05) as client:
        await client.profile(BOB.hotkey, axon)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(10):
            await client.profile(BOB.hotkey, axon)
        await asyncio.sleep(0.1)
        after = len(list(Path("/proc/self/fd").iterdir()))

    assert after <= before


class ToTheAttacker(httpx.AsyncBaseTransport):
    """The internet of a test: the attacker's public address is a server on loopback.

    Everything else goes where it says, so a request that was led astray really arrives.
    """

    def __init__(self, attacker_port: int) -> None:
        self._port = attacker_port
        self._real = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == ATTACKER.ip:
            request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await self._real.handle_async_request(request)

    async def aclose(self) -> None:
        await self._real.aclose()


ATTACKER = Axon(ip="8.8.8.8", port=8_091)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1:{canary}/latest/meta-data/",
        "http://localhost:{canary}/",
        "http://[::1]:{canary}/",
        "http://[::ffff:127.0.0.1]:{canary}/",
        "http://2130706433:{canary}/",
        "http://0x7f.1:{canary}/",
        "http://0:{canary}/",
        "http://user@127.0.0.1:{canary}/",
        "//127.0.0.1:{canary}/",
        "/hop/3?to=http://127.0.0.1:{canary}/",
    ],
)
async def test_no_redirect_leads_to_our_own_host(status: int, where: str) -> None:
    canary, attacker = Canary(), Canary()
    async with canary.listening() as canary_port:
        attacker.location = where.format(canary=canary_port)
        attacker.status = status
        async with attacker.listening() as attacker_port:
            client = HttpMiners(ALICE, allow_private=False, transport=ToTheAttacker(attacker_port))
            async with client:
                answer = await client.profile(BOB.hotkey, ATTACKER)

    assert isinstance(answer, Rejection)
    assert (len(attacker.seen), canary.seen) == (1, [])


@pytest.mark.parametrize("ip", HOSTILE)
async def test_no_hostile_address_is_ever_asked(ip: str) -> None:
    canary = Canary()
    async with canary.listening() as port, HttpMiners(ALICE, allow_private=False) as client:
        answer = await client.profile(BOB.hotkey, Axon(ip=ip, port=port))

    assert isinstance(answer, Rejection)
    assert answer.code is RejectionCode.ADDRESS_REFUSED
    assert canary.seen == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br", "x-gzip"])
async def test_no_bomb_is_unpacked(encoding: str) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    sent = 0

    async def packed() -> AsyncIterator[bytes]:  # a finished body would be unpacked by the test
        nonlocal sent
        for at in range(0, len(bomb), 1_024):
            sent += 1
            yield bomb[at : at + 1_024]

    headers = {"content-encoding": encoding}
    code = await code_of(lambda _: httpx.Response(200, content=packed(), headers=headers))

    assert code is RejectionCode.MALFORMED
    assert sent <= 1


@dataclass
class Canary:
    """A server that notes every request, and may answer with a redirect."""

    status: int = 200
    location: str = ""
    seen: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen on both loopback addresses, as far as there are two."""
        server = await asyncio.start_server(self._answer, "localhost", 0, family=socket.AF_INET)
        async with server:
            yield int(server.sockets[0].getsockname()[1])

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.append(await reader.readline())
        while (await reader.readline()).strip():
            pass
        head = f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\nConnection: close\r\n"
        writer.write((head + f"Location: {self.location}\r\n\r\n").encode())
        await writer.drain()
        writer.close()
