"""Two validators over the same rounds: the same cells, scores and weights, to the byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.canonical import canonical_json
from protocol.messages import RoundRecord
from tests.support.behaviours import Equivocates, OtherModel, Shades, Silent
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.simulator import SimulatedMiner
from tests.support.validator import Simulation


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def network(data_dir: Path, *, validator: str, database: str | None = None) -> Simulation:
    miners = [
        SimulatedMiner("ann"),
        SimulatedMiner("ben"),
        SimulatedMiner("cat"),
        SimulatedMiner("shade", Shades()),
        SimulatedMiner("cheap", OtherModel()),
        SimulatedMiner("silent", Silent()),
        SimulatedMiner("fraud", Equivocates()),
    ]
    return Simulation(miners, data_dir, validator=validator, database=database)


def agreed(record: RoundRecord) -> bytes:
    """The bytes in which two validators must not differ."""
    return canonical_json(
        {
            "cells": [value.model_dump(mode="json") for value in record.cells],
            "scores": [score.model_dump(mode="json") for score in record.scores],
            "weights": [entry.model_dump(mode="json") for entry in record.weights],
        }
    )


@pytest.mark.postgres
async def test_sqlite_and_postgresql_validators_agree_to_the_byte(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    first = network(tmp_path / "first", validator="Validator")
    url = postgres.create_database("agreement")
    second = network(tmp_path / "second", validator="Other", database=url)

    for number in (1, 2, 3):
        one, other = await first.play(number), await second.play(number)
        assert agreed(one) == agreed(other)
        assert one.validator != other.validator

    assert [vector for vector, _ in first.chain.sent] == [vector for vector, _ in second.chain.sent]
    first.store.close()
    second.store.close()
