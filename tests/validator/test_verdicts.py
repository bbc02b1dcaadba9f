"""Verdicts and records at the limits of the wire."""

from protocol.canonical import canonical_bytes
from protocol.constants import LOG_ENTRY_MAX_BYTES
from protocol.messages import RoundRecord
from protocol.signing import sign
from tests.support import factories
from tests.support.keys import DevSigner
from validator.verdicts import cell_of

LONG = "\u20ac" * 200
"""The longest name that a message may hold, three bytes a character."""


def test_the_record_of_256_miners_in_256_cells_fits_an_entry() -> None:
    record = factories.round_record()
    largest = 2**53 - 1
    cell = record.cells[0].cell.model_copy(
        update={"gpu": LONG, "engine": LONG, "model": LONG, "revision": "r" * 64}
    )
    numbers = {
        name: largest
        for name in type(record.cells[0]).model_fields
        if name.endswith(("_uwh", "_count", "_ppm"))
    }
    value = record.cells[0].model_copy(update={"cell": cell, **numbers})
    full = RoundRecord.model_validate(
        {
            **record.model_dump(),
            "verdict_digests": record.verdict_digests * 256,
            "cells": (value,) * 256,
            "scores": record.scores * 256,
            "weights": record.weights[:1] * 257,
        }
    )

    assert len(canonical_bytes(sign(full, DevSigner("//Validator")))) <= LOG_ENTRY_MAX_BYTES


def test_sixteen_devices_with_long_names_still_have_a_cell() -> None:
    devices = tuple(
        factories.DEVICE.model_copy(update={"name": f"{place:03}" + "x" * 197})
        for place in range(16)
    )
    other = (*devices[:-1], devices[-1].model_copy(update={"name": "y" * 200}))
    first = cell_of(factories.report().model_copy(update={"devices": devices}))
    second = cell_of(factories.report().model_copy(update={"devices": other}))

    assert len(first.gpu) == 200
    assert first.gpu != second.gpu
