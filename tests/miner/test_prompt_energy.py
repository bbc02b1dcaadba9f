"""Energy by prompt, read off the counter's changes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.prompt_energy import prompt_energies
from protocol.messages import CounterTrace, DeviceEnergy
from protocol.run_report import RunReport
from tests.support.factories import device_energy
from tests.support.runs import measured, run_report

BASE = run_report(measured())


def counted(*energies_mj: int) -> DeviceEnergy:
    """A counter that changes every second from the window's opening on."""
    trace = CounterTrace(
        elapsed_us=tuple(1_000_000 * place for place in range(len(energies_mj))),
        energy_mj=energies_mj,
    )
    return device_energy(energy_mj=1_000).model_copy(update={"counter": trace})


def with_counters(*parts: DeviceEnergy) -> RunReport:
    return BASE.model_copy(update={"device_energy": parts})


def test_energy_is_what_the_counter_gained_between_answers() -> None:
    steady = counted(*range(5_000, 16_000, 1_000))

    assert prompt_energies(with_counters(steady)) == pytest.approx((4.0, 6.0))


def test_devices_add_up() -> None:
    steady = counted(*range(5_000, 16_000, 1_000))

    assert prompt_energies(with_counters(steady, steady)) == pytest.approx((8.0, 12.0))


@given(st.lists(st.integers(0, 10_000), min_size=10, max_size=10))
def test_the_parts_sum_to_the_whole(gains: list[int]) -> None:
    totals = [sum(gains[:place]) for place in range(11)]
    assert all(before <= after for before, after in pairwise(totals))

    found = prompt_energies(with_counters(counted(*totals)))

    assert found is not None
    assert sum(found) == pytest.approx(sum(gains) / 1_000)
    assert min(found) >= 0


def test_the_prompts_of_a_batch_share_its_energy() -> None:
    first, second = BASE.prompts
    shared = first.model_copy(update={"end_us": second.end_us})
    together = with_counters(counted(*range(5_000, 16_000, 1_000))).model_copy(
        update={"prompts": (shared, shared)}
    )

    assert prompt_energies(together) == pytest.approx((5.0, 5.0))


def test_without_a_counter_there_is_no_energy_by_prompt() -> None:
    assert prompt_energies(BASE) is None
    assert prompt_energies(with_counters(counted(5_000))) is None
