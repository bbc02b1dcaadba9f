"""Keeps rounds going: follows the chain's head and plays each round, whatever happens."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

import structlog

from protocol.chain import Block, Chain
from protocol.errors import ChainError, Error
from protocol.ids import BlockNumber, RoundNumber
from protocol.rounds import Schedule
from protocol.units import Seconds
from validator.ports import Clock

_log = structlog.get_logger(__name__)

_POLL_MIN_SECONDS = 0.1
_POLL_MAX_SECONDS = 2.0
_ALARM_SECONDS = 60.0
_RETRY_BLOCKS = 2


@dataclass(slots=True)
class HeadClock:
    """The chain's head, polled. Adapter of `validator.ports.Clock`.

    Args:
        chain: The chain.
        block_seconds: Expected time between blocks; polled eight times in it.
    """

    chain: Chain
    block_seconds: float
    _head: Block | None = None
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    _moved_seconds: float = field(default_factory=time.monotonic)

    @classmethod
    async def started(cls, chain: Chain, block_seconds: float) -> Self:
        """A clock that has seen the head.

        Raises:
            ChainError: If the chain does not answer.
        """
        clock = cls(chain, block_seconds)
        await clock.look()
        return clock

    @property
    def head(self) -> Block:
        """The newest block that was seen.

        Raises:
            ChainError: If none was seen yet.
        """
        if self._head is None:
            raise ChainError("no block was seen yet")
        return self._head

    @property
    def age(self) -> Seconds:
        """Time since the head last moved."""
        return Seconds(time.monotonic() - self._moved_seconds)

    async def reached(self, number: BlockNumber) -> None:
        """Return once the head is at this block or beyond."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: self._head is not None and self._head.number >= number
            )

    def unix_ms(self) -> int:
        """Wall-clock time (ms)."""
        return time.time_ns() // _NS_PER_MS

    async def look(self) -> None:
        """See the newest block, once.

        Raises:
            ChainError: If the chain does not answer.
        """
        await self._see(await self.chain.head())

    async def follow(self) -> None:
        """Poll the head for ever; a chain that is away is asked again."""
        pause = min(max(self.block_seconds / 8, _POLL_MIN_SECONDS), _POLL_MAX_SECONDS)
        away_since: float | None = None
        while True:
            try:
                await self.look()
            except ChainError as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > _ALARM_SECONDS:
                    _log.error("chain_away", error=str(error))
                    away_since = time.monotonic()
            else:
                away_since = None
            await asyncio.sleep(pause)

    async def _see(self, head: Block) -> None:
        if self._head is not None and head.number <= self._head.number:
            return
        async with self._moved:
            self._head = head
            self._moved_seconds = time.monotonic()
            self._moved.notify_all()


_NS_PER_MS = 10**6
_FORESIGHT_BLOCKS = 4
"""Before a round's start, when its miners' profiles are noted."""


class Story(Protocol):
    """Plays a round, from wherever it stands."""

    async def play(self, number: RoundNumber) -> None:
        """The whole round."""
        ...

    async def foresee(self, number: RoundNumber) -> None:
        """Note what miners offer before the round's first block can be known."""
        ...


class Follower:
    """Plays every round once: those that were left open, and each new one.

    Args:
        story: Plays a round.
        clock: Where the chain is.
        schedule: When rounds begin.
        unsettled: Rounds that were begun and not finished, as stored.
    """

    def __init__(
        self,
        story: Story,
        clock: Clock,
        schedule: Schedule,
        unsettled: Callable[[], tuple[RoundNumber, ...]],
    ) -> None:
        self._story = story
        self._clock = clock
        self._schedule = schedule
        self._unsettled = unsettled

    async def run(self) -> None:
        """Play rounds until cancelled.

        Raises:
            Error: What a round could not get over, such as a full disk.
        """
        async with asyncio.TaskGroup() as group:
            playing = set(self._unsettled())
            for number in sorted(playing):
                group.create_task(self._play(number))
            while True:
                number = self._schedule.round_at(self._clock.head.number)
                if number not in playing:
                    playing.add(number)
                    group.create_task(self._play(number))
                following = RoundNumber(number + 1)
                start = self._schedule.start(following)
                await self._clock.reached(BlockNumber(start - _FORESIGHT_BLOCKS))
                if self._clock.head.number < start:
                    group.create_task(self._foresee(following))
                await self._clock.reached(start)

    async def _foresee(self, number: RoundNumber) -> None:
        try:
            await self._story.foresee(number)
        except ChainError as error:
            _log.warning("profiles_not_seen", round=number, error=str(error))

    async def _play(self, number: RoundNumber) -> None:
        """One round, again and again while the chain is away."""
        while True:
            try:
                await self._story.play(number)
            except* ChainError as faults:
                _log.warning("round_interrupted", round=number, error=str(faults.exceptions[0]))
            else:
                return
            head = self._clock.head.number
            await self._clock.reached(BlockNumber(head + _RETRY_BLOCKS))


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group, so that it can be told in one line."""
    for fault in group.exceptions:
        found = first_error(fault) if isinstance(fault, BaseExceptionGroup) else fault
        if isinstance(found, Error):
            return found
    return group
