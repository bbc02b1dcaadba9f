"""Operators: what joins hotkeys, and what does not."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import PowerTrace
from tests.support import factories
from validator.operators import (
    CONFLICT_ROUNDS,
    SHAPE_ROWS,
    Member,
    Run,
    collapse,
    copied,
    never_at_once,
    trace_shape,
)

ANN, BEN, CAT = Hotkey("ann"), Hotkey("ben"), Hotkey("cat")


def member(name: str, **changes: object) -> Member:
    fields: dict[str, object] = {"hotkey": Hotkey(name), "coldkey": Coldkey(f"cold-{name}")}
    return Member(**(fields | changes))  # type: ignore[arg-type]


def test_operators_are_joined_by_coldkey_gpu_and_network() -> None:
    members = [
        member("a", gpu_uuids=("GPU-1",)),
        member("b", gpu_uuids=("GPU-1", "GPU-2")),
        member("c", gpu_uuids=("GPU-2",), ip="9.9.9.1"),
        member("d", ip="9.9.9.200"),
        member("e", coldkey=Coldkey("cold-d")),
        member("f", ip="9.9.10.1"),
    ]

    operators = collapse(members)

    assert {operators[Hotkey(name)] for name in "abcde"} == {"cold-a"}
    assert operators[Hotkey("f")] == "cold-f"


def test_hotkeys_that_behave_like_one_are_one_operator() -> None:
    members = [member("a"), member("b"), member("c", coldkey=Coldkey("cold-b")), member("d")]

    operators = collapse(members, [(Hotkey("a"), Hotkey("b")), (Hotkey("d"), Hotkey("gone"))])

    assert {operators[Hotkey(name)] for name in "abc"} == {"cold-a"}
    assert operators[Hotkey("d")] == "cold-d"


def test_private_addresses_join_nobody() -> None:
    operators = collapse([member("a", ip="127.0.0.1"), member("b", ip="127.0.0.1")])

    assert operators == {"a": "cold-a", "b": "cold-b"}


@given(st.permutations(range(6)))
def test_operators_do_not_depend_on_the_order_of_members(order: list[int]) -> None:
    members = [member(str(index), gpu_uuids=(f"GPU-{index // 2}",)) for index in order]

    assert collapse(members)[Hotkey("1")] == "cold-0"


def trace(powers: Sequence[int]) -> PowerTrace:
    rows = len(powers)
    return factories.power_trace(rows).model_copy(
        update={
            "elapsed_ms": tuple(100 * row for row in range(rows)),
            "power_mw": tuple(powers),
        }
    )


def load(seed: int, *, noise_mw: int, rows: int = 200) -> list[int]:
    """The same prompts' rhythm for everybody, and one's own sensor noise."""
    rhythm, chance = random.Random(0), random.Random(seed)  # noqa: S311 - a simulation
    return [
        300_000 + rhythm.choice((0, 40_000)) + round(chance.gauss(0, noise_mw)) for _ in range(rows)
    ]


def test_one_measurement_under_two_names_is_found_though_it_was_scaled() -> None:
    own = load(1, noise_mw=5_000)
    disguised = [round(power * 0.9) + 2 * (row % 2) for row, power in enumerate(own)]

    found = copied(
        {
            ANN: trace_shape(trace(own)),
            BEN: trace_shape(trace(disguised)),
            CAT: trace_shape(trace(load(2, noise_mw=5_000))),
        }
    )

    assert found == ((ANN, BEN),)


def test_the_same_prompts_on_two_devices_are_no_copy() -> None:
    shapes = {
        Hotkey(str(seed)): trace_shape(trace(load(seed, noise_mw=6_000))) for seed in range(9)
    }

    assert copied(shapes) == ()


def test_the_ramp_that_all_runs_share_is_no_copy() -> None:
    """A jump of 90 W in one row would outweigh the noise of all others."""

    def run(seed: int) -> PowerTrace:
        chance = random.Random(seed)  # noqa: S311 - a simulation
        steady = [300_000 + round(chance.gauss(0, 300)) for _ in range(200)]
        return trace([70_000, *steady[:100], *(power - 90_000 for power in steady[100:])])

    shapes = {Hotkey(str(seed)): trace_shape(run(seed)) for seed in range(6)}

    assert all(shapes.values())
    assert copied(shapes) == ()


def test_short_and_flat_traces_join_nobody() -> None:
    assert trace_shape(trace([100_000] * 20)) == ()
    flat = trace_shape(trace([100_000] * 100))

    assert copied({ANN: flat, BEN: flat}) == ()
    assert len(trace_shape(trace(list(range(1_000))))) == SHAPE_ROWS


def runs(rounds: int, *, gap_ms: int = 0, energy_gap: int = 0) -> list[Run]:
    """Two miners, one after the other in every round."""
    found = []
    for number in range(rounds):
        for miner, start in ((ANN, 0), (BEN, 60_000 + gap_ms)):
            found.append(
                Run(
                    round=RoundNumber(number),
                    miner=miner,
                    cell_key="cell",
                    start_ms=start,
                    end_ms=start + 60_000,
                    log_nano=13 * 10**9 + (energy_gap if miner == BEN else 0),
                )
            )
    return found


def test_two_hotkeys_that_take_turns_on_one_gpu_are_joined_after_ten_rounds() -> None:
    assert never_at_once(runs(CONFLICT_ROUNDS)) == ((ANN, BEN),)
    assert never_at_once(runs(CONFLICT_ROUNDS - 1)) == ()


@pytest.mark.parametrize("changes", [{"gap_ms": -30_000}, {"energy_gap": 20_000_000}])
def test_who_runs_at_once_or_uses_other_energy_is_not_joined(changes: dict[str, int]) -> None:
    assert never_at_once(runs(CONFLICT_ROUNDS, **changes)) == ()


def test_one_round_at_once_clears_a_pair() -> None:
    played = runs(CONFLICT_ROUNDS + 1)
    last = played.pop()
    at_once = Run(
        round=last.round,
        miner=last.miner,
        cell_key=last.cell_key,
        start_ms=0,
        end_ms=60_000,
        log_nano=last.log_nano,
    )

    assert never_at_once([*played, at_once]) == ()
