"""Message to bytes: the one byte string that is hashed and signed (RFC 8785, JCS).

Messages hold only integers below 2^53, strings, booleans, lists and objects, so that any
JSON implementation arrives at the same bytes; floats never meet a hash.
"""

import hashlib
from typing import TypeAlias, TypeVar

import rfc8785
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from protocol.errors import (
    MalformedMessageError,
    ProtocolError,
    RejectionCode,
    VersionMismatchError,
)
from protocol.ids import Digest

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

Model = TypeVar("Model", bound=BaseModel)


def digest(data: bytes) -> Digest:
    """SHA-256 of some bytes as lower-case hex."""
    return Digest(hashlib.sha256(data).hexdigest())


def canonical_json(value: Json) -> bytes:
    """The RFC 8785 form of plain JSON data.

    Raises:
        MalformedMessageError: If the data holds a float, an integer of 2^53 or more, or a text
            that is no Unicode.
    """
    _refuse_floats(value)
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as fault:
        raise MalformedMessageError(f"no canonical form: {fault}") from fault


def canonical_bytes(message: BaseModel) -> bytes:
    """The RFC 8785 form of a message."""
    return canonical_json(message.model_dump(mode="json"))


def message_digest(message: BaseModel) -> Digest:
    """SHA-256 of a message's canonical bytes: its id everywhere.

    Signatures are randomised (sr25519), so they never serve as an id.
    """
    return digest(canonical_bytes(message))


def parse(model: type[Model], data: bytes, *, max_bytes: int) -> Model:
    """A message from foreign bytes.

    Args:
        model: The message class that is expected.
        data: UTF-8 JSON as received.
        max_bytes: Largest size that is looked at (bytes).

    Raises:
        ProtocolError: With `RejectionCode.OVERSIZED`.
        VersionMismatchError: If the message states another version than the class.
        MalformedMessageError: For anything else that is not the schema.
    """
    if len(data) > max_bytes:
        detail = f"{len(data)} bytes, at most {max_bytes} are allowed"
        raise ProtocolError(detail, code=RejectionCode.OVERSIZED)
    try:
        return model.model_validate_json(data)
    except ValidationError as fault:
        raise _refusal(model, fault) from None
    except RecursionError:
        raise MalformedMessageError("nested too deeply") from None


def _refusal(model: type[BaseModel], fault: ValidationError) -> ProtocolError:
    found = fault.errors(include_url=False, include_input=False, include_context=False)
    # Another version explains every other fault, so it is named first.
    version = next((error for error in found if _names_version(error)), None)
    first = version or found[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    kind = VersionMismatchError if version else MalformedMessageError
    return kind(f"{model.__name__}: {where}: {first['msg']}")


def _names_version(error: ErrorDetails) -> bool:
    return error["loc"][-1:] == ("version",) and error["type"] != "extra_forbidden"


def _refuse_floats(value: Json) -> None:
    if isinstance(value, float):
        raise MalformedMessageError("floats have no place in signed bytes")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
