"""Signed requests: the pinned bytes, the SDK as oracle, and what must be refused."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import bittensor_core
import httpx
import pytest
from bittensor import http_auth
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from protocol.auth import (
    MAX_AGE_SECONDS,
    MAX_SKEW_SECONDS,
    MemoryNonceStore,
    NonceStore,
    RequestVerifier,
    SignedRequests,
    authenticated_by,
    sign_request,
)
from protocol.errors import ProtocolError, RejectionCode
from protocol.ids import Hotkey
from tests.support.keys import ALICE, BOB, CHARLIE

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "btauth.json").read_text())
NOW_NS = 1_752_076_800_000_000_000
NS = 1_000_000_000
BODY = b'{"round": 7}'
TARGET = "/v1/report?round=7"


def signed(
    *, target: str = TARGET, body: bytes = BODY, receiver: Hotkey = BOB.hotkey
) -> dict[str, str]:
    return sign_request(
        ALICE, method="POST", target=target, body=body, receiver=receiver, nonce_ns=NOW_NS
    )


def verifier(
    *, now_ns: int = NOW_NS, nonces: NonceStore | None = None, max_body_bytes: int = 1_000
) -> RequestVerifier:
    return RequestVerifier(
        self_hotkey=BOB.hotkey,
        nonces=nonces or MemoryNonceStore(now_ns=lambda: now_ns),
        max_body_bytes=max_body_bytes,
        now_ns=lambda: now_ns,
    )


def verified(
    headers: dict[str, str],
    *,
    by: RequestVerifier | None = None,
    method: str = "POST",
    target: str = TARGET,
    body: bytes = BODY,
) -> Hotkey:
    return (by or verifier()).verify(
        method=method, target=target, headers=headers.items(), body=body
    )


def refusal(
    headers: dict[str, str],
    *,
    by: RequestVerifier | None = None,
    method: str = "POST",
    target: str = TARGET,
    body: bytes = BODY,
) -> RejectionCode:
    with pytest.raises(ProtocolError) as caught:
        verified(headers, by=by, method=method, target=target, body=body)
    return caught.value.code


def test_signed_bytes_are_those_of_the_golden_vector() -> None:
    fields = VECTOR["fields"]

    payload = http_auth.build_payload(
        scheme="sr25519",
        method=fields["method"],
        path=fields["target"],
        body=fields["body"].encode(),
        nonce_ns=fields["nonce_ns"],
        sender_ss58=fields["sender"],
        receiver_ss58=fields["receiver"],
    )

    assert payload.decode() == VECTOR["payload"]


def test_a_signature_made_elsewhere_verifies_here() -> None:
    fields = VECTOR["fields"]

    caller = verified(
        VECTOR["headers"],
        by=verifier(now_ns=fields["nonce_ns"] + NS),
        method=fields["method"],
        target=fields["target"],
        body=fields["body"].encode(),
    )

    assert caller == fields["sender"] == ALICE.hotkey


def test_our_headers_verify_with_the_sdk() -> None:
    caller = http_auth.verify(
        signed(),
        BODY,
        method="POST",
        path=TARGET,
        self_hotkey_ss58=BOB.hotkey,
        nonce_store=http_auth.InMemoryNonceStore(),
        now_ns=NOW_NS,
    )

    assert caller.hotkey_ss58 == ALICE.hotkey


def test_the_sdks_headers_verify_with_ours() -> None:
    keypair = bittensor_core.Keypair.create_from_uri("//Alice")
    headers = http_auth.sign(
        keypair, method="GET", path="/log", receiver_ss58=BOB.hotkey, nonce_ns=NOW_NS
    )

    assert verified(headers, method="GET", target="/log", body=b"") == ALICE.hotkey


def test_a_request_is_refused_the_second_time() -> None:
    node, headers = verifier(), signed()

    verified(headers, by=node)

    assert refusal(headers, by=node) == RejectionCode.REPLAYED


def test_workers_that_share_a_store_share_its_memory() -> None:
    nonces, headers = MemoryNonceStore(now_ns=lambda: NOW_NS), signed()

    verified(headers, by=verifier(nonces=nonces))

    assert refusal(headers, by=verifier(nonces=nonces)) == RejectionCode.REPLAYED


def test_a_forged_request_does_not_use_up_the_nonce() -> None:
    node, headers = verifier(), signed()

    assert refusal(headers, by=node, body=b"other") == RejectionCode.SIGNATURE_INVALID

    assert verified(headers, by=node) == ALICE.hotkey


def test_a_request_for_another_receiver_is_not_permitted() -> None:
    assert refusal(signed(receiver=CHARLIE.hotkey)) == RejectionCode.NOT_PERMITTED


@pytest.mark.parametrize("age_seconds", [MAX_AGE_SECONDS + 0.001, -MAX_SKEW_SECONDS - 0.001])
def test_a_request_outside_the_window_is_refused(age_seconds: float) -> None:
    now_ns = NOW_NS + round(age_seconds * NS)

    assert refusal(signed(), by=verifier(now_ns=now_ns)) == RejectionCode.REPLAYED


@pytest.mark.parametrize("age_seconds", [MAX_AGE_SECONDS, -MAX_SKEW_SECONDS])
def test_a_request_at_the_edge_of_the_window_is_taken(age_seconds: float) -> None:
    now_ns = NOW_NS + round(age_seconds * NS)

    assert verified(signed(), by=verifier(now_ns=now_ns)) == ALICE.hotkey


def test_the_memory_outlives_the_window() -> None:
    clock = [NOW_NS]
    nonces = MemoryNonceStore(now_ns=lambda: clock[0])
    assert nonces.check_and_store("5F", 1)

    clock[0] += round((MAX_AGE_SECONDS + MAX_SKEW_SECONDS) * NS)
    assert not nonces.check_and_store("5F", 1)

    clock[0] += 120 * NS
    assert nonces.check_and_store("5F", 1)


def test_an_oversized_body_is_refused_before_anything_is_hashed() -> None:
    headers = signed(body=b"x" * 101)

    code = refusal(headers, by=verifier(max_body_bytes=100), body=b"x" * 101)

    assert code == RejectionCode.OVERSIZED


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Bittensor-Crypto", "ed25519"),
        ("X-Bittensor-Crypto", "ml-dsa-44"),
        ("X-Bittensor-Crypto", "SR25519"),
        ("X-Bittensor-Version", "2"),
        ("X-Bittensor-Version", "1 "),
        ("X-Bittensor-Nonce", "+1752076800000000000"),
        ("X-Bittensor-Nonce", "01752076800000000000"),
        ("X-Bittensor-Nonce", "1_752_076_800_000_000_000"),
        ("X-Bittensor-Nonce", "9" * 5_000),
        ("X-Bittensor-Nonce", ""),
        ("X-Bittensor-Signature", "0x" + "ab" * 63),
        ("X-Bittensor-Signature", "0x" + "AB" * 64),
        ("X-Bittensor-Signature", "0x" + "zz" * 64),
        ("X-Bittensor-Hotkey", "not an address"),
        ("X-Bittensor-Hotkey", "5" * 48),
        ("X-Bittensor-Receiver", ""),
    ],
)
def test_a_header_of_another_shape_is_malformed(header: str, value: str) -> None:
    assert refusal({**signed(), header: value}) == RejectionCode.MALFORMED


@pytest.mark.parametrize("header", sorted(signed()))
def test_a_missing_header_is_malformed(header: str) -> None:
    headers = signed()
    del headers[header]

    assert refusal(headers) == RejectionCode.MALFORMED


@pytest.mark.parametrize("header", sorted(signed()))
def test_a_repeated_header_is_malformed(header: str) -> None:
    headers = signed()
    pairs = [*headers.items(), (header.lower(), headers[header])]

    with pytest.raises(ProtocolError) as caught:
        verifier().verify(method="POST", target=TARGET, headers=pairs, body=BODY)

    assert caught.value.code == RejectionCode.MALFORMED


@pytest.mark.parametrize("target", ["", "v1", "/a b", "/a\nb", "/ü", "/" + "a" * 2_048])
def test_a_target_of_another_shape_is_malformed(target: str) -> None:
    assert refusal(signed(target=target), target=target) == RejectionCode.MALFORMED


def test_a_method_in_lower_case_is_malformed() -> None:
    assert refusal(signed(), method="post") == RejectionCode.MALFORMED


def test_one_spelling_of_the_scheme_is_taken() -> None:
    assert verified({**signed(), "X-Bittensor-Crypto": "sr25519"}) == ALICE.hotkey


HEADERS = signed()
FLIPS = st.tuples(st.integers(0, 10_000), st.integers(1, 255))


@given(flip=FLIPS, header=st.sampled_from(sorted(HEADERS)))
def test_a_changed_header_is_refused(flip: tuple[int, int], header: str) -> None:
    index, mask = flip
    raw = bytearray(HEADERS[header].encode())
    raw[index % len(raw)] ^= mask

    refusal({**HEADERS, header: raw.decode("latin-1")})


@given(bit=st.integers(0, 511))
def test_a_changed_bit_of_the_signature_is_refused(bit: int) -> None:
    raw = bytearray.fromhex(HEADERS["X-Bittensor-Signature"][2:])
    raw[bit // 8] ^= 1 << bit % 8

    headers = {**HEADERS, "X-Bittensor-Signature": "0x" + raw.hex()}
    assert refusal(headers) == RejectionCode.SIGNATURE_INVALID


@given(flip=FLIPS)
def test_a_changed_target_is_refused(flip: tuple[int, int]) -> None:
    index, mask = flip
    raw = bytearray(TARGET.encode())
    raw[index % len(raw)] ^= mask

    refusal(HEADERS, target=raw.decode("latin-1"))


@given(body=st.binary(max_size=64).filter(lambda body: body != BODY))
def test_another_body_is_refused(body: bytes) -> None:
    assert refusal(HEADERS, body=body) == RejectionCode.SIGNATURE_INVALID


@given(method=st.sampled_from(["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]))
def test_another_method_is_refused(method: str) -> None:
    assert refusal(HEADERS, method=method) == RejectionCode.SIGNATURE_INVALID


def app(node: RequestVerifier) -> Starlette:
    dependency = authenticated_by(node)

    async def report(request: Request) -> JSONResponse:
        try:
            asked = await dependency(request)
        except ProtocolError as error:
            return JSONResponse({"code": error.code}, status_code=401)
        return JSONResponse({"caller": asked.caller, "body": asked.body.decode()})

    return Starlette(routes=[Route("/v1/{name:path}", report, methods=["GET", "POST"])])


def client(node: RequestVerifier, auth: httpx.Auth | None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app(node))
    return httpx.AsyncClient(transport=transport, base_url="http://miner", auth=auth)


def live_verifier(*, max_body_bytes: int = 1_000) -> RequestVerifier:
    return RequestVerifier(
        self_hotkey=BOB.hotkey, nonces=MemoryNonceStore(), max_body_bytes=max_body_bytes
    )


@pytest.mark.parametrize("path", ["/v1/a", "/v1/a?x=1&y=%20", "/v1/ü%2Fb?q=ü", "/v1/a?"])
async def test_a_client_and_a_server_agree(path: str) -> None:
    async with client(live_verifier(), SignedRequests(ALICE, BOB.hotkey)) as http:
        posted = await http.post(path, content=b"body")
        fetched = await http.get(path)

    assert posted.json() == {"caller": ALICE.hotkey, "body": "body"}
    assert fetched.json() == {"caller": ALICE.hotkey, "body": ""}


async def test_a_streamed_body_is_signed_whole() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    async with client(live_verifier(), SignedRequests(ALICE, BOB.hotkey)) as http:
        answer = await http.post("/v1/a", content=chunks())

    assert answer.json()["body"] == "abc" * 3


async def test_a_server_stops_reading_at_its_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 100

    async with client(live_verifier(max_body_bytes=1_000), None) as http:
        answer = await http.post("/v1/a", content=endless())

    assert answer.json() == {"code": "oversized"}
    assert read == 11


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    headers = {"Content-Length": "1001"}
    async with client(live_verifier(max_body_bytes=1_000), None) as http:
        answer = await http.post("/v1/a", headers=headers, content=b"")

    assert answer.json() == {"code": "oversized"}


async def test_a_captured_request_is_refused() -> None:
    async with client(live_verifier(), SignedRequests(ALICE, BOB.hotkey)) as http:
        first = await http.post("/v1/a", content=b"body")
        captured = {k: v for k, v in first.request.headers.items() if k.startswith("x-bit")}
    async with client(live_verifier(), None) as http:
        elsewhere = await http.post("/v1/a", content=b"body", headers=captured)
        again = await http.post("/v1/a", content=b"body", headers=captured)

    assert elsewhere.status_code == 200  # another process, with another store: hence NonceStore
    assert again.json() == {"code": "replayed"}


async def test_requests_in_one_tick_of_the_clock_differ() -> None:
    async with client(live_verifier(), SignedRequests(ALICE, BOB.hotkey)) as http:
        answers = [await http.post("/v1/a", content=b"body") for _ in range(50)]

    assert {answer.status_code for answer in answers} == {200}
