"""Answers as they go out: compressed at most once a coding, with ETag, conditional requests."""

import asyncio
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import brotli
from starlette.types import Send

CACHE_CONTROL = "public, max-age=60, stale-while-revalidate=300"
BROTLI_QUALITY = 5
"""Smaller than gzip at a third of the time that the best quality takes."""
GZIP_LEVEL = 6
WORTH_BYTES = 1_024
"""Shorter bodies are not compressed."""
Header = tuple[bytes, bytes]
Headers = list[Header]
_EVERY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"access-control-allow-origin", b"*"),
)
DATA_HEADERS: Sequence[Header] = (
    *_EVERY_HEADERS,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Of JSON: no browser runs it, so it may do nothing, and each header costs time."""
DOCUMENT_HEADERS: Sequence[Header] = (
    *_EVERY_HEADERS,
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""Of everything else, unless an answer has its own."""
_JSON = "application/json"
_CODINGS = (b"br", b"gzip")
"""What is offered, best first (RFC 9110 section 8.4.1, RFC 7932)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A response without its framework. The header list is shared: copy it before adding."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A body with its strong ETag, and its compressed forms as they are asked for."""

    body: bytes
    tag: str
    """Names these bytes; the first 16 hex digits of their SHA-256 unless told otherwise."""
    media_type: str
    _forms: dict[bytes, tuple[Outgoing, Outgoing]] = field(default_factory=dict)
    """By coding: the whole response and the 304."""

    def is_held(self, coding: bytes) -> bool:
        """Whether nothing is left to compress for a coding."""
        return coding in self._forms

    def form(self, coding: bytes) -> tuple[Outgoing, Outgoing]:
        """The response in a coding (empty for none) and the 304 that stands for it."""
        held = self._forms.get(coding)
        if held is None:
            held = self._forms[coding] = _form(self, coding)
        return held


def encoded(body: bytes, media_type: str = _JSON, tag: str | None = None) -> Encoded:
    """A body ready to go out.

    Args:
        body: The bytes.
        media_type: What they are.
        tag: Their name, where what they are made from names them already: hashing a page of
            140 kB takes longer than joining it.
    """
    return Encoded(
        body=body, tag=tag or hashlib.sha256(body).hexdigest()[:16], media_type=media_type
    )


def outgoing(answer: Encoded, request_headers: Headers) -> Outgoing:
    """The response to a request with these headers: compressed, whole, or 304."""
    accepted, known = _asked(request_headers)
    return _chosen(answer, _coding_of(answer, accepted), known)


async def send_answer(answer: Encoded, request_headers: Headers, send: Send) -> int:
    """Send the response to a request with these headers; its status.

    The event loop does not wait for a body to be compressed.
    """
    accepted, known = _asked(request_headers)
    coding = _coding_of(answer, accepted)
    if coding and not answer.is_held(coding):
        await asyncio.to_thread(answer.form, coding)
    response = _chosen(answer, coding, known)
    status, headers = response.status, response.headers
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
    return status


def _asked(request_headers: Headers) -> tuple[bytes, bytes]:
    """What the caller takes, and which bodies it holds already."""
    accepted = known = b""
    for name, value in request_headers:
        if name == b"accept-encoding":
            accepted = value
        elif name == b"if-none-match":
            known = value
    return accepted, known


def _chosen(answer: Encoded, coding: bytes, known: bytes) -> Outgoing:
    whole, not_modified = answer.form(coding)
    if known and (known == b"*" or answer.tag.encode() in known):
        return not_modified
    return whole


def _coding_of(answer: Encoded, accepted: bytes) -> bytes:
    return _coding(accepted) if accepted and len(answer.body) >= WORTH_BYTES else b""


@lru_cache(maxsize=256)
def _coding(accepted: bytes) -> bytes:
    """The best coding that the caller takes; one with `q=0` is refused."""
    offers = [offer.strip().partition(b";") for offer in accepted.lower().split(b",")]
    taken = {name.strip() for name, _, weight in offers if weight.strip() not in _REFUSED}
    return next((coding for coding in _CODINGS if coding in taken), b"")


_REFUSED = (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")


def _form(answer: Encoded, coding: bytes) -> tuple[Outgoing, Outgoing]:
    body = _compressed(answer.body, coding)
    tag = f'"{answer.tag}-{coding.decode()}"' if coding else f'"{answer.tag}"'
    headers = [
        (b"etag", tag.encode()),
        (b"cache-control", CACHE_CONTROL.encode()),
        (b"vary", b"accept-encoding"),
        *(DATA_HEADERS if answer.media_type == _JSON else DOCUMENT_HEADERS),
    ]
    described = [
        *headers,
        (b"content-type", answer.media_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if coding:
        described.append((b"content-encoding", coding))
    whole = Outgoing(status=200, headers=described, body=body)
    return whole, Outgoing(status=304, headers=headers, body=b"")


def _compressed(body: bytes, coding: bytes) -> bytes:
    if coding == b"br":
        return bytes(brotli.compress(body, quality=BROTLI_QUALITY))
    return gzip.compress(body, GZIP_LEVEL, mtime=0) if coding else body
