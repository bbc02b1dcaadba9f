"""Refusals: stable reasons, hints, and their place in the documentation."""

from pathlib import Path

import pytest

from miner import refusals
from miner.measurement import Flag
from miner.refusals import REFUSALS, MeterError
from protocol.errors import MeasurementError

DOCUMENT = Path("docs/measurement.md")


def test_every_refusal_is_listed() -> None:
    defined = {
        value
        for value in vars(refusals).values()
        if isinstance(value, type) and issubclass(value, MeterError) and value is not MeterError
    }

    assert defined == set(REFUSALS)


def test_reasons_are_distinct() -> None:
    assert len({refusal.reason for refusal in REFUSALS}) == len(REFUSALS)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_has_a_hint_and_is_documented(refusal: type[MeterError]) -> None:
    error = refusal("it happened")

    assert isinstance(error, MeasurementError)
    assert error.hint == refusal.default_hint
    assert refusal("it happened", hint="do this").hint == "do this"
    assert f"| `{refusal.reason}` |" in DOCUMENT.read_text()


@pytest.mark.parametrize("flag", Flag)
def test_a_flag_is_documented(flag: Flag) -> None:
    assert f"| `{flag.value}` |" in DOCUMENT.read_text()
