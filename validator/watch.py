"""Looks after the validator's own standing on chain, and raises the alarm when it slips.

A chain that stands still, a lost permit, and above all weights that no longer land cost a
validator its income without any sign; so all of it is looked at every few blocks and told in
the log and in the metrics. Reads only: nothing waits for it, nothing fails with it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from protocol.chain import Chain, Hyperparameters, Metagraph, Neuron
from protocol.errors import ChainError
from protocol.ids import BlockNumber, Hotkey
from protocol.rounds import Schedule
from protocol.units import Seconds
from validator.ports import Clock

_log = structlog.get_logger(__name__)

LOOK_BLOCKS = 10
"""Blocks between two looks."""
OVERDUE_TEMPOS = 2
"""Tempos without weights that are an alarm; a round where that is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The subnet at one look."""

    metagraph: Metagraph
    rules: Hyperparameters
    seen_seconds: float
    """Monotonic time of the look."""


class Watch:
    """Watches one hotkey.

    Args:
        chain: The chain.
        clock: Where the chain is.
        hotkey: Whose standing.
        schedule: How long rounds are.
        now: Monotonic clock (s).
    """

    def __init__(
        self,
        chain: Chain,
        clock: Clock,
        hotkey: Hotkey,
        schedule: Schedule,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain, self._clock, self._hotkey = chain, clock, hotkey
        self._schedule, self._now = schedule, now
        self._begun: BlockNumber | None = None
        self._alarmed = False
        self.outlook: Outlook | None = None

    @property
    def own(self) -> Neuron | None:
        """This validator's neuron as last seen."""
        return self.outlook.metagraph.by_hotkey(self._hotkey) if self.outlook else None

    @property
    def age(self) -> Seconds | None:
        """Time since the last look that succeeded; None before the first."""
        return Seconds(self._now() - self.outlook.seen_seconds) if self.outlook else None

    @property
    def weights_age_blocks(self) -> int | None:
        """Blocks since this hotkey's weights were last on chain.

        Counted from the first look where it never had any; None before that.
        """
        if self.outlook is None or self._begun is None:
            return None
        last = self.own.last_update_block if self.own else BlockNumber(0)
        return max(0, self.outlook.metagraph.block - (last or self._begun))

    @property
    def weights_due_blocks(self) -> int:
        """Age of the weights from which they are overdue."""
        if self.outlook is None:
            return 0
        rules = self.outlook.rules
        rhythm = max(self._schedule.round_blocks, rules.weights_rate_limit_blocks)
        return max(OVERDUE_TEMPOS * rules.tempo_blocks, 2 * rhythm)

    @property
    def are_weights_overdue(self) -> bool:
        """Whether no weights have landed for two tempos."""
        age = self.weights_age_blocks
        return age is not None and age > self.weights_due_blocks

    async def run(self) -> None:
        """Look every few blocks, for ever."""
        while True:
            try:
                await self.look()
            except ChainError as error:
                _log.warning("standing_not_seen", error=str(error), hint=error.hint)
            await self._clock.reached(BlockNumber(self._clock.head.number + LOOK_BLOCKS))

    async def look(self) -> None:
        """Look once.

        Raises:
            ChainError: If the chain is away.
        """
        metagraph = await self._chain.metagraph()
        rules = await self._chain.hyperparameters()
        self.outlook = Outlook(metagraph=metagraph, rules=rules, seen_seconds=self._now())
        self._begun = self._begun or metagraph.block
        self._tell()

    def _tell(self) -> None:
        """Say once that weights are overdue, and once that they are not any more."""
        overdue, own = self.are_weights_overdue, self.own
        if overdue and not self._alarmed:
            _log.error(
                "weights_overdue",
                blocks=self.weights_age_blocks,
                due_blocks=self.weights_due_blocks,
                registered=own is not None,
                permit=own.validator_permit if own else False,
                hint="`carbonbench-validator check` names what is missing.",
            )
        elif self._alarmed and not overdue:
            _log.info("weights_landed_again", blocks=self.weights_age_blocks)
        self._alarmed = overdue
