"""The miner's story when chain, disk, clock or operator get in its way, in virtual time."""

import asyncio
import threading
from pathlib import Path
from typing import TypeVar

import pytest
import structlog

from miner.archive import FileArchive
from miner.outcome import Ending
from protocol.chain import Axon, Block, CallRefusedError
from protocol.errors import ConfigurationError, RejectionCode
from protocol.ids import BlockHash, BlockNumber, Coldkey, RoundNumber
from protocol.units import Seconds
from tests.support.chain import FakeChain
from tests.support.keys import ALICE, BOB
from tests.support.miner import AXON, NETWORK, Stage

T = TypeVar("T")

ROUND = RoundNumber(1)
NEXT = RoundNumber(2)
START = NETWORK.schedule.start(ROUND)
DEADLINE = NETWORK.schedule.commit_deadline(ROUND)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A registered miner at the start of round 1."""
    stage = Stage(tmp_path)
    stage.move_to(START)
    return stage


def kept(message: T | None) -> T:
    assert message is not None
    return message


async def test_a_full_disk_declines_before_the_run(stage: Stage, tmp_path: Path) -> None:
    stage.archive = FileArchive(tmp_path, keep_rounds=5, room_bytes=2**62)
    stage.start()

    await stage.follow_until(START + 60)

    (outcome,) = stage.archive.outcomes()
    assert (outcome.ending, outcome.code) == (Ending.DECLINED, "no_space")
    assert "MINER_KEEP_ROUNDS" in outcome.detail
    assert stage.engine.runs == []


async def test_a_run_that_the_deadline_overtakes_is_given_up(stage: Stage) -> None:
    def overtake(index: int) -> None:
        if index == 4:
            stage.session.head = Block(number=BlockNumber(DEADLINE + 1), hash=BlockHash("0x00"))

    stage.engine.before_prompt = overtake
    await stage.follow_until(START + 60)

    (outcome,) = stage.archive.outcomes()
    assert (outcome.ending, outcome.code) == (Ending.DECLINED, RejectionCode.COMMITMENT_LATE)
    assert stage.archive.report(ROUND) is None


async def test_a_chain_that_makes_no_blocks_is_told_once(stage: Stage) -> None:
    await stage.session.begin()
    looks = 0

    async def frozen(_duration_seconds: float) -> None:
        nonlocal looks
        looks += 1
        stage.world.now_seconds += 30
        if looks == 10:
            stage.session.stop()

    stage.pause = frozen  # type: ignore[assignment, method-assign]
    stage.move_to(DEADLINE)
    stage.start()
    await stage.session.begin()
    with structlog.testing.capture_logs() as events:
        await stage.session.follow()

    told = [event for event in events if event["event"] == "chain_stalled"]
    assert len(told) == 1
    assert stage.session.chain_age_seconds == Seconds(300)


async def test_a_cancelled_session_outlives_its_run(stage: Stage) -> None:
    entered, released = threading.Event(), threading.Event()

    def hold(_index: int) -> None:
        entered.set()
        released.wait(timeout=20)

    async def real_pause(_duration_seconds: float) -> None:
        await asyncio.sleep(0.01)

    stage.engine.before_prompt = hold
    stage.pause = real_pause  # type: ignore[assignment, method-assign]
    stage.start()
    await stage.session.begin()
    following = asyncio.create_task(stage.session.follow())
    await asyncio.to_thread(entered.wait)
    following.cancel()
    await asyncio.sleep(0.05)
    assert not following.done()

    released.set()
    with pytest.raises(asyncio.CancelledError):
        await following

    assert stage.archive.report(ROUND) is None


async def test_an_absent_chain_is_waited_for(stage: Stage) -> None:
    await stage.follow_until(START + 60)
    stage.world.ledger.down = True
    stage.start()
    pauses: list[float] = []
    pause = stage.pause

    async def counted(duration_seconds: float) -> None:
        pauses.append(duration_seconds)
        stage.world.ledger.down = stage.world.now_seconds < 3_600
        await pause(duration_seconds)

    stage.pause = counted  # type: ignore[method-assign]
    stage.world.ledger.down = False
    stage.start()
    await stage.follow_until(8_000)

    assert max(pauses) == 30.0
    assert stage.archive.outcomes()[0].ending is Ending.COMMITTED


async def test_a_report_is_committed_to_when_the_chain_comes_back_in_time(stage: Stage) -> None:
    def cut(index: int) -> None:
        stage.world.ledger.down = index == 9

    stage.engine.before_prompt = cut
    pause = stage.pause

    async def mend(duration_seconds: float) -> None:
        await pause(duration_seconds)
        stage.world.ledger.down = False

    stage.pause = mend  # type: ignore[method-assign]
    stage.start()
    await stage.follow_until(START + 80)

    assert stage.archive.commitment(ROUND) is not None
    assert len(stage.engine.runs) == 1


async def test_a_deregistered_hotkey_declines_and_goes_on(stage: Stage) -> None:
    await stage.session.begin()
    uid = kept(stage.world.ledger.neuron(ALICE.hotkey)).uid
    stage.world.ledger.register(BOB.hotkey, Coldkey(BOB.hotkey), uid=uid)
    stage._until_block = START + 60

    await stage.session.follow()

    assert stage.archive.outcomes()[0].code == RejectionCode.NOT_REGISTERED


async def test_an_unregistered_hotkey_does_not_start(tmp_path: Path) -> None:
    stage = Stage(tmp_path, registered=False)

    with pytest.raises(ConfigurationError, match="holds no UID"):
        await stage.session.begin()


async def test_the_axon_is_announced_again_when_the_chain_lost_it(stage: Stage) -> None:
    await stage.follow_until(START + 60)
    stage.world.ledger.change(ALICE.hotkey, axon=None)
    stage.start()

    await stage.follow_until(NETWORK.schedule.start(NEXT) + 10)

    assert stage.chain.served == [AXON, AXON]


class RateLimited(FakeChain):
    """A chain that refuses the first announcement."""

    refusals = 0

    async def serve_axon(self, axon: Axon) -> None:
        type(self).refusals += 1
        if self.refusals == 1:
            raise CallRefusedError("too soon", reason="ServingRateLimitExceeded")
        await super().serve_axon(axon)


async def test_a_refused_announcement_is_tried_again(stage: Stage) -> None:
    stage.chain = RateLimited(stage.world.ledger, hotkey=ALICE.hotkey)
    stage.start()

    await stage.follow_until(START + 60)

    assert stage.chain.served == [AXON]
    assert stage.archive.commitment(ROUND) is not None


async def test_a_replaced_first_block_voids_the_run(stage: Stage) -> None:
    def reorganise(_index: int) -> None:
        stage.world.ledger.seed = b"another fork"

    stage.engine.before_prompt = reorganise

    await stage.follow_until(START + 60)

    assert stage.archive.commitment(ROUND) is None
    assert stage.archive.outcomes()[0].code == RejectionCode.WRONG_ROUND
