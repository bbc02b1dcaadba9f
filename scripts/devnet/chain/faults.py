"""What can go wrong with a node, on command: silence, delays, cuts, a restart.

Connections to the path `/control` are spared, so that a test can end what it began.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

CONTROL_PATH = "/control"


@dataclass(slots=True, eq=False)
class Line:
    """One connection, as the faults see it."""

    cut: Callable[[], None]
    """Ends it without a word, as a crash or a firewall does."""
    close: Callable[[], None]
    """Ends it with a closing handshake, as a proxy does that shuts down."""
    spared: bool = False
    dead: bool = False
    """Half-open: it takes everything and answers nothing, for ever."""


@dataclass(slots=True)
class Faults:
    """The faults of one node; none at first."""

    delay_seconds: float = 0.0
    """Time that each answer takes longer."""
    lines: set[Line] = field(default_factory=set)
    restart: Callable[[float], None] = lambda _seconds: None
    """Stops listening for a while and comes back with its state."""
    _thawed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._thawed.set()

    def freeze(self) -> None:
        """Answer nobody, new connections included, until `thaw`."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Answer again, what came meanwhile too."""
        self._thawed.set()

    def half_open(self) -> int:
        """Never answer the present connections again; the number of them."""
        chosen = self._chosen()
        for line in chosen:
            line.dead = True
        return len(chosen)

    def cut(self) -> int:
        """Cut the present connections; the number of them."""
        chosen = self._chosen()
        for line in chosen:
            line.cut()
        return len(chosen)

    def close(self) -> int:
        """Close the present connections politely; the number of them."""
        chosen = self._chosen()
        for line in chosen:
            line.close()
        return len(chosen)

    async def before_answer(self, line: Line | None = None) -> None:
        """Wait as long as an answer on this line has to."""
        if line is not None and line.spared:
            return
        await self._thawed.wait()
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)

    def _chosen(self) -> list[Line]:
        return [line for line in self.lines if not line.spared]
