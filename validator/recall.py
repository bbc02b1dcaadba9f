"""What later rounds ask the validator's database about earlier ones: a part of the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from protocol.ids import Digest, Hotkey, RoundNumber
from validator import queries
from validator.cohorts import Observation
from validator.database import store_errors
from validator.operators import Run
from validator.physics import Baseline
from validator.tables import EntryRow, RoundRow, ScoreRow

_REPEATS = 50
"""A miner's latest reports in a cell that a new one is compared with."""


class Recall:
    """Questions about earlier rounds; each is one transaction.

    Args:
        engine: Opened and migrated (`validator.database`).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def earlier_energies_mj(self, hotkey: Hotkey, cell_key: str) -> tuple[int, ...]:
        """Energies of a miner's latest accepted reports in a cell (mJ)."""
        wanted = (
            select(EntryRow.energy_mj)
            .where(EntryRow.cell_key == cell_key, EntryRow.miner == hotkey)
            .order_by(EntryRow.round.desc())
            .limit(_REPEATS)
        )
        with self._transaction() as session:
            return tuple(energy for energy in session.scalars(wanted) if energy is not None)

    def earlier_shapes(self, hotkey: Hotkey, cell_key: str) -> tuple[tuple[int, ...], ...]:
        """Shapes of the traces of a miner's latest reports in a cell."""
        with self._transaction() as session:
            return queries.earlier_shapes(session, hotkey, cell_key, _REPEATS)

    def shapes(self, number: RoundNumber) -> dict[str, dict[Hotkey, tuple[int, ...]]]:
        """Shapes of a round's accepted traces, by cell and miner."""
        with self._transaction() as session:
            return queries.shapes(session, number)

    def runs(self, number: RoundNumber, *, count: int) -> tuple[Run, ...]:
        """Accepted runs of a round and of those before it, `count` rounds in all."""
        with self._transaction() as session:
            return queries.runs(session, number, count)

    def trace_count(self, trace: Digest, *, before: RoundNumber) -> int:
        """Verdicts of earlier rounds on reports with this very power trace."""
        wanted = select(func.count()).where(EntryRow.trace_digest == trace, EntryRow.round < before)
        with self._transaction() as session:
            return session.scalars(wanted).one()

    def baseline(self, cell_key: str, *, without: Hotkey) -> Baseline | None:
        """Medians of other miners' latest accepted reports in a cell; None if too few."""
        with self._transaction() as session:
            return queries.baseline(session, cell_key, without)

    def history(self, number: RoundNumber, *, first: RoundNumber) -> tuple[Observation, ...]:
        """Accepted reports from round `first` to the one before `number`."""
        with self._transaction() as session:
            return queries.history(session, number, first)

    def averages_ppm(self, number: RoundNumber) -> dict[Hotkey, int]:
        """Moving averages after the last round concluded before `number`."""
        last = select(func.max(RoundRow.number)).where(
            RoundRow.number < number, RoundRow.scored_block.is_not(None)
        )
        wanted = select(ScoreRow.miner, ScoreRow.average_ppm).where(
            ScoreRow.round == last.scalar_subquery()
        )
        with self._transaction() as session:
            return {Hotkey(miner): average for miner, average in session.execute(wanted)}

    def recent_codes(self, number: RoundNumber, *, count: int) -> dict[Hotkey, tuple[str, ...]]:
        """Codes ("" for accepted) of each miner's verdicts in the last rounds, newest last."""
        with self._transaction() as session:
            return queries.recent_codes(session, number, count)

    def proof_failures(self, number: RoundNumber) -> dict[Hotkey, list[RoundNumber]]:
        """Rounds before `number` in which miners failed the token proof, as far as they count."""
        with self._transaction() as session:
            return queries.proof_failures(session, number)

    def excluded(self, number: RoundNumber) -> frozenset[str]:
        """Hotkeys and coldkeys that proven fraud excludes from a round."""
        with self._transaction() as session:
            return queries.excluded(session, number)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with store_errors(), Session(self._engine) as session, session.begin():
            yield session
