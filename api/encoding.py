"""Answers as they go out: encoded once, with ETag and gzip, conditional requests answered."""

import gzip
import hashlib
from dataclasses import dataclass

CACHE_CONTROL = "public, max-age=60, stale-while-revalidate=300"
GZIP_LEVEL = 6
WORTH_BYTES = 1_024
"""Shorter bodies are not compressed."""
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A body with its compressed form and strong ETag."""

    body: bytes
    gzipped: bytes | None
    tag: str
    """First 16 hex digits of the body's SHA-256."""
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A response without its framework."""

    status: int
    headers: Headers
    body: bytes


def encoded(body: bytes, media_type: str = "application/json") -> Encoded:
    """A body ready to go out."""
    return Encoded(
        body=body,
        gzipped=gzip.compress(body, GZIP_LEVEL, mtime=0) if len(body) >= WORTH_BYTES else None,
        tag=hashlib.sha256(body).hexdigest()[:16],
        media_type=media_type,
    )


def outgoing(answer: Encoded, request_headers: Headers) -> Outgoing:
    """The response to a request with these headers: compressed, whole, or 304."""
    accepted = known = b""
    for name, value in request_headers:
        if name == b"accept-encoding":
            accepted = value
        elif name == b"if-none-match":
            known = value
    compressed = answer.gzipped if b"gzip" in accepted else None
    tag = f'"{answer.tag}-gz"' if compressed else f'"{answer.tag}"'
    headers = [
        (b"etag", tag.encode()),
        (b"cache-control", CACHE_CONTROL.encode()),
        (b"vary", b"accept-encoding"),
    ]
    if known and (known == b"*" or answer.tag.encode() in known):
        return Outgoing(status=304, headers=headers, body=b"")
    body = answer.body if compressed is None else compressed
    headers += [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if compressed is not None:
        headers.append((b"content-encoding", b"gzip"))
    return Outgoing(status=200, headers=headers, body=body)
