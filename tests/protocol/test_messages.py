"""The network's data: golden bytes, and what no message may hold."""

import json
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from protocol import messages
from protocol.canonical import canonical_bytes, message_digest, parse
from protocol.constants import COMMITMENT_MAX_BYTES, ENVELOPE_MAX_BYTES, REPORT_MAX_BYTES
from protocol.errors import ProtocolError
from protocol.messages import Message, NetworkMessage
from protocol.signing import Signature, Signed, payload_type, sign, signing_bytes, verify
from tests.support import factories, vectors
from tests.support.vectors import MessageVector

_EXAMPLES = {name: message for name, (message, _) in vectors.messages().items()}
_KINDS = [
    value
    for value in vars(messages).values()
    if isinstance(value, type) and issubclass(value, Message)
]


def golden(name: str) -> MessageVector:
    vector: MessageVector = vectors.load(name)  # type: ignore[assignment]
    return vector


@pytest.fixture(params=sorted(_EXAMPLES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_fields_become_the_golden_bytes(name: str) -> None:
    vector = golden(name)

    message = parse(
        type(_EXAMPLES[name]), json.dumps(vector["message"]).encode(), max_bytes=REPORT_MAX_BYTES
    )

    assert canonical_bytes(message).decode() == vector["canonical"]
    assert message == _EXAMPLES[name]


def test_golden_bytes_have_the_golden_digest(name: str) -> None:
    vector = golden(name)

    assert message_digest(_EXAMPLES[name]) == vector["digest"]


def test_golden_bytes_are_plain_sorted_json(name: str) -> None:
    vector = golden(name)

    # Python's own encoder agrees with RFC 8785 where all keys are ASCII and no number is a float.
    expected = json.dumps(
        vector["message"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )

    assert vector["canonical"] == expected


def test_the_golden_signing_bytes_name_kind_version_and_digest(name: str) -> None:
    vector = golden(name)
    message = _EXAMPLES[name]

    assert payload_type(message) == vector["payload_type"]
    assert signing_bytes(message).decode() == vector["signing_bytes"]
    # DSSE: the words with their lengths, so that no two pairs join to the same bytes.
    kind, digest = vector["payload_type"], vector["digest"]
    assert vector["signing_bytes"] == f"DSSEv1 {len(kind)} {kind} 64 {digest}"


def test_the_golden_signature_verifies(name: str) -> None:
    vector = golden(name)
    message = _EXAMPLES[name]

    envelope = cast("type[Signed[NetworkMessage]]", Signed.__class_getitem__(type(message)))
    signed = envelope(
        payload_type=vector["payload_type"],
        payload=message,
        signatures=(Signature(keyid=vector["hotkey"], sig=vector["signature"]),),
    )

    assert verify(signed, hotkey=vector["hotkey"]) == message


def test_every_kind_of_message_has_a_vector() -> None:
    alone = {kind for kind in _KINDS if issubclass(kind, NetworkMessage)} - {NetworkMessage}

    assert {type(message) for message in _EXAMPLES.values()} == alone


@pytest.mark.parametrize("kind", _KINDS)
def test_messages_are_frozen_closed_and_strict(kind: type[Message]) -> None:
    assert kind.model_config["frozen"]
    assert kind.model_config["extra"] == "forbid"
    assert kind.model_config["strict"]


@pytest.mark.parametrize("kind", _KINDS)
def test_messages_hold_no_floats_and_no_open_mappings(kind: type[Message]) -> None:
    for field, info in kind.model_fields.items():
        found = leaf_types(info.annotation)
        assert all(_is_allowed(item) for item in found), f"{kind.__name__}.{field}: {found}"


@pytest.mark.parametrize("kind", _KINDS)
def test_every_integer_on_the_wire_is_bounded(kind: type[Message]) -> None:
    for field, schema in kind.model_json_schema().get("properties", {}).items():
        for part in _integer_schemas(schema):
            bounds = part.keys() & {"maximum", "exclusiveMaximum", "const"}
            assert bounds, f"{kind.__name__}.{field} has no upper bound"


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        factories.commitment().energy_mj = 1  # type: ignore[misc]


@given(st.data())
def test_a_report_with_one_field_of_another_type_is_refused(data: st.DataObject) -> None:
    fields = factories.report().model_dump(mode="json")
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = {"not": "what belongs here"}

    with pytest.raises(ProtocolError, match=name):
        parse(messages.Report, json.dumps(fields).encode(), max_bytes=REPORT_MAX_BYTES)


@given(st.data())
def test_a_report_that_lacks_a_field_is_refused(data: st.DataObject) -> None:
    fields = factories.report().model_dump(mode="json")
    name = data.draw(st.sampled_from(sorted(fields.keys() - {"kind", "version"})))
    del fields[name]

    with pytest.raises(ProtocolError, match=name):
        parse(messages.Report, json.dumps(fields).encode(), max_bytes=REPORT_MAX_BYTES)


@pytest.mark.parametrize("name", ["energy_mj", "duration_us", "round", "systematic_ppm"])
@pytest.mark.parametrize("value", [-1, 2**53, 1.5, "1", True, None])
def test_a_quantity_takes_only_whole_numbers_within_bounds(name: str, value: object) -> None:
    fields = factories.report().model_dump(mode="json") | {name: value}

    with pytest.raises(ProtocolError, match=name):
        parse(messages.Report, json.dumps(fields).encode(), max_bytes=REPORT_MAX_BYTES)


def test_cells_differ_in_their_key_when_anything_differs() -> None:
    cell = factories.cell()
    others = {
        "workload": "w",
        "model": "m",
        "revision": "r",
        "gpu": "g",
        "gpu_count": 2,
        "dtype": "bfloat16",
        "engine": "vllm",
        "power_limit_w": 350,
        "meter": messages.MeterKind.NVML,
    }

    keys = {cell.model_copy(update={name: value}).key for name, value in others.items()}

    assert others.keys() == type(cell).model_fields.keys()
    assert len(keys | {cell.key}) == len(others) + 1


def test_a_full_report_and_its_commitment_fit_their_limits() -> None:
    # 1,000 prompts, and 100 s of evidence at 10 Hz.
    report = factories.report(prompt_count=1_000, trace_rows=1_000)

    envelope = canonical_bytes(sign(report, factories.MINER))
    commitment = canonical_bytes(sign(factories.commitment(report), factories.MINER))

    assert len(envelope) <= REPORT_MAX_BYTES
    assert len(envelope) - len(canonical_bytes(report)) <= ENVELOPE_MAX_BYTES
    assert len(commitment) <= COMMITMENT_MAX_BYTES


def leaf_types(annotation: Any) -> set[Any]:  # noqa: ANN401 - a type is whatever typing makes of it
    """The types that stand in an annotation, without their wrappers."""
    origin = get_origin(annotation)
    if origin is Literal:
        return {type(value) for value in get_args(annotation)}
    if origin is Annotated:
        return leaf_types(get_args(annotation)[0])
    if origin in {tuple, Union, UnionType}:
        parts = (part for part in get_args(annotation) if part is not Ellipsis)
        return set().union(*(leaf_types(part) for part in parts))
    return {annotation}


def _is_allowed(kind: Any) -> bool:  # noqa: ANN401 - see above
    if kind in {int, str, bool, type(None)}:
        return True
    return isinstance(kind, type) and (
        issubclass(kind, BaseModel) or (issubclass(kind, str) and issubclass(kind, Enum))
    )


def _integer_schemas(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found = [schema] if schema.get("type") == "integer" else []
    for part in (schema.get("items"), *schema.get("anyOf", ())):
        if isinstance(part, dict):
            found += _integer_schemas(part)
    return found
