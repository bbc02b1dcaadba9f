"""The alarm of a validator whose weights no longer land."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.simulator import NETWORK, SimulatedMiner
from tests.support.validator import Simulation
from validator.watch import OVERDUE_TEMPOS, Watch


@pytest.fixture
async def simulation(tmp_path: Path) -> AsyncIterator[Simulation]:
    played = Simulation([SimulatedMiner("ann")], tmp_path)
    yield played
    played.store.close()


def watch_of(simulation: Simulation, now: list[float] | None = None) -> Watch:
    clock = now or [0.0]
    return Watch(
        simulation.chain,
        simulation.clock,
        simulation.signer.hotkey,
        NETWORK.schedule,
        now=lambda: clock[0],
    )


async def test_weights_that_land_are_no_alarm(simulation: Simulation) -> None:
    watch = watch_of(simulation)
    with capture_logs() as logs:
        for number in (1, 2, 3):
            await simulation.play(number)
            await watch.look()

    assert not watch.are_weights_overdue
    assert [entry for entry in logs if entry["event"] == "weights_overdue"] == []


async def test_two_tempos_without_weights_are_one_alarm(simulation: Simulation) -> None:
    watch = watch_of(simulation)
    await watch.look()
    due = max(
        OVERDUE_TEMPOS * simulation.ledger.hyperparameters.tempo_blocks,
        2 * NETWORK.schedule.round_blocks,
    )
    with capture_logs() as logs:
        simulation.ledger.advance(due)
        await watch.look()
        for _ in range(3):
            simulation.ledger.advance(1)
            await watch.look()

    [alarm] = [entry for entry in logs if entry["event"] == "weights_overdue"]
    assert (alarm["log_level"], alarm["blocks"], alarm["permit"]) == ("error", due + 1, True)
    assert "check" in alarm["hint"]


async def test_weights_that_land_again_end_the_alarm(simulation: Simulation) -> None:
    watch = watch_of(simulation)
    await watch.look()
    simulation.ledger.advance(watch.weights_due_blocks + 1)
    await watch.look()
    neuron = simulation.ledger.number
    simulation.ledger.change(simulation.signer.hotkey, last_update_block=neuron)

    with capture_logs() as logs:
        await watch.look()

    assert not watch.are_weights_overdue
    assert [entry["event"] for entry in logs] == ["weights_landed_again"]


async def test_age_and_standing_are_those_of_the_last_look(simulation: Simulation) -> None:
    now = [100.0]
    watch = watch_of(simulation, now)
    assert (watch.age, watch.own, watch.weights_age_blocks) == (None, None, None)

    await watch.look()
    now[0] = 130.0

    assert watch.age == 30.0
    assert watch.own is not None
    assert watch.own.validator_permit
