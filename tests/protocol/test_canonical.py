"""Message to bytes (RFC 8785), and foreign bytes to message."""

import hashlib
import json
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.canonical import Json, canonical_bytes, canonical_json, digest, message_digest, parse
from protocol.errors import (
    MalformedMessageError,
    ProtocolError,
    RejectionCode,
    VersionMismatchError,
)
from protocol.messages import Count, Message, NetworkMessage, Text
from tests.support import factories

_LARGEST = 2**53 - 1
# Surrogates are no Unicode text, so no JSON text holds them.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-_LARGEST, _LARGEST) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


class Inner(Message):
    """A part of an example."""

    count: Count


class Example(NetworkMessage):
    """An example message."""

    kind: Literal["example"] = "example"
    count: Count
    text: Text = ""
    inner: Inner | None = None


def body(**fields: object) -> bytes:
    """JSON of an example with some fields set."""
    chain = {"genesis_hash": factories.GENESIS_HASH, "netuid": 2}
    return json.dumps({**chain, "count": 1, **fields}).encode()


@given(json_values)
def test_canonical_json_reads_back_as_the_same_value(value: Json) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(texts, st.integers(-_LARGEST, _LARGEST), max_size=6), st.randoms())
def test_key_order_does_not_matter(fields: dict[str, Json], random: Random) -> None:
    shuffled = list(fields.items())
    random.shuffle(shuffled)

    assert canonical_json(dict(shuffled)) == canonical_json(fields)


@given(json_values)
def test_ascii_json_equals_the_standard_library_when_sorted(value: Json) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    # RFC 8785 sorts by UTF-16 code units and Python by code points: the same up to U+FFFF.
    if all(ord(character) < 0xD800 for character in expected):
        assert canonical_json(value) == expected.encode()


def test_keys_are_sorted_by_utf16_code_units() -> None:
    # RFC 8785 section 3.2.3: U+1F600 (D83D DE00) comes before U+FB33.
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        float("nan"),
        [1, [2.0]],
        (1, 2.5),
        {"a": {"b": 1.0}},
        2**53,
        -(2**53),
        {1: 2},
        b"bytes",
        "\ud800",
        {"\ud800": 1},
    ],
)
def test_no_canonical_form_exists_of(value: Json) -> None:
    with pytest.raises(MalformedMessageError):
        canonical_json(value)


def test_digest_is_sha256_in_lower_case_hex() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_messages_digest_is_that_of_its_canonical_bytes() -> None:
    message = factories.report()

    assert message_digest(message) == hashlib.sha256(canonical_bytes(message)).hexdigest()


def test_parsing_canonical_bytes_gives_the_message_back() -> None:
    for message in (factories.report(), factories.verdict(), factories.round_record()):
        data = canonical_bytes(message)

        assert parse(type(message), data, max_bytes=len(data)) == message


def test_a_message_is_refused_unread_when_it_is_too_large() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(Example, b"{" * 101, max_bytes=100)

    assert caught.value.rejection.code is RejectionCode.OVERSIZED
    assert "101 bytes, at most 100" in caught.value.rejection.detail


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None])
def test_another_version_is_named_as_such(version: object) -> None:
    with pytest.raises(VersionMismatchError, match="version"):
        parse(Example, body(version=version), max_bytes=1_000)


def test_another_version_is_named_before_the_fields_that_it_brings() -> None:
    with pytest.raises(VersionMismatchError):
        parse(Example, body(version=2, count="many", joules=1), max_bytes=1_000)


def test_a_version_where_none_belongs_is_malformed() -> None:
    with pytest.raises(MalformedMessageError, match=r"inner\.version"):
        parse(Example, body(inner={"count": 1, "version": 2}), max_bytes=1_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"\xef\xbb\xbf" + body(),
        body() + b"{}",
        b"[" * 50_000,
        b'{"count":' * 50_000,
        body(count=1.0),
        body(count=True),
        body(count="1"),
        body(count=-1),
        body(count=2**53),
        body(count=None),
        body(text="x" * 201),
        body(text=1),
        body(joules=1),
        body(kind="report"),
        body(netuid=65_536),
        body(genesis_hash="0x" + "0A" * 32),
        body(genesis_hash=factories.GENESIS_HASH + "\n"),
        b'{"count":NaN}',
        body()[:-1] + b',"text":"\\ud800"}',
    ],
)
def test_anything_but_the_schema_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        parse(Example, data, max_bytes=1_000_000)

    assert caught.value.rejection.code is RejectionCode.MALFORMED


def test_a_refusal_names_the_field_and_not_its_value() -> None:
    with pytest.raises(MalformedMessageError) as caught:
        parse(Example, body(count="s3cret"), max_bytes=1_000)

    assert "Example: count:" in caught.value.rejection.detail
    assert "s3cret" not in caught.value.rejection.detail


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_message_or_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(Example, data, max_bytes=1_000)
