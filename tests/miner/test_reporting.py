"""Run and measurement as the messages that a miner signs."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.reporting import (
    Assignment,
    Energy,
    Identity,
    PromptRun,
    build_commitment,
    build_leaves,
    build_profile,
    build_report,
    is_simulated,
)
from protocol.canonical import canonical_bytes, message_digest, parse
from protocol.constants import REPORT_MAX_BYTES
from protocol.errors import MeasurementError
from protocol.ids import BlockHash, Digest, GenesisHash, Netuid, RoundNumber
from protocol.messages import Commitment, Leaf, Profile, Report
from protocol.networks import DEVNET, MAINNET
from protocol.units import Microseconds, Millijoules, PartsPerMillion
from tests.support.factories import device_energy, leaf
from tests.support.keys import ALICE, BOB
from tests.support.miner import MACHINE, MODEL

IDENTITY = Identity(
    genesis_hash=GenesisHash("0x" + "11" * 32), netuid=Netuid(2), hotkey=ALICE.hotkey
)
ASSIGNMENT = Assignment(
    identity=IDENTITY,
    round=RoundNumber(3),
    block_hash=BlockHash("0x" + "22" * 32),
    model=MODEL,
    workload=DEVNET.workload,
)
DIGEST = Digest("cd" * 32)


def energy(*, trace_rows: int = 3, devices: int = 1) -> Energy:
    return Energy(
        energy_mj=Millijoules(30_000 * devices),
        duration_us=Microseconds(400_000),
        systematic_ppm=PartsPerMillion(50_000),
        by_device=(device_energy(trace_rows=trace_rows),) * devices,
    )


def full_leaves(count: int) -> tuple[Leaf, ...]:
    """Leaves as long as they get: six-digit tokens, an hour of time, megajoules."""
    ids = tuple(range(250_000, 250_010))
    long = {"input_tokens": 8_000, "start_us": 3_599_000_000, "end_us": 3_600_000_000}
    counters = {"start_mj": 2_500_000_000, "end_mj": 2_500_700_000}
    return tuple(leaf(i, output_ids=ids).model_copy(update=long | counters) for i in range(count))


@pytest.mark.parametrize(
    "change",
    [
        {"identity": replace(IDENTITY, netuid=Netuid(3))},
        {"identity": replace(IDENTITY, hotkey=BOB.hotkey)},
        {"identity": replace(IDENTITY, genesis_hash=GenesisHash("0x" + "12" * 32))},
        {"block_hash": BlockHash("0x" + "23" * 32)},
        {"model": MODEL.model_copy(update={"revision": "other"})},
        {"workload": MAINNET.workload},
    ],
)
def test_the_seed_changes_with_everything_that_is_assigned(change: dict[str, object]) -> None:
    changed = replace(ASSIGNMENT, **change)  # type: ignore[arg-type]

    assert changed.task.seed != ASSIGNMENT.task.seed


def test_a_report_and_its_commitment_agree() -> None:
    report = build_report(ASSIGNMENT, (leaf(0), leaf(1)), energy(), MACHINE)
    commitment = build_commitment(report, profile_digest=DIGEST)

    assert commitment.report_digest == message_digest(report)
    assert (commitment.round, commitment.block_hash) == (report.round, report.block_hash)
    assert commitment.energy_mj == report.energy_mj == 30_000
    assert commitment.input_tokens == 81
    assert commitment.output_tokens == 20


def test_what_is_built_is_what_the_wire_accepts() -> None:
    report = build_report(ASSIGNMENT, (leaf(0),), energy(), MACHINE)
    commitment = build_commitment(report, profile_digest=DIGEST)
    profile = build_profile(IDENTITY, MACHINE, (MODEL,))

    for message, model in ((report, Report), (commitment, Commitment), (profile, Profile)):
        assert parse(model, canonical_bytes(message), max_bytes=REPORT_MAX_BYTES) == message


def test_a_full_report_with_a_long_trace_is_thinned_to_what_may_be_sent() -> None:
    long = energy(trace_rows=3_000)

    report = build_report(ASSIGNMENT, full_leaves(1_000), long, MACHINE)

    assert len(canonical_bytes(report)) <= REPORT_MAX_BYTES
    kept, whole = report.device_energy[0], long.by_device[0]
    assert 0 < len(kept.trace.power_mw) < len(whole.trace.power_mw)
    for column in ("elapsed_us", "energy_mj"):
        short, full = getattr(kept.counter, column), getattr(whole.counter, column)
        assert (short[0], short[-1]) == (full[0], full[-1])


def test_thinning_touches_nothing_but_the_traces() -> None:
    report = build_report(ASSIGNMENT, full_leaves(1_000), energy(trace_rows=3_000), MACHINE)

    assert report.leaves == full_leaves(1_000)
    assert report.energy_mj == energy().energy_mj


def test_a_report_that_cannot_be_made_small_enough_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no trace left"):
        build_report(ASSIGNMENT, full_leaves(2_000), energy(), MACHINE)


def test_a_run_without_counter_makes_no_leaves() -> None:
    run = PromptRun((1, 2), (3,), (0, None), (10, None))

    with pytest.raises(MeasurementError, match="no energy counter"):
        build_leaves([run])


@given(st.lists(st.integers(min_value=1, max_value=10_000), min_size=1, max_size=20))
def test_leaves_join_without_gaps(steps: list[int]) -> None:
    at = [0]
    for step in steps:
        at.append(at[-1] + step)
    runs = [PromptRun((1,), (2,), (a, a), (b, b)) for a, b in pairwise(at)]

    leaves = build_leaves(runs)

    assert all(x.end_us == y.start_us for x, y in pairwise(leaves))
    assert sum(found.end_mj - found.start_mj for found in leaves) == at[-1]


@pytest.mark.parametrize("field", ["name", "uuid"])
def test_a_simulated_device_is_known_by_name_or_uuid(field: str) -> None:
    device = MACHINE.devices[0]
    real = device.model_copy(update={"name": "NVIDIA H100", "uuid": "GPU-1"})

    assert is_simulated(real.model_copy(update={field: "GPU-simulated-1"}))
    assert not is_simulated(real)
