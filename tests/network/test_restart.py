"""A validator that is killed in the middle of a round, and one that comes late."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from protocol.errors import ChainError, RejectionCode
from protocol.ids import RoundNumber
from tests.support.behaviours import Honest, OtherModel, Shades, Silent
from tests.support.simulator import NETWORK, SimulatedMiner
from tests.support.validator import Simulation

_SCHEDULE, _ROUND = NETWORK.schedule, RoundNumber(1)
BLOCKS = (
    _SCHEDULE.start(_ROUND) + 1,
    _SCHEDULE.start(_ROUND) + 5,
    _SCHEDULE.commit_deadline(_ROUND),
    _SCHEDULE.commit_deadline(_ROUND) + 1,
    _SCHEDULE.beacon(_ROUND) - 1,
    _SCHEDULE.beacon(_ROUND),
)
"""Before, amid and after the commitments, and around the beacon."""


def network(data_dir: Path) -> Simulation:
    cast = {
        "ann": Honest(),
        "ben": Honest(),
        "cat": Honest(),
        "shade": Shades(),
        "cheap": OtherModel(),
        "silent": Silent(),
    }
    return Simulation([SimulatedMiner(name, does) for name, does in cast.items()], data_dir)


async def test_a_kill_at_any_block_loses_and_doubles_nothing(tmp_path: Path) -> None:
    whole = network(tmp_path / "whole")
    wanted = await whole.play(1)
    whole.store.close()

    for block in BLOCKS:
        simulation = network(tmp_path / f"killed-{block}")
        await simulation.play_until(1, block)
        simulation.restart()
        record = await simulation.play(1)

        assert record.cells == wanted.cells, block
        assert record.scores == wanted.scores, block
        assert record.weights == wanted.weights, block
        assert len(record.verdict_digests) == len(simulation.miners)
        assert simulation.log.size == len(simulation.miners) + 1
        assert len(simulation.chain.sent) == 1
        simulation.store.close()


async def test_a_concluded_round_is_not_played_again(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    await simulation.play(1)
    size = simulation.log.size

    simulation.restart()
    await simulation.story.play(RoundNumber(1))

    assert simulation.log.size == size
    assert len(simulation.chain.sent) == 1
    simulation.store.close()


async def test_weights_that_went_out_before_a_kill_are_not_sent_twice(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    await simulation.play(1)
    state = simulation.store.state(RoundNumber(1))
    assert state is not None
    forget_weights(tmp_path)

    simulation.restart()
    await simulation.story.play(RoundNumber(1))

    assert len(simulation.chain.sent) == 1
    assert simulation.store.last_weights_block() == state.weights_block
    simulation.store.close()


def forget_weights(data_dir: Path) -> None:
    """Put the database back to just before it learned that the weights are on chain."""
    with contextlib.closing(sqlite3.connect(data_dir / "validator.db")) as database:
        database.execute("UPDATE validator_rounds SET weights_block = NULL")
        database.commit()


async def test_a_validator_that_was_away_for_the_commitments_judges_nobody(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    simulation.ledger.advance(NETWORK.schedule.commit_blocks + 3)

    record = await simulation.play(1)

    assert record.verdict_digests == ()
    assert record.scores == ()
    simulation.store.close()


async def test_a_late_start_gives_no_bound_on_the_duration(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    simulation.ledger.advance(NETWORK.schedule.commit_blocks - 2)

    await simulation.play(1)

    codes = [finding.code for finding in simulation.verdict("ann", 1).findings]
    assert "observed_time_us" not in codes
    assert simulation.code("ann", 1) == ""
    simulation.store.close()


async def test_a_round_waits_for_the_chain_to_come_back(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    await simulation.play_until(1, NETWORK.schedule.beacon(RoundNumber(1)) - 1)
    simulation.ledger.down = True

    with pytest.raises(ChainError, match="does not answer"):
        await simulation.play(1)
    simulation.ledger.down = False
    await simulation.play(1)

    assert simulation.code("silent", 1) == RejectionCode.NO_COMMITMENT
    simulation.store.close()
