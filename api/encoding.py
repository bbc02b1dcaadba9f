"""Answers as they go out: compressed at most once a coding, with ETag, conditional requests."""

import asyncio
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

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
_KEPT_HEADERS = ((b"cache-control", CACHE_CONTROL.encode()), (b"vary", b"accept-encoding"))
_DATA_HEAD = (*_KEPT_HEADERS, *DATA_HEADERS)
_DOCUMENT_HEAD = (*_KEPT_HEADERS, *DOCUMENT_HEADERS)
_JSON = "application/json"
_CODINGS = (b"br", b"gzip")
"""What is offered, best first (RFC 9110 section 8.4.1, RFC 7932)."""


class Outgoing(NamedTuple):
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
    forms: dict[bytes, Outgoing] = field(default_factory=dict)
    """By coding, those that were asked for."""

    def form(self, coding: bytes) -> Outgoing:
        """The whole response in a coding, empty for none."""
        held = self.forms.get(coding)
        if held is None:
            held = self.forms[coding] = _form(self, coding)
        return held


def encoded(body: bytes, media_type: str = _JSON, tag: str | None = None) -> Encoded:
    """A body ready to go out.

    Args:
        body: The bytes.
        media_type: What they are.
        tag: Their name, where what they are made from names them already: hashing a page
            takes longer than joining it.
    """
    return Encoded(
        body=body, tag=tag or hashlib.sha256(body).hexdigest()[:16], media_type=media_type
    )


def outgoing(answer: Encoded, request_headers: Headers) -> Outgoing:
    """The response to a request with these headers: compressed, whole, or 304."""
    coding, known = _asked(answer, request_headers)
    response = answer.form(coding)
    return _unless_known(answer, response, known) if known else response


async def send_answer(answer: Encoded, request_headers: Headers, send: Send) -> int:
    """Send the response to a request with these headers; its status.

    The event loop does not wait for a body to be compressed.
    """
    coding, known = _asked(answer, request_headers)
    response = answer.forms.get(coding)
    if response is None:
        response = await asyncio.to_thread(answer.form, coding) if coding else answer.form(coding)
    if known:
        response = _unless_known(answer, response, known)
    status, headers, body = response
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status


def _asked(answer: Encoded, request_headers: Headers) -> tuple[bytes, bytes]:
    """The coding for a caller, and the tags of the bodies that it holds already."""
    coding = known = b""
    for name, value in request_headers:
        if name == b"accept-encoding":
            coding = _coding(value) if len(answer.body) >= WORTH_BYTES else b""
        elif name == b"if-none-match":
            known = value
    return coding, known


def _unless_known(answer: Encoded, response: Outgoing, known: bytes) -> Outgoing:
    if known != b"*" and answer.tag.encode() not in known:
        return response
    kept = [header for header in response.headers if header[0] not in _OF_THE_BODY]
    return Outgoing(304, kept, b"")


_OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding"})


@lru_cache(maxsize=256)
def _coding(accepted: bytes) -> bytes:
    """The best coding that the caller takes; one with `q=0` is refused."""
    offers = [offer.strip().partition(b";") for offer in accepted.lower().split(b",")]
    taken = {name.strip() for name, _, weight in offers if weight.strip() not in _REFUSED}
    return next((coding for coding in _CODINGS if coding in taken), b"")


_REFUSED = (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")


def _form(answer: Encoded, coding: bytes) -> Outgoing:
    body = _compressed(answer.body, coding)
    tag = f'"{answer.tag}-{coding.decode()}"' if coding else f'"{answer.tag}"'
    headers = [
        *(_DATA_HEAD if answer.media_type == _JSON else _DOCUMENT_HEAD),
        (b"etag", tag.encode()),
        (b"content-type", answer.media_type.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    if coding:
        headers.append((b"content-encoding", coding))
    return Outgoing(200, headers, body)


def _compressed(body: bytes, coding: bytes) -> bytes:
    if coding == b"br":
        return bytes(brotli.compress(body, quality=BROTLI_QUALITY))
    return gzip.compress(body, GZIP_LEVEL, mtime=0) if coding else body
