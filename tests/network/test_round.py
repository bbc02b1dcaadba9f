"""The story of a round, told with honest miners and with every kind of cheat."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.errors import RejectionCode
from protocol.ids import Coldkey, RoundNumber, Uid
from protocol.units import U16_MAX
from tests.support.behaviours import (
    Behaviour,
    BrokenNonceChain,
    EditedCounter,
    Equivocates,
    ForeignSignature,
    Honest,
    Late,
    Malformed,
    OtherModel,
    Oversized,
    Reorders,
    Replays,
    Shades,
    Silent,
    StaleNonce,
    SwapsReport,
    TooShort,
    Withholds,
    WrongAssignment,
)
from tests.support.chain import OWNER_HOTKEY
from tests.support.keys import DevSigner
from tests.support.simulator import NETWORK, SimulatedMiner
from tests.support.validator import Simulation

HONEST = ("ann", "ben", "cat")


def network(data_dir: Path, **others: Behaviour) -> Simulation:
    """Three honest miners and some others."""
    cast = {name: Honest() for name in HONEST} | others
    return Simulation([SimulatedMiner(name, does) for name, does in cast.items()], data_dir)


@pytest.fixture
async def simulation(tmp_path: Path) -> AsyncIterator[Simulation]:
    played = network(tmp_path, shade=Shades(), cheap=OtherModel())
    yield played
    played.store.close()


async def test_honest_miners_are_accepted_and_share_the_pay(simulation: Simulation) -> None:
    record = await simulation.play(1)

    assert [simulation.code(name, 1) for name in HONEST] == ["", "", ""]
    scores = {simulation.score(name, 1).report_score_ppm for name in HONEST}
    assert len(scores) == 1
    assert {score.consistency_ppm for score in record.scores if score.valid} == {0, 1_000_000}


async def test_a_shading_miner_keeps_half_and_is_named_an_outlier(simulation: Simulation) -> None:
    await simulation.play(1)

    score, honest = simulation.score("shade", 1), simulation.score("ann", 1)
    assert simulation.code("shade", 1) == ""
    assert score.z_milli is not None
    assert score.z_milli < -4_000
    assert score.report_score_ppm == pytest.approx(honest.report_score_ppm / 2, abs=1)
    assert "energy_outlier" in simulation.reason("shade", 1)


async def test_other_weights_fail_the_token_proof(simulation: Simulation) -> None:
    await simulation.play(1)

    assert simulation.code("cheap", 1) == RejectionCode.TOKEN_PROOF_FAILED
    proof = simulation.verdict("cheap", 1).proof
    assert proof is not None
    assert len(proof.indices) == NETWORK.sample_count
    assert simulation.score("cheap", 1).report_score_ppm == 0


async def test_weights_on_chain_follow_the_scores_and_the_rest_is_burned(
    simulation: Simulation,
) -> None:
    record = await simulation.play(1)

    [(vector, _)] = simulation.chain.sent
    assert sum(vector.values()) == U16_MAX
    uids = {entry.hotkey: Uid(entry.uid) for entry in record.weights}
    assert vector[uids[OWNER_HOTKEY]] > U16_MAX // 2
    earned = {name: vector[uids[DevSigner(f"//{name}").hotkey]] for name in (*HONEST, "shade")}
    assert earned["ann"] == pytest.approx(2 * earned["shade"], rel=0.01)
    assert DevSigner("//cheap").hotkey not in uids


async def test_the_cell_names_interval_operators_and_label(simulation: Simulation) -> None:
    record = await simulation.play(1)

    [cell] = record.cells
    assert cell.status == "simulated"
    assert cell.low_uwh < cell.energy_per_1k_output_tokens_uwh < cell.high_uwh
    assert (cell.operator_count, cell.screened_count) == (4, 1)
    assert (cell.label, cell.method) == ("contested", "median")
    assert cell.energy_per_1k_queries_uwh == 10 * cell.energy_per_1k_output_tokens_uwh


async def test_averages_grow_towards_the_score_round_by_round(simulation: Simulation) -> None:
    await simulation.play(1)
    first = simulation.score("ann", 1)
    await simulation.play(2)
    second = simulation.score("ann", 2)

    assert first.average_score_ppm == round(first.report_score_ppm * 0.1)
    assert second.average_score_ppm == pytest.approx(
        0.9 * first.average_score_ppm + 0.1 * second.report_score_ppm, abs=1
    )
    assert len(simulation.chain.sent) == 2


async def test_the_log_holds_the_verdicts_in_hotkey_order_then_the_record(
    simulation: Simulation,
) -> None:
    record = await simulation.play(1)

    verdicts = simulation.store.verdicts(RoundNumber(1))
    assert [v.payload.miner for v in verdicts] == sorted(simulation.miners)
    assert simulation.log.size == len(verdicts) + 1
    committed = await simulation.chain.commitment(simulation.signer.hotkey)
    size, root = simulation.store.grown([])
    assert committed is not None
    assert committed.data == b"carbonbench1:" + size.to_bytes(8, "big") + bytes.fromhex(root)
    assert record.verdict_digests


CHEATS: dict[str, tuple[Behaviour, str]] = {
    "stale": (StaleNonce(), "nonce_stale"),
    "broken": (BrokenNonceChain(), "nonce_chain_broken"),
    "reorders": (Reorders(), "leaves_reordered"),
    "late": (Late(), "commitment_late"),
    "silent": (Silent(), "no_commitment"),
    "withholds": (Withholds(), "no_report"),
    "malformed": (Malformed(), "malformed"),
    "oversized": (Oversized(), "oversized"),
    "foreign": (ForeignSignature(), "wrong_miner"),
    "edits": (EditedCounter(), "counter_inconsistent"),
    "swaps": (SwapsReport(), "commitment_mismatch"),
    "equivocates": (Equivocates(), "commitment_changed"),
    "short": (TooShort(), "output_length"),
    "assignment": (WrongAssignment(), "wrong_assignment"),
    "cheap": (OtherModel(), "token_proof_failed"),
}


async def test_every_cheat_is_rejected_with_its_own_code_and_honest_miners_are_not(
    tmp_path: Path,
) -> None:
    simulation = network(tmp_path, **{name: behaviour for name, (behaviour, _) in CHEATS.items()})

    await simulation.play(1)

    found = {name: simulation.code(name, 1) for name in CHEATS}
    assert found == {name: code for name, (_, code) in CHEATS.items()}
    assert [simulation.code(name, 1) for name in HONEST] == ["", "", ""]
    simulation.store.close()


async def test_a_replayed_run_is_named_a_replay(tmp_path: Path) -> None:
    simulation = network(tmp_path, replays=Replays())

    await simulation.play(1)
    await simulation.play(2)

    assert simulation.code("replays", 1) == ""
    assert simulation.code("replays", 2) == RejectionCode.REPLAYED
    simulation.store.close()


async def test_three_failed_token_proofs_exclude_for_a_hundred_rounds(tmp_path: Path) -> None:
    simulation = network(tmp_path, cheap=OtherModel())

    for number in (1, 2, 3, 4):
        await simulation.play(number)

    failed = RejectionCode.TOKEN_PROOF_FAILED
    codes = [simulation.code("cheap", number) for number in (1, 2, 3, 4)]
    assert codes == [failed, failed, failed, RejectionCode.EXCLUDED]
    assert simulation.score("cheap", 3).average_score_ppm == 0
    simulation.store.close()


async def test_proven_fraud_is_excluded_in_the_rounds_after(tmp_path: Path) -> None:
    simulation = network(tmp_path, fraud=Equivocates())

    await simulation.play(1)
    await simulation.play(2)

    assert simulation.code("fraud", 2) == RejectionCode.EXCLUDED
    assert simulation.score("fraud", 2).average_score_ppm == 0
    simulation.store.close()


async def test_a_miner_that_is_down_delays_nobody_and_gets_unreachable(tmp_path: Path) -> None:
    simulation = network(tmp_path, down=Honest())
    simulation.miners[DevSigner("//down").hotkey].is_down = True

    await simulation.play(1)

    assert simulation.code("down", 1) == RejectionCode.UNREACHABLE
    assert simulation.ledger.number < NETWORK.schedule.reveal_deadline(RoundNumber(1))
    simulation.store.close()


async def test_hotkeys_of_one_operator_count_once(tmp_path: Path) -> None:
    honest = [SimulatedMiner(name) for name in HONEST]
    sybils = [SimulatedMiner(f"sybil{index}", Shades(), coldkey_of="sybil") for index in range(4)]
    simulation = Simulation([*honest, *sybils], tmp_path)

    record = await simulation.play(1)

    [cell] = record.cells
    assert cell.operator_count == 4
    assert cell.report_count == 7
    lone, crowd = simulation.score("ann", 1), simulation.score("sybil0", 1)
    assert crowd.coverage_ppm == lone.coverage_ppm // 2
    simulation.store.close()


async def test_a_uid_that_changed_hands_before_weights_gets_nothing(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    rules = simulation.ledger.hyperparameters
    await simulation.play(1)
    uid = simulation.ledger.neuron(DevSigner("//ann").hotkey)
    assert uid is not None
    await simulation.play_until(2, NETWORK.schedule.beacon(RoundNumber(2)) - 1)

    simulation.ledger.register(
        DevSigner("//newcomer").hotkey, Coldkey(DevSigner("//newcomer//c").hotkey), uid=uid.uid
    )
    await simulation.play(2)

    vector, _ = simulation.chain.sent[-1]
    assert uid.uid not in vector
    assert rules.min_allowed_weights == 1
    simulation.store.close()


async def test_a_miner_that_announces_itself_during_the_round_is_let_in(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    late = DevSigner("//cat").hotkey
    axon = simulation.ledger.neuron(late)
    assert axon is not None
    simulation.ledger.change(late, axon=None)
    await simulation.play_until(1, NETWORK.schedule.start(RoundNumber(1)) + 3)
    assert simulation.store.progress(RoundNumber(1))["miners"] == 2

    simulation.ledger.change(late, axon=axon.axon)
    await simulation.play(1)

    assert simulation.code("cat", 1) == ""
    simulation.store.close()


async def test_the_model_is_drawn_from_the_profile_seen_before_the_round(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    chooser = simulation.miners[DevSigner("//cat").hotkey]
    await simulation.story.foresee(RoundNumber(1))
    chooser.more_models = 1

    await simulation.play(1)

    assert [simulation.code(name, 1) for name in ("ann", "ben")] == ["", ""]
    assert simulation.code("cat", 1) == RejectionCode.WRONG_ASSIGNMENT
    simulation.store.close()


async def test_a_newcomer_with_several_models_waits_a_round(tmp_path: Path) -> None:
    simulation = network(tmp_path)
    chooser = simulation.miners[DevSigner("//cat").hotkey]
    chooser.is_down, chooser.more_models = True, 1
    await simulation.story.foresee(RoundNumber(1))
    chooser.is_down = False

    await simulation.play(1)

    assert simulation.code("cat", 1) == RejectionCode.WRONG_ASSIGNMENT
    assert "binds from the round after" in simulation.reason("cat", 1)
    simulation.store.close()


async def test_hotkeys_with_the_same_trace_are_one_operator(tmp_path: Path) -> None:
    longer = replace(NETWORK, workload=replace(NETWORK.workload, prompt_count=24))
    miners = [SimulatedMiner(name, network=longer) for name in (*HONEST, "ape")]
    simulation = Simulation(miners, tmp_path, network=longer)
    simulation.miners[DevSigner("//ape").hotkey].trace_of = "ann"

    record = await simulation.play(1)

    operators = {score.miner: score.operator for score in record.scores}
    ann, ape, ben = (DevSigner(f"//{name}").hotkey for name in ("ann", "ape", "ben"))
    assert operators[ann] == operators[ape] != operators[ben]
    assert [cell.operator_count for cell in record.cells] == [3]
    simulation.store.close()
