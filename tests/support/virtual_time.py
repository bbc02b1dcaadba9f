"""Virtual time: hours pass in milliseconds, and background steps run when their time has come."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.units import Seconds, nanoseconds

_LEAST_NS = 100_000
"""No sleep is shorter, so that polling without pause gets on."""


@dataclass
class VirtualBackground:
    """A repeated step in virtual time."""

    step: Callable[[], float | None]
    due_ns: int
    is_alive: bool = True

    def wake(self) -> None:
        self.due_ns = 0

    def stop(self) -> None:
        self.is_alive = False


@dataclass
class VirtualTimer:
    """A `miner.timer.Timer` whose clock moves only when someone sleeps."""

    at_ns: int = 1_000_000_000_000
    oversleep_seconds: float = 0.0
    """Longest time by which a sleep ends late, as on a loaded machine."""
    call_ns: int = 0
    """How long a look at the clock takes, so that readings have a width."""
    chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - a load, no secret
    backgrounds: list[VirtualBackground] = field(default_factory=list)

    def now_ns(self) -> int:
        self.at_ns += self.call_ns
        return self.at_ns

    def peek_ns(self) -> int:
        """The time, without taking any: the simulated GPU's clock."""
        return self.at_ns

    def sleep(self, duration_seconds: float) -> None:
        late = self.chance.uniform(0, self.oversleep_seconds) if duration_seconds > 0 else 0.0
        until_ns = self.at_ns + max(_LEAST_NS, nanoseconds(Seconds(duration_seconds + late)))
        while (due := self._next_due(until_ns)) is not None:
            self.at_ns = max(self.at_ns, due.due_ns)
            self._run(due)
        self.at_ns = max(self.at_ns, until_ns)

    def repeat(self, step: Callable[[], float | None]) -> VirtualBackground:
        background = VirtualBackground(step=step, due_ns=self.at_ns)
        self.backgrounds.append(background)
        self._run(background)
        return background

    def _run(self, background: VirtualBackground) -> None:
        wait = background.step()
        if wait is None:
            background.is_alive = False
            return
        background.due_ns = self.at_ns + max(1, nanoseconds(Seconds(wait)))

    def _next_due(self, until_ns: int) -> VirtualBackground | None:
        self.backgrounds = [one for one in self.backgrounds if one.is_alive]
        ready = [one for one in self.backgrounds if one.due_ns <= until_ns]
        return min(ready, key=lambda one: one.due_ns, default=None)
