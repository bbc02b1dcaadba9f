"""Setting weights: by every rule of the chain, once, read back, and each attempt on record."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from protocol.chain import as_stored
from protocol.errors import ChainError
from protocol.ids import BlockNumber, Coldkey, RoundNumber, Uid
from tests.support.keys import DevSigner
from tests.support.simulator import SimulatedMiner
from tests.support.validator import Simulation
from validator.records import WeightAttempt, WeightOutcome

NAMES = ("ann", "ben", "cat")


@pytest.fixture
async def simulation(tmp_path: Path) -> AsyncIterator[Simulation]:
    played = Simulation([SimulatedMiner(name) for name in NAMES], tmp_path)
    yield played
    played.store.close()


def attempts(simulation: Simulation, number: int = 1) -> list[tuple[str, str]]:
    return [(a.outcome, a.cause) for a in simulation.store.attempts(RoundNumber(number))]


def rule(simulation: Simulation, **changes: object) -> None:
    rules = simulation.ledger.hyperparameters
    simulation.ledger.hyperparameters = replace(rules, **changes)  # type: ignore[arg-type]


async def test_a_vector_that_is_on_chain_is_on_record(simulation: Simulation) -> None:
    await simulation.play(1)

    [attempt] = simulation.store.attempts(RoundNumber(1))
    [(vector, _)] = simulation.chain.sent
    assert (attempt.outcome, attempt.cause) == (WeightOutcome.SET, "")
    assert attempt.weights == vector
    neuron = simulation.ledger.neuron(simulation.signer.hotkey)
    assert neuron is not None
    assert simulation.ledger.weights[neuron.uid] == as_stored(attempt.weights)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"validator_permit": False}, "no_permit"),
        ({"stake_tao": 999.0}, "not_enough_stake"),
        ({"stake_tao": 0.0, "validator_permit": False}, "not_enough_stake"),
    ],
)
async def test_what_the_chain_would_refuse_of_us_is_not_sent(
    simulation: Simulation, changes: dict[str, object], cause: str
) -> None:
    simulation.ledger.change(simulation.signer.hotkey, **changes)
    await simulation.play(1)

    assert attempts(simulation) == [(WeightOutcome.WITHHELD, cause)]
    assert simulation.chain.sent == []


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"min_allowed_weights": 99}, "too_few_weights"),
        ({"max_weight_limit_u16": 30_000}, "weight_too_large"),
    ],
)
async def test_a_vector_that_the_chain_would_refuse_is_not_sent(
    simulation: Simulation, changes: dict[str, object], cause: str
) -> None:
    rule(simulation, **changes)
    await simulation.play(1)

    assert attempts(simulation) == [(WeightOutcome.WITHHELD, cause)]
    assert simulation.chain.sent == []


async def test_a_validator_that_lost_its_uid_says_so(simulation: Simulation) -> None:
    own = simulation.ledger.neuron(simulation.signer.hotkey)
    assert own is not None
    stranger = DevSigner("//Stranger").hotkey
    simulation.ledger.register(stranger, Coldkey(stranger), uid=own.uid)
    await simulation.play_until(1, simulation.network.schedule.start(RoundNumber(2)) + 8)

    assert attempts(simulation) == [(WeightOutcome.WITHHELD, "not_registered")]


async def test_nothing_is_sent_before_the_rate_limit_allows(simulation: Simulation) -> None:
    limit = simulation.network.schedule.round_blocks + 4
    rule(simulation, weights_rate_limit_blocks=limit)
    blocks = []
    for number in (1, 2, 3, 4):
        await simulation.play(number)
        neuron = simulation.ledger.neuron(simulation.signer.hotkey)
        assert neuron is not None
        blocks.append(neuron.last_update_block)

    sent = sorted(set(blocks))
    assert len(sent) >= 2
    assert all(later - earlier >= limit for earlier, later in pairwise(sent))
    assert {outcome for n in (1, 2, 3, 4) for outcome, _ in attempts(simulation, n)} == {"set"}


async def test_the_version_key_of_the_subnet_is_sent(simulation: Simulation) -> None:
    rule(simulation, weights_version_key=7)
    await simulation.play(1)

    [(_, version_key)] = simulation.chain.sent
    assert version_key == 7


async def test_a_uid_that_changed_hands_since_scoring_gets_nothing(simulation: Simulation) -> None:
    schedule = simulation.network.schedule
    await simulation.play(1)
    rule(simulation, weights_rate_limit_blocks=10_000)
    ann = simulation.ledger.neuron(DevSigner("//ann").hotkey)
    assert ann is not None
    await simulation.play_until(2, schedule.start(RoundNumber(3)))
    newcomer = DevSigner("//Newcomer").hotkey
    simulation.ledger.register(newcomer, Coldkey(newcomer), uid=ann.uid)
    rule(simulation, weights_rate_limit_blocks=1)
    await simulation.play(2)

    vector, _ = simulation.chain.sent[-1]
    assert len(simulation.chain.sent) == 2
    assert ann.uid not in vector


async def test_a_refusal_is_on_record_and_tried_again(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = simulation.ledger.hyperparameters
    stale = replace(rules, weights_version_key=0)
    simulation.ledger.hyperparameters = replace(rules, weights_version_key=3)
    answers = [stale]

    async def once_stale() -> object:
        return answers.pop() if answers else simulation.ledger.hyperparameters

    monkeypatch.setattr(type(simulation.chain), "hyperparameters", lambda _self: once_stale())
    await simulation.play(1)

    assert attempts(simulation) == [
        (WeightOutcome.REFUSED, "IncorrectWeightVersionKey"),
        (WeightOutcome.SET, ""),
    ]


async def test_a_chain_that_goes_away_is_on_record(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [ChainError("gone")]
    send = type(simulation.chain).set_weights

    async def flaky(chain: object, weights: object, *, version_key: int) -> object:
        if failures:
            raise failures.pop()
        return await send(chain, weights, version_key=version_key)  # type: ignore[arg-type]

    monkeypatch.setattr(type(simulation.chain), "set_weights", flaky)
    await simulation.play(1)

    assert attempts(simulation) == [
        (WeightOutcome.FAILED, "unreachable"),
        (WeightOutcome.SET, ""),
    ]


@pytest.mark.parametrize("shown", [True, False])
async def test_timelocked_weights_are_looked_for_after_their_period(
    simulation: Simulation, *, shown: bool
) -> None:
    await simulation.play(1)
    own = simulation.ledger.neuron(simulation.signer.hotkey)
    assert own is not None
    vector = {Uid(0): 60_000, Uid(1): 5_535}
    simulation.store.keep_attempt(
        WeightAttempt(
            round=RoundNumber(1),
            block=BlockNumber(1),
            unix_ms=1,
            outcome=WeightOutcome.COMMITTED,
            weights=vector,
            reveal_round=34_000_000,
        )
    )
    simulation.ledger.weights[own.uid] = as_stored(vector) if shown else {}
    await simulation.play(2)

    last = simulation.store.attempts(RoundNumber(1))[-1]
    assert (last.outcome, last.cause) == (("set", "") if shown else ("failed", "not_revealed"))
    assert simulation.store.attempt_counts()["set"] >= 2
