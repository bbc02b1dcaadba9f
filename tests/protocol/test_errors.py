"""The error tree: whose fault it is, and what can be done."""

import inspect
import re

import pytest

from protocol import errors
from protocol.errors import (
    Error,
    MalformedMessageError,
    ProtocolError,
    Rejection,
    RejectionCode,
    SignatureError,
    VersionMismatchError,
)

_CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}


def test_every_error_stands_in_the_tree_of_the_module() -> None:
    drawn = set(re.findall(r"\b\w*Error\b", errors.__doc__ or ""))

    assert drawn == set(_CLASSES)


def test_every_error_descends_from_the_root() -> None:
    assert all(issubclass(kind, Error) for kind in _CLASSES.values())


def test_an_error_carries_its_hint() -> None:
    fault = Error("the port is taken", hint="Choose another with --port.")

    assert str(fault) == "the port is taken"
    assert fault.hint == "Choose another with --port."


def test_a_hint_is_empty_when_there_is_nothing_to_do() -> None:
    assert Error("so it is").hint == ""


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ProtocolError, RejectionCode.MALFORMED),
        (MalformedMessageError, RejectionCode.MALFORMED),
        (SignatureError, RejectionCode.SIGNATURE_INVALID),
        (VersionMismatchError, RejectionCode.VERSION_MISMATCH),
    ],
)
def test_a_broken_agreement_becomes_a_rejection(
    kind: type[ProtocolError], code: RejectionCode
) -> None:
    assert kind("what was found").rejection == Rejection(code=code, detail="what was found")


def test_a_code_of_its_own_wins_over_the_class() -> None:
    fault = SignatureError("signed by another", code=RejectionCode.WRONG_MINER)

    assert fault.rejection.code is RejectionCode.WRONG_MINER
    assert SignatureError.code is RejectionCode.SIGNATURE_INVALID


def test_codes_are_stable_names() -> None:
    assert all(code.value == code.name.lower() for code in RejectionCode)


def test_every_code_says_what_it_means() -> None:
    source = inspect.getsource(RejectionCode)
    documented = re.findall(r"^    ([A-Z_]+) = .*\n    \"\"\"\S", source, flags=re.MULTILINE)

    assert documented == [code.name for code in RejectionCode]
