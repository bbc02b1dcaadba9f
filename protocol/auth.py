"""Signed HTTP requests between nodes: btauth/1, as the Bittensor SDK defines it.

Eight headers say who asks whom, when, and for what; the signature covers method, target and
body (`bittensor.http_auth`, whose bytes `tests/vectors/btauth.json` pins). This module wraps
the SDK's with what it leaves open: one scheme only, one spelling of each header, bounded
sizes, and errors in our codes. *Who* may ask is policy and belongs to the servers; there is
no secrecy here, so put TLS in front where that matters.

Importing this module loads the SDK (0.3 s).
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import httpx
from bittensor import http_auth
from starlette.requests import ClientDisconnect, Request

from protocol.errors import (
    MalformedMessageError,
    ProtocolError,
    RejectionCode,
    SignatureError,
)
from protocol.ids import Hotkey
from protocol.signing import Signer

MAX_AGE_SECONDS = 10.0
"""Oldest request that is taken (btauth/1's default)."""
MAX_SKEW_SECONDS = 2.0
"""Furthest ahead that a sender's clock may be (btauth/1's default)."""
MAX_BODY_BYTES = 1024 * 1024
"""Largest body by default; a server gives its own."""
BODY_TIMEOUT_SECONDS = 10.0
"""Longest that a body may take to arrive."""
_MAX_TARGET_CHARS = 2_048
_SCHEME = "sr25519"
_NS_PER_SECOND = 1_000_000_000
_RETENTION_SECONDS = 60
_SS58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{47,48}")
_SHAPES = {
    http_auth.HEADER_VERSION: re.compile(re.escape(http_auth.VERSION)),
    http_auth.HEADER_HOTKEY: _SS58,
    http_auth.HEADER_RECEIVER: _SS58,
    http_auth.HEADER_NONCE: re.compile(r"[1-9][0-9]{0,18}"),
    http_auth.HEADER_SIGNATURE: re.compile(r"0x[0-9a-f]{128}"),
    http_auth.HEADER_CRYPTO: re.compile(_SCHEME),
}
"""The one spelling of each header, so that no changed header says the same thing."""
_OPTIONAL = frozenset({http_auth.HEADER_CRYPTO})
_METHOD = re.compile(r"[A-Z]{1,16}")
_TARGET = re.compile(rf"/[!-~]{{0,{_MAX_TARGET_CHARS - 1}}}")

NowNs = Callable[[], int]


class NonceStore(Protocol):
    """Remembers which requests were taken; shared by all workers of one node."""

    def check_and_store(self, hotkey: str, nonce_ns: int) -> bool:
        """Keep a pair for a minute; False if it was there already. Atomic."""
        ...


@dataclass(slots=True)
class MemoryNonceStore:
    """The store of a node with one process."""

    now_ns: NowNs = time.time_ns
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _order: deque[tuple[int, tuple[str, int]]] = field(default_factory=deque)

    def check_and_store(self, hotkey: str, nonce_ns: int) -> bool:
        """Keep a pair for a minute; False if it was there already."""
        now = self.now_ns()
        while self._order and self._order[0][0] <= now:
            self._seen.discard(self._order.popleft()[1])
        key = (hotkey, nonce_ns)
        if key in self._seen:
            return False
        self._seen.add(key)
        self._order.append((now + _RETENTION_SECONDS * _NS_PER_SECOND, key))
        return True


def sign_request(
    signer: Signer,
    *,
    method: str,
    target: str,
    body: bytes,
    receiver: Hotkey,
    nonce_ns: int | None = None,
) -> dict[str, str]:
    """The headers that prove a request.

    Args:
        signer: Who asks.
        method: HTTP method, upper case.
        target: Path and query exactly as sent, percent-encoded.
        body: Raw body.
        receiver: Whom the request is for; nobody else will take it.
        nonce_ns: Unix time (ns), once per request; the clock's by default.
    """
    nonce = time.time_ns() if nonce_ns is None else nonce_ns
    payload = http_auth.build_payload(
        scheme=_SCHEME,
        method=method,
        path=target,
        body=body,
        nonce_ns=nonce,
        sender_ss58=signer.hotkey,
        receiver_ss58=receiver,
    )
    return {
        http_auth.HEADER_VERSION: http_auth.VERSION,
        http_auth.HEADER_HOTKEY: signer.hotkey,
        http_auth.HEADER_RECEIVER: receiver,
        http_auth.HEADER_NONCE: str(nonce),
        http_auth.HEADER_SIGNATURE: "0x" + signer.sign(payload).hex(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVerifier:
    """Tells who sent a request, for one receiving hotkey."""

    self_hotkey: Hotkey
    nonces: NonceStore
    max_body_bytes: int = MAX_BODY_BYTES
    now_ns: NowNs = time.time_ns

    def verify(
        self, *, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Hotkey:
        """The hotkey that sent a request.

        Args:
            method: As received.
            target: Path and query as received, percent-encoded.
            headers: All of them, repeated ones too.
            body: Raw body.

        Raises:
            ProtocolError: `MALFORMED` if a header, method or target is not of the one shape;
                `OVERSIZED` if the body is too long; `NOT_PERMITTED` if it is for another
                receiver; `REPLAYED` if it is too old, too far ahead, or seen before;
                `SIGNATURE_INVALID` if the signature does not match.
        """
        self.check_length(len(body))
        if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
            raise MalformedMessageError("method or target is not plain upper-case ASCII")
        return self._authenticate(_auth_headers(headers), method, target, body)

    def check_length(self, body_bytes: int) -> None:
        """Refuse a body that is too long.

        Raises:
            ProtocolError: If it is.
        """
        if body_bytes > self.max_body_bytes:
            raise ProtocolError(
                f"body of more than {self.max_body_bytes} bytes", code=RejectionCode.OVERSIZED
            )

    def _authenticate(
        self, headers: dict[str, str], method: str, target: str, body: bytes
    ) -> Hotkey:
        try:
            caller = http_auth.verify(
                headers,
                body,
                method=method,
                path=target,
                self_hotkey_ss58=self.self_hotkey,
                max_age=MAX_AGE_SECONDS,
                allowed_skew=MAX_SKEW_SECONDS,
                nonce_store=_Upstream(self.nonces),
                now_ns=self.now_ns(),
            )
        except http_auth.BadSignature as error:
            raise SignatureError(str(error)) from error
        except http_auth.WrongReceiver as error:
            raise ProtocolError(str(error), code=RejectionCode.NOT_PERMITTED) from error
        except (http_auth.StaleRequest, http_auth.ReplayedRequest) as error:
            raise ProtocolError(str(error), code=RejectionCode.REPLAYED) from error
        except http_auth.AuthError as error:
            raise MalformedMessageError(str(error)) from error
        return Hotkey(caller.hotkey_ss58)


@dataclass(frozen=True, slots=True)
class _Upstream:
    """Our store under the SDK's parameter names."""

    store: NonceStore

    def check_and_store(self, hotkey_ss58: str, nonce_ns: int) -> bool:
        return self.store.check_and_store(hotkey_ss58, nonce_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatedRequest:
    """Who asked, and the body that the signature covers."""

    caller: Hotkey
    body: bytes


async def authenticate(request: Request, verifier: RequestVerifier) -> AuthenticatedRequest:
    """Read a request's body up to the verifier's limit, and tell who sent it.

    Raises:
        ProtocolError: As `RequestVerifier.verify`; also if the body does not arrive.
    """
    body = await _bounded_body(request, verifier)
    query = request.scope["query_string"]
    target = request.scope["raw_path"] + (b"?" + query if query else b"")
    caller = verifier.verify(
        method=request.method,
        target=target.decode("latin-1"),
        headers=request.headers.items(),
        body=body,
    )
    return AuthenticatedRequest(caller=caller, body=body)


def authenticated_by(
    verifier: RequestVerifier,
) -> Callable[[Request], Awaitable[AuthenticatedRequest]]:
    """A FastAPI dependency that gives an `AuthenticatedRequest`."""

    async def dependency(request: Request) -> AuthenticatedRequest:
        return await authenticate(request, verifier)

    return dependency


class SignedRequests(httpx.Auth):
    """Signs each request of an httpx client to one receiver; retries get a new nonce.

    Args:
        signer: Who asks.
        receiver: Whom the requests are for.
    """

    requires_request_body = True

    def __init__(self, signer: Signer, receiver: Hotkey) -> None:
        self._signer = signer
        self._receiver = receiver
        self._last_nonce_ns = 0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign and send, once."""
        yield self._signed(request)

    def _signed(self, request: httpx.Request) -> httpx.Request:
        # Two requests in one tick of the clock must differ.
        self._last_nonce_ns = max(time.time_ns(), self._last_nonce_ns + 1)
        target = request.url.raw_path.decode("ascii")
        if not request.url.query:  # a server cannot tell an empty query from none
            target = target.removesuffix("?")
        headers = sign_request(
            self._signer,
            method=request.method,
            target=target,
            body=request.content,
            receiver=self._receiver,
            nonce_ns=self._last_nonce_ns,
        )
        request.headers.update(headers)
        return request


def _auth_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The btauth headers, each there once and in its one spelling."""
    wanted = {name.lower(): name for name in _SHAPES}
    found: dict[str, str] = {}
    for raw_name, value in headers:
        name = wanted.get(raw_name.lower())
        if name is None:
            continue
        if name in found or not _SHAPES[name].fullmatch(value):
            raise MalformedMessageError(f"{name} is repeated or not of its shape")
        found[name] = value
    missing = sorted(_SHAPES.keys() - found.keys() - _OPTIONAL)
    if missing:
        raise MalformedMessageError(f"missing header {', '.join(missing)}")
    return found


async def _bounded_body(request: Request, verifier: RequestVerifier) -> bytes:
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit():
        raise MalformedMessageError("Content-Length is no number")
    verifier.check_length(int(declared))
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await _collected(request.stream(), verifier)
    except TimeoutError:
        raise MalformedMessageError("the body did not arrive in time") from None
    except ClientDisconnect:
        raise MalformedMessageError("the sender hung up before the body's end") from None


async def _collected(stream: AsyncIterator[bytes], verifier: RequestVerifier) -> bytes:
    body = bytearray()
    async for chunk in stream:
        verifier.check_length(len(body) + len(chunk))
        body += chunk
    return bytes(body)
