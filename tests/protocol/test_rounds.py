"""A round's clock, and who is asked for what."""

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol.constants import BEACON_DELAY_BLOCKS
from protocol.ids import BlockHash, BlockNumber, Hotkey, RoundNumber
from protocol.rounds import Phase, Schedule, assign
from tests.support import factories, vectors

SCHEDULE = Schedule(round_blocks=100, commit_blocks=40, reveal_blocks=70)
BLOCK_HASH = BlockHash(factories.BLOCK_HASH)

blocks = st.integers(0, 2**40).map(BlockNumber)
model_lists = st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), min_size=1, max_size=8)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    commit = draw(st.integers(1, 500))
    reveal = commit + BEACON_DELAY_BLOCKS + draw(st.integers(1, 500))
    return Schedule(
        round_blocks=reveal + 1 + draw(st.integers(1, 500)),
        commit_blocks=commit,
        reveal_blocks=reveal,
    )


@pytest.mark.parametrize(
    ("block", "phase"),
    [
        (700, Phase.MEASURING),
        (740, Phase.MEASURING),
        (741, Phase.SEALED),
        (742, Phase.SEALED),
        (743, Phase.REVEALING),
        (770, Phase.REVEALING),
        (771, Phase.SCORING),
        (799, Phase.SCORING),
        (800, Phase.MEASURING),
    ],
)
def test_phase_when_at_the_edges_of_round_7(block: int, phase: Phase) -> None:
    assert SCHEDULE.phase(BlockNumber(block)) is phase


def test_milestones_of_round_7() -> None:
    number = RoundNumber(7)

    assert SCHEDULE.start(number) == 700
    assert SCHEDULE.commit_deadline(number) == 740
    assert SCHEDULE.beacon(number) == 743
    assert SCHEDULE.reveal_deadline(number) == 770


@given(schedules(), blocks)
def test_every_block_lies_in_exactly_one_round(schedule: Schedule, block: BlockNumber) -> None:
    number = schedule.round_at(block)

    assert schedule.start(number) <= block < schedule.start(RoundNumber(number + 1))


@given(schedules(), st.integers(0, 1_000).map(RoundNumber))
def test_milestones_lie_in_their_round_and_in_order(
    schedule: Schedule, number: RoundNumber
) -> None:
    milestones = [
        schedule.start(number),
        schedule.commit_deadline(number),
        schedule.beacon(number),
        schedule.reveal_deadline(number),
    ]

    assert milestones == sorted(set(milestones))
    assert {schedule.round_at(block) for block in milestones} == {number}


@given(schedules(), st.integers(0, 1_000).map(RoundNumber))
def test_phases_follow_each_other_in_one_direction(schedule: Schedule, number: RoundNumber) -> None:
    start = schedule.start(number)
    order = list(Phase)

    seen = [
        order.index(schedule.phase(BlockNumber(start + offset)))
        for offset in range(schedule.round_blocks)
    ]

    assert seen == sorted(seen)
    assert set(seen) == set(range(len(order)))


@given(schedules(), blocks)
def test_the_beacon_is_never_known_while_commitments_count(
    schedule: Schedule, block: BlockNumber
) -> None:
    assume(schedule.phase(block) is Phase.MEASURING)

    assert schedule.beacon(schedule.round_at(block)) - block >= BEACON_DELAY_BLOCKS


@pytest.mark.parametrize(
    ("round_blocks", "commit_blocks", "reveal_blocks"),
    [(100, 0, 70), (100, 40, 43), (100, 40, 99), (100, 70, 40), (70, 40, 90), (100, -1, 70)],
)
def test_phases_out_of_order_are_refused(
    round_blocks: int, commit_blocks: int, reveal_blocks: int
) -> None:
    with pytest.raises(ValueError, match="out of order"):
        Schedule(
            round_blocks=round_blocks, commit_blocks=commit_blocks, reveal_blocks=reveal_blocks
        )


def test_assignments_are_the_golden_ones() -> None:
    # JSON has no tuples.
    vector = vectors.assignment_vector()
    golden = vectors.load("assignment")

    assert isinstance(golden, dict)
    assert {key: list(model) for key, model in vector["assigned"].items()} == golden["assigned"]


@given(model_lists)
def test_the_order_of_the_models_does_not_matter(models: list[tuple[str, str]]) -> None:
    hotkey = factories.MINER.hotkey

    reverse = assign(block_hash=BLOCK_HASH, hotkey=hotkey, models=models[::-1])

    assert reverse == assign(block_hash=BLOCK_HASH, hotkey=hotkey, models=models)
    assert reverse in models


@given(model_lists)
def test_a_miner_cannot_move_the_draw_by_dropping_other_models(
    models: list[tuple[str, str]],
) -> None:
    hotkey = factories.MINER.hotkey
    chosen = assign(block_hash=BLOCK_HASH, hotkey=hotkey, models=models)

    for dropped in range(len(models)):
        rest = models[:dropped] + models[dropped + 1 :]
        if chosen in rest:
            assert assign(block_hash=BLOCK_HASH, hotkey=hotkey, models=rest) == chosen


def test_each_model_is_drawn_about_equally_often() -> None:
    models = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]

    drawn = Counter(
        assign(block_hash=BlockHash(f"0x{block:064x}"), hotkey=Hotkey("miner"), models=models)
        for block in range(4_000)
    )

    # Expected 1,000 each with a standard deviation of sqrt(4000 * 0.25 * 0.75) = 27.4.
    assert all(abs(drawn[model] - 1_000) < 5 * 27.4 for model in models)


def test_without_a_model_there_is_nothing_to_assign() -> None:
    with pytest.raises(ValueError, match="no model"):
        assign(block_hash=BLOCK_HASH, hotkey=Hotkey("miner"), models=[])
