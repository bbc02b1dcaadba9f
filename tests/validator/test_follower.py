"""Following the chain: a clock on blocks, every round once, whatever goes wrong in between."""

import asyncio
from pathlib import Path

import pytest

from protocol.errors import ChainError, StoreError
from protocol.ids import BlockNumber, RoundNumber
from protocol.rounds import Schedule
from tests.support.chain import FakeChain, FakeLedger
from tests.support.simulator import NETWORK, SimulatedMiner
from tests.support.validator import Simulation
from validator.follower import Follower, HeadClock

FAST_SECONDS = 0.001


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Clocked:
    """A clock on a chain, and the task that moves it."""

    def __init__(self, ledger: FakeLedger) -> None:
        self.ledger = ledger
        self.clock = HeadClock(FakeChain(ledger), FAST_SECONDS)

    async def see(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.ledger.advance()
            await self.clock.look()
            await turns()


async def test_the_clock_has_no_block_before_it_starts() -> None:
    clock = HeadClock(FakeChain(FakeLedger(number=7)), FAST_SECONDS)

    with pytest.raises(ChainError, match="no block"):
        _ = clock.head
    await clock.look()
    assert clock.head.number == 7


async def test_waiting_ends_when_the_block_is_there_and_not_before() -> None:
    clocked = Clocked(FakeLedger(number=1))
    await clocked.clock.look()
    waiting = asyncio.create_task(clocked.clock.reached(BlockNumber(3)))

    await clocked.see()
    assert not waiting.done()
    await clocked.see()
    await waiting

    await clocked.clock.reached(BlockNumber(1))


async def test_a_chain_that_comes_back_is_followed_again() -> None:
    clocked = Clocked(FakeLedger(number=1))
    await clocked.clock.look()
    clocked.ledger.down = True
    following = asyncio.create_task(clocked.clock.follow())
    await asyncio.sleep(0.05)

    clocked.ledger.down = False
    clocked.ledger.advance()
    async with asyncio.timeout(5):
        await clocked.clock.reached(BlockNumber(2))

    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


class Script:
    """A story that notes what it is asked to play, and fails as told."""

    def __init__(self, *failures: Exception) -> None:
        self.played: list[int] = []
        self.foreseen: list[tuple[int, int]] = []
        self.failures = list(failures)
        self.clock: HeadClock | None = None

    async def play(self, number: RoundNumber) -> None:
        self.played.append(number)
        if self.failures:
            raise self.failures.pop(0)

    async def foresee(self, number: RoundNumber) -> None:
        self.foreseen.append((number, self.clock.head.number if self.clock else 0))
        raise ChainError("away for a moment")


SCHEDULE = Schedule(round_blocks=8, commit_blocks=2, reveal_blocks=6)


async def test_unsettled_rounds_are_taken_up_and_each_new_one_is_played_once() -> None:
    clocked, script = Clocked(FakeLedger(number=80)), Script()
    await clocked.clock.look()
    follower = Follower(script, clocked.clock, SCHEDULE, lambda: (RoundNumber(9),))
    running = asyncio.create_task(follower.run())
    await turns()

    script.clock = clocked.clock

    await clocked.see(17)

    assert script.played == [9, 10, 11, 12]
    assert script.foreseen == [(11, 84), (12, 92)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_round_is_played_again_when_the_chain_was_away() -> None:
    clocked = Clocked(FakeLedger(number=80))
    script = Script(ChainError("away"), ExceptionGroup("tasks", [ChainError("away")]))
    await clocked.clock.look()
    running = asyncio.create_task(Follower(script, clocked.clock, SCHEDULE, lambda: ()).run())
    await turns()

    await clocked.see(5)

    assert script.played == [10, 10, 10]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_full_disk_ends_the_validator() -> None:
    clocked = Clocked(FakeLedger(number=80))
    await clocked.clock.look()

    with pytest.RaisesGroup(StoreError, flatten_subgroups=True):
        await Follower(Script(StoreError("disk full")), clocked.clock, SCHEDULE, lambda: ()).run()


async def test_rounds_follow_each_other_on_a_real_story(tmp_path: Path) -> None:
    simulation = Simulation([SimulatedMiner("ann"), SimulatedMiner("ben")], tmp_path)
    clock = simulation.clock
    running = asyncio.create_task(
        Follower(simulation.story, clock, NETWORK.schedule, simulation.store.unsettled).run()
    )
    await clock.advance(2 * NETWORK.schedule.round_blocks)

    assert simulation.store.last_scored() == 2
    assert len(simulation.chain.sent) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    simulation.store.close()
