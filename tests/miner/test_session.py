"""The miner's story, in virtual time."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import structlog

from miner.archive import FileArchive
from miner.outcome import Ending, State
from miner.refusals import CounterResetError
from protocol.canonical import canonical_bytes, message_digest
from protocol.chain import Axon, Block, CallRefusedError
from protocol.errors import ConfigurationError, RejectionCode, WorkloadError
from protocol.ids import BlockHash, BlockNumber, Coldkey, RoundNumber
from protocol.merkle import merkle_root
from protocol.networks import TESTNET
from protocol.nonce_chain import nonces
from protocol.signing import verify
from protocol.units import Seconds
from tests.support.chain import OWNER_HOTKEY, FakeChain
from tests.support.keys import ALICE, BOB
from tests.support.miner import AXON, MACHINE, MODEL, NETWORK, Stage

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


async def test_a_round_ends_in_a_commitment_to_a_kept_report(stage: Stage) -> None:
    await stage.follow_until(START + 60)

    report = verify(kept(stage.archive.report(ROUND)), hotkey=ALICE.hotkey)
    commitment = verify(kept(stage.archive.commitment(ROUND)), hotkey=ALICE.hotkey)
    assert commitment.report_digest == message_digest(report)
    assert commitment.leaves_root == merkle_root([canonical_bytes(leaf) for leaf in report.leaves])
    assert commitment.profile_digest == message_digest(stage.session.profile.payload)
    assert (commitment.prompt_count, commitment.output_tokens) == (10, 100)
    assert stage.session.state is State.COMMITTED


async def test_a_report_follows_the_nonce_chain_of_its_round(stage: Stage) -> None:
    await stage.follow_until(START + 60)

    report = kept(stage.archive.report(ROUND)).payload
    outputs = [leaf.output_ids for leaf in report.leaves]
    assert report.block_hash == stage.world.ledger.hash_of(START)
    assert [tuple(nonce[:10]) for nonce in nonces(stage.engine.runs[0].seed, outputs)] == outputs


async def test_each_round_is_met_once(stage: Stage) -> None:
    await stage.follow_until(NETWORK.schedule.start(NEXT) + 60)

    endings = [(outcome.round, outcome.ending) for outcome in stage.archive.outcomes()]
    assert endings == [(NEXT, Ending.COMMITTED), (ROUND, Ending.COMMITTED)]
    assert len({task.seed for task in stage.engine.runs}) == 2


async def test_a_late_start_runs_while_there_is_time(stage: Stage) -> None:
    stage.move_to(START + 100)

    await stage.follow_until(START + 130)

    assert stage.archive.commitment(ROUND) is not None


async def test_a_round_is_declined_when_a_run_does_not_fit(stage: Stage) -> None:
    stage.engine.prompt_seconds = 5.0
    await stage.follow_until(START + 110)  # a run takes 51 s, 102 blocks
    stage.move_to(NETWORK.schedule.start(NEXT) + 80)  # 40 s to the deadline
    stage.start()

    await stage.follow_until(NETWORK.schedule.start(NEXT) + 100)

    (declined, _) = stage.archive.outcomes()
    assert (declined.ending, declined.code) == (Ending.DECLINED, "no_time")
    assert stage.archive.commitment(NEXT) is None
    assert len(stage.engine.runs) == 1


async def test_a_slow_day_is_forgotten_after_some_declined_rounds(stage: Stage) -> None:
    stage.engine.prompt_seconds = 9.0  # 91 s; the deadline is after 80 s
    await stage.follow_until(START + 200)
    stage.engine.prompt_seconds = 0.2
    stage.start()

    await stage.follow_until(NETWORK.schedule.start(RoundNumber(5)) + 60)

    codes = [outcome.code for outcome in reversed(stage.archive.outcomes())]
    assert codes == [RejectionCode.COMMITMENT_LATE, "no_time", "no_time", "no_time", ""]


async def test_no_commitment_is_made_after_the_deadline(stage: Stage) -> None:
    stage.engine.prompt_seconds = 9.0

    await stage.follow_until(START + 200)

    assert stage.archive.commitment(ROUND) is None
    assert stage.archive.outcomes()[0].code == RejectionCode.COMMITMENT_LATE


async def test_a_refused_measurement_ends_the_round_with_its_reason(stage: Stage) -> None:
    stage.meter.refusal = CounterResetError("the counter restarted")

    await stage.follow_until(START + 60)

    (outcome,) = stage.archive.outcomes()
    assert (outcome.ending, outcome.code) == (Ending.REFUSED, "counter_reset")
    assert stage.archive.report(ROUND) is None
    assert stage.session.state is State.REFUSED


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


async def test_each_outcome_is_told_once_over_a_restart(stage: Stage) -> None:
    await stage.follow_until(START + 60)
    stage.start()
    await stage.follow_until(START + 100)

    assert [outcome.round for outcome in stage.told] == [ROUND]


async def test_a_failing_engine_ends_the_round_and_not_the_service(stage: Stage) -> None:
    def fail_once(_index: int) -> None:
        stage.engine.before_prompt = lambda _index: None
        raise WorkloadError("out of memory")

    stage.engine.before_prompt = fail_once
    await stage.follow_until(NETWORK.schedule.start(NEXT) + 60)

    endings = [outcome.ending for outcome in reversed(stage.archive.outcomes())]
    assert endings == [Ending.REFUSED, Ending.COMMITTED]


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


async def test_stop_voids_the_run_that_is_going_on(stage: Stage) -> None:
    stage.engine.before_prompt = lambda _index: stage.session.stop()

    await stage.follow_until(START + 60)

    assert len(stage.engine.runs) == 1
    assert stage.archive.report(ROUND) is None
    assert stage.archive.outcomes() == ()
    assert stage.session.state is State.IDLE


async def test_a_restart_before_the_report_runs_again_under_the_same_seed(stage: Stage) -> None:
    stage.engine.before_prompt = lambda _index: stage.session.stop()
    await stage.follow_until(START + 60)
    stage.engine.before_prompt = lambda _index: None
    stage.start()

    await stage.follow_until(START + 120)

    first, second = stage.engine.runs
    assert first.seed == second.seed
    assert stage.archive.commitment(ROUND) is not None


async def test_a_restart_after_the_report_commits_to_that_very_report(stage: Stage) -> None:
    await stage.follow_until(START + 60)
    report = kept(stage.archive.report(ROUND))
    (stage.archive._round(ROUND) / "commitment.json").unlink()
    stage.start()

    await stage.follow_until(START + 100)

    commitment = kept(stage.archive.commitment(ROUND)).payload
    assert commitment.report_digest == message_digest(report.payload)
    assert len(stage.engine.runs) == 1


async def test_a_restart_after_the_commitment_changes_nothing(stage: Stage) -> None:
    await stage.follow_until(START + 60)
    before = stage.archive.commitment_bytes(ROUND)
    stage.start()

    await stage.follow_until(START + 100)

    assert stage.archive.commitment_bytes(ROUND) == before
    assert stage.session.state is State.COMMITTED
    assert len(stage.engine.runs) == 1


def test_a_simulated_device_does_not_sign_for_a_real_network(tmp_path: Path) -> None:
    device = MACHINE.devices[0].model_copy(update={"name": "SIMULATED GPU S1"})

    with pytest.raises(ConfigurationError, match="simulated GPU"):
        Stage(tmp_path, network=TESTNET, machine=replace(MACHINE, devices=(device,)))


async def test_validators_with_a_permit_and_the_owner_may_read(stage: Stage) -> None:
    ledger = stage.world.ledger
    ledger.register(BOB.hotkey, Coldkey(BOB.hotkey), permit=True, stake_tao=10.0)
    await stage.session.begin()

    assert stage.session.refusal_of(BOB.hotkey, stake_floor_tao=10.0) is None
    assert stage.session.refusal_of(OWNER_HOTKEY, stake_floor_tao=10.0) is None
    too_little = kept(stage.session.refusal_of(BOB.hotkey, stake_floor_tao=11.0))
    no_permit = kept(stage.session.refusal_of(ALICE.hotkey, stake_floor_tao=0.0))
    assert {too_little.code, no_permit.code} == {RejectionCode.NOT_PERMITTED}


async def test_nobody_may_read_while_the_metagraph_is_too_old(stage: Stage) -> None:
    ledger = stage.world.ledger
    ledger.register(BOB.hotkey, Coldkey(BOB.hotkey), permit=True, stake_tao=10.0)
    await stage.session.begin()

    stage.world.now_seconds += 61

    assert stage.session.refusal_of(BOB.hotkey, stake_floor_tao=0.0) is not None


async def test_a_report_may_go_out_only_after_the_deadline(stage: Stage) -> None:
    await stage.session.begin()
    assert not stage.session.may_reveal(ROUND)

    stage.move_to(DEADLINE)
    await stage.session.begin()
    assert not stage.session.may_reveal(ROUND)

    stage.move_to(DEADLINE + 1)
    await stage.session.begin()
    assert stage.session.may_reveal(ROUND)
    assert not stage.session.may_reveal(NEXT)


async def test_the_model_is_one_of_those_held(stage: Stage) -> None:
    others = tuple(MODEL.model_copy(update={"id": f"org/model-{index}"}) for index in range(5))
    stage.engine.models = others
    stage.start()

    await stage.follow_until(NETWORK.schedule.start(RoundNumber(7)))

    assigned = {task.model for task in stage.engine.runs}
    assert assigned <= set(others)
    assert len(assigned) > 1
