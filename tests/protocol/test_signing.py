"""Signatures: whose, over what, and that nothing else passes."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.canonical import canonical_bytes, parse
from protocol.errors import MalformedMessageError, ProtocolError, RejectionCode, SignatureError
from protocol.messages import Commitment, Report, TreeHead, Verdict
from protocol.signing import Signature, Signed, payload_type, sign, signing_bytes, verify
from tests.support import factories
from tests.support.keys import ALICE, BOB

MAX_BYTES = 400_000


def resigned(
    signed: Signed[Commitment], *, keyid: str = BOB.hotkey, sig: str
) -> Signed[Commitment]:
    return signed.model_copy(update={"signatures": (Signature(keyid=keyid, sig=sig),)})


def test_what_was_signed_verifies_after_a_journey_as_bytes() -> None:
    sent = canonical_bytes(sign(factories.report(), BOB))

    received = parse(Signed[Report], sent, max_bytes=MAX_BYTES)

    assert verify(received, hotkey=BOB.hotkey) == factories.report()


def test_signatures_of_one_message_differ_and_all_verify() -> None:
    first, second = (sign(factories.commitment(), BOB) for _ in range(2))

    assert first.signatures != second.signatures
    assert verify(first, hotkey=BOB.hotkey) == verify(second, hotkey=BOB.hotkey)


def test_another_hotkeys_message_is_of_the_wrong_miner() -> None:
    signed = sign(factories.commitment(), ALICE)

    with pytest.raises(SignatureError) as caught:
        verify(signed, hotkey=BOB.hotkey)

    assert caught.value.rejection.code is RejectionCode.WRONG_MINER
    assert ALICE.hotkey in caught.value.rejection.detail


def test_a_signature_under_another_name_is_invalid() -> None:
    of_alice = sign(factories.commitment(), ALICE)
    forged = resigned(of_alice, sig=of_alice.signatures[0].sig)

    with pytest.raises(SignatureError) as caught:
        verify(forged, hotkey=BOB.hotkey)

    assert caught.value.rejection.code is RejectionCode.SIGNATURE_INVALID


def test_a_changed_message_is_invalid() -> None:
    signed = sign(factories.commitment(), BOB)
    changed = signed.payload.model_copy(update={"energy_mj": 21_000})

    with pytest.raises(SignatureError):
        verify(signed.model_copy(update={"payload": changed}), hotkey=BOB.hotkey)


@given(st.integers(0, 64 * 8 - 1))
def test_a_signature_with_one_bit_flipped_is_invalid(bit: int) -> None:
    signed = sign(factories.commitment(), BOB)
    number = int(signed.signatures[0].sig, 16) ^ (1 << bit)

    with pytest.raises(SignatureError):
        verify(resigned(signed, sig=f"0x{number:0128x}"), hotkey=BOB.hotkey)


@given(st.data())
def test_foreign_bytes_with_one_bit_flipped_never_verify(data: st.DataObject) -> None:
    sent = bytearray(canonical_bytes(sign(factories.commitment(), BOB)))
    position = data.draw(st.integers(0, len(sent) - 1))
    sent[position] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(ProtocolError):
        verify(parse(Signed[Commitment], bytes(sent), max_bytes=MAX_BYTES), hotkey=BOB.hotkey)


def test_a_payload_type_of_another_kind_is_invalid() -> None:
    signed = sign(factories.commitment(), BOB)
    other = payload_type(factories.report())

    with pytest.raises(SignatureError, match="payload type"):
        verify(signed.model_copy(update={"payload_type": other}), hotkey=BOB.hotkey)


def test_kinds_never_share_their_signing_bytes() -> None:
    examples = (
        factories.profile(),
        factories.commitment(),
        factories.report(),
        factories.verdict(),
        factories.round_record(),
        factories.tree_head(),
    )

    assert len({payload_type(message) for message in examples}) == len(examples)
    assert len({signing_bytes(message) for message in examples}) == len(examples)


def test_an_envelope_of_another_kind_does_not_parse() -> None:
    sent = canonical_bytes(sign(factories.tree_head(), ALICE))

    with pytest.raises(MalformedMessageError):
        parse(Signed[Verdict], sent, max_bytes=MAX_BYTES)

    assert parse(Signed[TreeHead], sent, max_bytes=MAX_BYTES).payload == factories.tree_head()


@pytest.mark.parametrize("count", [0, 2])
def test_an_envelope_has_exactly_one_signature(count: int) -> None:
    signed = sign(factories.commitment(), BOB)
    fields = signed.model_dump(mode="json")
    fields["signatures"] *= count

    with pytest.raises(MalformedMessageError, match="signatures"):
        parse(Signed[Commitment], _json(fields), max_bytes=MAX_BYTES)


@pytest.mark.parametrize(
    "respell",
    [
        lambda sig: sig.removeprefix("0x"),
        lambda sig: "0X" + sig[2:],
        lambda sig: "0x" + sig[2:].upper(),
        lambda sig: sig[:4] + " " + sig[4:],
        lambda sig: sig + "\n",
        lambda sig: sig[:-2],
        lambda sig: sig + "00",
        lambda sig: "",
    ],
)
def test_a_signature_has_one_spelling_only(respell: Callable[[str], str]) -> None:
    # Else anybody could make a second envelope, and a second log leaf, of one signature.
    fields = sign(factories.commitment(), BOB).model_dump(mode="json")
    spelt = fields["signatures"][0]["sig"]
    fields["signatures"][0]["sig"] = respell(spelt)

    with pytest.raises(MalformedMessageError, match="sig"):
        parse(Signed[Commitment], _json(fields), max_bytes=MAX_BYTES)


def test_a_key_that_is_no_address_is_invalid_and_no_crash() -> None:
    signed = sign(factories.commitment(), BOB)
    wrong_checksum = BOB.hotkey[:-1] + ("1" if BOB.hotkey[-1] != "1" else "2")

    with pytest.raises(SignatureError):
        verify(
            resigned(signed, keyid=wrong_checksum, sig=signed.signatures[0].sig),
            hotkey=wrong_checksum,
        )


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()
