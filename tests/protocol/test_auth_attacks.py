"""No captured request is taken twice, anywhere, and no changed one at all."""

from pathlib import Path

import pytest
from bittensor import http_auth
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from protocol.auth import RequestVerifier, sign_request
from protocol.errors import ProtocolError, RejectionCode
from protocol.ids import Hotkey
from protocol.nonce_store import SqliteNonceStore
from tests.support.keys import ALICE, BOB, CHARLIE

NOW_NS = 1_752_076_800_000_000_000
TARGET = "/v1/rounds/7/report?x=1"
BODY = b'{"round": 7}'
HEADERS = tuple(http_auth.__dict__[name] for name in dir(http_auth) if name.startswith("HEADER_"))

Request = tuple[str, str, list[tuple[str, str]], bytes]


class Everything:
    """A store that forgets, so that only signatures stand between a mutation and us."""

    def check_and_store(self, hotkey: str, nonce_ns: int) -> bool:
        return True


FORGETFUL = RequestVerifier(self_hotkey=BOB.hotkey, nonces=Everything(), now_ns=lambda: NOW_NS)


def captured(receiver: Hotkey = BOB.hotkey) -> Request:
    headers = sign_request(
        ALICE, method="POST", target=TARGET, body=BODY, receiver=receiver, nonce_ns=NOW_NS
    )
    return "POST", TARGET, list(headers.items()), BODY


CAPTURED = captured()


def take(verifier: RequestVerifier, request: Request) -> Hotkey:
    method, target, headers, body = request
    return verifier.verify(method=method, target=target, headers=headers, body=body)


def is_the_same(one: Request, other: Request) -> bool:
    """Whether two requests say the same: names of headers have no case, others do not count."""
    return _said(one) == _said(other)


def _said(request: Request) -> object:
    method, target, headers, body = request
    known = {name.lower() for name in HEADERS}
    said = sorted((name.lower(), value) for name, value in headers if name.lower() in known)
    # The scheme may be named or left out: sr25519 either way.
    said = [item for item in said if item != (http_auth.HEADER_CRYPTO.lower(), "sr25519")]
    return method, target, said, body


texts = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=80)


@st.composite
def edited_texts(draw: st.DrawFn, text: str) -> str:
    """A text with some characters replaced, dropped, doubled, or added."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        width = draw(st.integers(0, 2))
        text = text[:at] + draw(texts.filter(lambda t: len(t) < 4)) + text[at + width :]
    return draw(st.sampled_from((text, text.upper(), text.lower(), text + " ", " " + text)))


@st.composite
def mutations(draw: st.DrawFn) -> Request:
    """The captured request, changed somewhere."""
    method, target, headers, body = CAPTURED
    headers = list(headers)
    kind = draw(st.sampled_from(("method", "target", "header", "drop", "double", "add", "body")))
    if kind == "method":
        method = draw(st.sampled_from(("GET", "PUT", "post", "POST ", "")) | texts)
    elif kind == "target":
        target = draw(edited_texts(target))
    elif kind == "body":
        raw = draw(edited_texts(body.decode()))
        body = draw(st.sampled_from((raw.encode(), b"", body + b"\0", body[:-1])))
    else:
        at = draw(st.integers(0, len(headers) - 1))
        name, value = headers[at]
        if kind == "header":
            headers[at] = (name, draw(edited_texts(value)))
        elif kind == "drop":
            del headers[at]
        elif kind == "double":
            headers.append((draw(st.sampled_from((name, name.upper()))), value))
        else:
            name = draw(st.sampled_from(HEADERS))
            headers.append((name, draw(texts | st.sampled_from(("sr25519", "ed25519", "1")))))
    return method, target, headers, body


@settings(max_examples=500, suppress_health_check=[HealthCheck.filter_too_much])
@given(mutations())
def test_no_mutation_is_accepted(request: Request) -> None:
    assume(not is_the_same(request, CAPTURED))

    with pytest.raises(ProtocolError):
        take(FORGETFUL, request)


@given(st.permutations(CAPTURED[2]))
def test_the_order_of_headers_does_not_matter(headers: list[tuple[str, str]]) -> None:
    assert take(FORGETFUL, ("POST", TARGET, headers, BODY)) == ALICE.hotkey


@given(st.integers(0, 63), st.integers(1, 255))
def test_no_changed_signature_is_accepted(at: int, flip: int) -> None:
    method, target, headers, body = CAPTURED
    fields = dict(headers)
    signature = bytearray.fromhex(fields[http_auth.HEADER_SIGNATURE][2:])
    signature[at] ^= flip
    fields[http_auth.HEADER_SIGNATURE] = "0x" + signature.hex()

    with pytest.raises(ProtocolError):
        take(FORGETFUL, (method, target, list(fields.items()), body))


def test_a_replay_to_the_same_or_another_worker_or_a_new_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "nonces.sqlite3"

    def worker() -> RequestVerifier:
        nonces = SqliteNonceStore(file, now_ns=lambda: NOW_NS)
        return RequestVerifier(self_hotkey=BOB.hotkey, nonces=nonces, now_ns=lambda: NOW_NS)

    first, second = worker(), worker()
    assert take(first, CAPTURED) == ALICE.hotkey

    for other in (first, second, worker()):
        with pytest.raises(ProtocolError) as caught:
            take(other, CAPTURED)
        assert caught.value.code is RejectionCode.REPLAYED


def test_a_replay_to_another_node_is_refused() -> None:
    node = RequestVerifier(self_hotkey=CHARLIE.hotkey, nonces=Everything(), now_ns=lambda: NOW_NS)

    with pytest.raises(ProtocolError) as caught:
        take(node, CAPTURED)

    assert caught.value.code is RejectionCode.NOT_PERMITTED
