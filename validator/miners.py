"""The miners' servers over HTTP: adapter of `validator.ports.Miners`.

Everything at the other end is an attacker's to choose. So only addresses that pass the guard are
called, by IP and without redirects or proxies; every answer is bounded in size and time, read
uncompressed, and parsed by its schema. Whatever goes wrong is a `Rejection`.
"""

import asyncio
import json
import ssl
from collections import Counter
from types import TracebackType
from typing import Self, TypeVar

import httpx

from protocol.addresses import address_refusal
from protocol.auth import SignedRequests
from protocol.canonical import parse
from protocol.chain import Axon
from protocol.constants import (
    COMMITMENT_MAX_BYTES,
    ENVELOPE_MAX_BYTES,
    PROFILE_MAX_BYTES,
    REPORT_MAX_BYTES,
)
from protocol.errors import ProtocolError, Rejection, RejectionCode
from protocol.ids import Hotkey, RoundNumber
from protocol.messages import Commitment, Message, Profile, Report
from protocol.signing import Signed, Signer

_PROBLEM_MAX_BYTES = 4_096
_DETAIL_LENGTH = 200
_MISSING = {
    RejectionCode.NO_COMMITMENT,
    RejectionCode.NO_REPORT,
    RejectionCode.WRONG_ROUND,
    RejectionCode.NOT_PERMITTED,
}
"""Codes that a miner may answer with; any other word of its own is `unreachable`."""

M = TypeVar("M", bound=Message)


class HttpMiners:
    """Asks miners, as one validator.

    Args:
        signer: Signs the requests (btauth/1).
        allow_private: Whether private addresses are called: on the devnet.
        timeout_seconds: Longest that one answer may take, from first byte to last.
        max_parallel: Requests under way at once, and a quarter more to miners that were slow.
        transport: Replaces the network in tests.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        allow_private: bool,
        timeout_seconds: float = 10.0,
        max_parallel: int = 64,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._signer = signer
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._lanes = _Lanes(max_parallel)
        self.outcomes: Counter[str] = Counter()
        """How many requests ended in each way: `ok`, or the code of the rejection."""
        self._transport = transport
        self._ssl = ssl.create_default_context()
        self._auth: dict[Hotkey, SignedRequests] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._transport is not None:
            await self._transport.aclose()

    def refusal(self, axon: Axon) -> Rejection | None:
        """Why this address is not called; None if it may be."""
        return address_refusal(axon, allow_private=self._allow_private)

    async def profile(self, hotkey: Hotkey, axon: Axon) -> Signed[Profile] | Rejection:
        """What the miner offers."""
        limit = PROFILE_MAX_BYTES + ENVELOPE_MAX_BYTES
        return await self._ask(Signed[Profile], hotkey, axon, "/v1/profile", limit)

    async def commitment(
        self, hotkey: Hotkey, axon: Axon, number: RoundNumber
    ) -> Signed[Commitment] | Rejection:
        """Its commitment of a round."""
        path = f"/v1/rounds/{number}/commitment"
        limit = COMMITMENT_MAX_BYTES + ENVELOPE_MAX_BYTES
        return await self._ask(Signed[Commitment], hotkey, axon, path, limit)

    async def report(
        self, hotkey: Hotkey, axon: Axon, number: RoundNumber
    ) -> Signed[Report] | Rejection:
        """Its report of a round."""
        path = f"/v1/rounds/{number}/report"
        limit = REPORT_MAX_BYTES + ENVELOPE_MAX_BYTES
        return await self._ask(Signed[Report], hotkey, axon, path, limit)

    async def _ask(
        self, kind: type[M], hotkey: Hotkey, axon: Axon, path: str, max_bytes: int
    ) -> M | Rejection:
        answer = await self._answer(kind, hotkey, axon, path, max_bytes)
        self.outcomes[answer.code if isinstance(answer, Rejection) else "ok"] += 1
        return answer

    async def _answer(
        self, kind: type[M], hotkey: Hotkey, axon: Axon, path: str, max_bytes: int
    ) -> M | Rejection:
        refused = self.refusal(axon)
        if refused is not None:
            return refused
        host = f"[{axon.ip}]" if ":" in axon.ip else axon.ip
        auth = self._auth.setdefault(hotkey, SignedRequests(self._signer, hotkey))
        url = f"http://{host}:{axon.port}{path}"
        try:
            async with self._lanes.slot(hotkey), asyncio.timeout(self._timeout_seconds):
                status, body = await self._fetch(url, auth, max_bytes)
            self._lanes.answered(hotkey)
        except TimeoutError:
            self._lanes.kept_waiting(hotkey)
            return _unreachable(f"no answer within {self._timeout_seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _unreachable(f"{type(error).__name__}: {error}")
        except ProtocolError as error:
            return error.rejection
        return read_answer(kind, status, body, max_bytes=max_bytes)

    def _client(self) -> httpx.AsyncClient:
        """A client for one request.

        A pool keeps the connection of a request that was cut short (httpcore 1.0), and is full
        after so many slow miners; so none is shared, and the end of a client closes its own.
        """
        transport = httpx.AsyncHTTPTransport(verify=self._ssl)
        return httpx.AsyncClient(
            transport=transport if self._transport is None else _Lasting(self._transport),
            timeout=self._timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def _fetch(self, url: str, auth: SignedRequests, max_bytes: int) -> tuple[int, bytes]:
        async with self._client() as client, client.stream("GET", url, auth=auth) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ProtocolError("the answer is compressed, which was not asked for")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > max_bytes:
                    detail = f"more than {max_bytes} bytes"
                    raise ProtocolError(detail, code=RejectionCode.OVERSIZED)
            return response.status_code, bytes(body)


class _Lasting(httpx.AsyncBaseTransport):
    """A transport that outlives the clients that use it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)


class _Lanes:
    """Slots for requests: who kept us waiting last time waits with its like.

    However many miners hold their answers back, those that answer find a free slot.
    """

    def __init__(self, max_parallel: int) -> None:
        self._quick = asyncio.Semaphore(max_parallel)
        self._slow = asyncio.Semaphore(max(1, max_parallel // 4))
        self._sluggish: set[Hotkey] = set()

    def slot(self, hotkey: Hotkey) -> asyncio.Semaphore:
        return self._slow if hotkey in self._sluggish else self._quick

    def answered(self, hotkey: Hotkey) -> None:
        self._sluggish.discard(hotkey)

    def kept_waiting(self, hotkey: Hotkey) -> None:
        self._sluggish.add(hotkey)


def read_answer(kind: type[M], status: int, body: bytes, *, max_bytes: int) -> M | Rejection:
    """A miner's answer as the message that was asked for, or why it is none."""
    if status != httpx.codes.OK:
        return _problem(status, body)
    try:
        return parse(kind, body, max_bytes=max_bytes)
    except ProtocolError as error:
        return error.rejection


def _problem(status: int, body: bytes) -> Rejection:
    """What a problem document says, if it is one of the words that a miner may use."""
    try:
        document = json.loads(body[:_PROBLEM_MAX_BYTES])
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return _unreachable(f"HTTP {status}")
    detail = str(document.get("detail", ""))[:_DETAIL_LENGTH]
    code = document.get("code")
    if code in _MISSING:
        return Rejection(code=RejectionCode(code), detail=detail)
    return _unreachable(f"HTTP {status}: {detail}")


def _unreachable(detail: str) -> Rejection:
    return Rejection(code=RejectionCode.UNREACHABLE, detail=detail[:_DETAIL_LENGTH])
