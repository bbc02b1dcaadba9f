"""Where this miner stands: what it is at, how its rounds ended, what validators made of them.

One object for all who show it: `/v1/status`, the page `/status` and `carbonbench-miner status`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace

import structlog

from miner.metrics import Metrics
from miner.outcome import Outcome
from miner.session import Session
from miner.validator_logs import LogAddress, LogView, addresses, announced_logs, read_logs
from miner.visits import Visits

_READ_BLOCKS = 20
"""Blocks between two looks into the validators' logs."""

_log = structlog.get_logger("miner")


@dataclass(slots=True)
class Standing:
    """What a running miner knows of itself.

    Args:
        session: The session.
        visits: Who has called.
        metrics: Where the validators' verdicts are counted too.
        log_urls: Validators' logs that the operator named.
    """

    session: Session
    visits: Visits
    metrics: Metrics
    log_urls: Sequence[str] = ()
    logs: tuple[LogView, ...] = ()
    """Validators' logs as last read."""

    def as_json(self) -> dict[str, object]:
        """Everything, for programs.

        A round's energy stays out until its commitment deadline has passed, as its report does.
        """
        session, schedule = self.session, self.session.network.schedule
        head = session.head
        return {
            "hotkey": session.identity.hotkey,
            "uid": session.uid,
            "network": session.network.name,
            "block": head.number if head else None,
            "chain_age_seconds": session.chain_age_seconds,
            "round": schedule.round_at(head.number) if head else None,
            "phase": schedule.phase(head.number) if head else None,
            "state": session.state,
            "last_rounds": [asdict(self._shown(outcome)) for outcome in session.archive.outcomes()],
            "asked_by": self.visits.as_json(),
            "validators": [asdict(view) for view in self.logs],
        }

    def log_addresses(self) -> tuple[LogAddress, ...]:
        """Where validators' logs may be: named by the operator, or announced on chain."""
        metagraph = self.session.metagraph
        announced = announced_logs(metagraph, self.session.network) if metagraph else ()
        return addresses(self.log_urls, announced)

    async def follow_logs(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Read the validators' logs now and then, for ever."""
        hotkey = self.session.identity.hotkey
        while True:
            before = self.logs
            self.logs = await read_logs(hotkey, self.log_addresses())
            self.metrics.judged(self.logs)
            self._log_new_verdicts(before)
            await pause(_READ_BLOCKS * self.session.network.block_seconds)

    def _shown(self, outcome: Outcome) -> Outcome:
        if self.session.may_reveal(outcome.round):
            return outcome
        return replace(outcome, energy_mj=None, run_us=0)

    def _log_new_verdicts(self, before: Sequence[LogView]) -> None:
        known = {(one.validator, one.round) for view in before for one in view.judgements}
        for view in self.logs:
            for one in reversed(view.judgements):
                if before and (one.validator, one.round) not in known:
                    _log.info("verdict_read", **asdict(one))
