"""The miner's story, in virtual time."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from miner.outcome import Ending, State
from miner.refusals import CounterResetError
from protocol.canonical import canonical_bytes, message_digest
from protocol.errors import ConfigurationError, RejectionCode, WorkloadError
from protocol.ids import Coldkey, RoundNumber
from protocol.merkle import merkle_root
from protocol.networks import TESTNET
from protocol.nonce_chain import nonces
from protocol.signing import verify
from tests.support.chain import OWNER_HOTKEY
from tests.support.keys import ALICE, BOB
from tests.support.miner import MACHINE, MODEL, NETWORK, Stage

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
