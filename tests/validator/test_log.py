"""The transparency log: proofs hold, readers see whole states, damage is found."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.errors import StoreError
from protocol.merkle import leaf_hash, verify_consistency, verify_inclusion
from tests.support.simulator import SimulatedMiner
from tests.support.validator import Simulation, open_store
from validator.log import PAGE_MAX_BYTES


@pytest.fixture
async def played(tmp_path: Path) -> AsyncIterator[Simulation]:
    """Two rounds of two miners: six entries."""
    simulation = Simulation([SimulatedMiner("ann"), SimulatedMiner("ben")], tmp_path)
    await simulation.play(1)
    await simulation.play(2)
    yield simulation
    simulation.store.close()


async def test_every_entry_is_provably_included(played: Simulation) -> None:
    entries = played.log.entries(0, 100)

    for index, data in enumerate(entries):
        found = played.log.inclusion(index, 6)
        verify_inclusion(
            leaf=leaf_hash(data),
            index=index,
            size=6,
            proof=[bytes.fromhex(node) for node in found.proof],
            root=bytes.fromhex(found.root),
        )
    assert len(entries) == played.log.size == 6


async def test_a_later_log_extends_an_earlier_one(played: Simulation) -> None:
    earlier, later = played.log.inclusion(0, 3).root, played.log.inclusion(0, 6).root

    verify_consistency(
        old_size=3,
        old_root=bytes.fromhex(earlier),
        size=6,
        root=bytes.fromhex(later),
        proof=[bytes.fromhex(node) for node in played.log.consistency(3, 6)],
    )


async def test_growing_it_in_thought_changes_nothing(played: Simulation) -> None:
    before = played.log.inclusion(0, 6)

    size, root = played.log.grown([b"one more"])
    again = played.log.grown([b"one more"])

    assert (size, root) == again
    assert size == 7
    assert played.log.size == 6
    assert played.log.inclusion(0, 6) == before


async def test_pages_begin_and_end_where_asked(played: Simulation) -> None:
    whole = played.log.entries(0, 100)

    assert played.log.entries(2, 3) == whole[2:5]
    assert played.log.entries(6, 3) == []
    assert sum(map(len, whole)) < PAGE_MAX_BYTES


@pytest.mark.parametrize(("index", "size"), [(6, 6), (0, 7), (0, 0)])
async def test_what_is_not_there_has_no_proof(played: Simulation, index: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"leaf|leaves"):
        played.log.inclusion(index, size)


async def test_a_database_with_a_missing_entry_is_refused(
    played: Simulation, tmp_path: Path
) -> None:
    played.store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "validator.db")) as database:
        database.execute("DELETE FROM validator_entries WHERE position = 2")
        database.commit()

    with pytest.raises(StoreError, match="newest head says 6"):
        open_store(None, tmp_path)
