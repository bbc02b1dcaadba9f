"""Which validators have asked this miner for what, and when: the sign that it can be reached."""

from collections import Counter
from dataclasses import dataclass, field

from protocol.ids import BlockNumber, Hotkey

_MAX_CALLERS = 1_024
"""Hotkeys that are remembered: more than any subnet has."""


@dataclass(slots=True)
class Visit:
    """What one caller has asked for since the start."""

    counts: Counter[str] = field(default_factory=Counter)
    last_block: BlockNumber = BlockNumber(0)
    """Newest block known at the last request."""


@dataclass(slots=True)
class Visits:
    """All callers that were let in since the start."""

    callers: dict[Hotkey, Visit] = field(default_factory=dict)

    def note(self, caller: Hotkey, what: str, block: BlockNumber) -> None:
        """Remember that a caller was given something: profile, commitment or report."""
        if caller not in self.callers and len(self.callers) >= _MAX_CALLERS:
            return
        visit = self.callers.setdefault(caller, Visit())
        visit.counts[what] += 1
        visit.last_block = block

    def as_json(self) -> list[dict[str, object]]:
        """One object per caller, by hotkey."""
        return [
            {"validator": hotkey, "last_block": visit.last_block, **visit.counts}
            for hotkey, visit in sorted(self.callers.items())
        ]
