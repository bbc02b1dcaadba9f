"""The validator's Prometheus metrics, at `/metrics`, read when they are asked for.

Names and labels are an interface: the dashboard and the alerts in `deploy/monitoring` hang on
them, and `docs/operating-validator.md` lists them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from validator.follower import HeadClock
from validator.miners import HttpMiners
from validator.records import WeightOutcome
from validator.status import Status
from validator.store import Store
from validator.watch import Watch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "carbonbench_validator_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the figures come from."""

    status: Callable[[], Status]
    clock: HeadClock
    watch: Watch
    store: Store
    miners: HttpMiners
    connection_count: Callable[[], int]
    """Connections to the chain that were opened so far."""


class Metrics(Collector):
    """The figures of one validator.

    Args:
        sources: Where they come from.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def scrape(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The figures now; those that are not known yet are left out."""
        for name, text, value in (*self._chain(), *self._weights(), *self._rounds()):
            if value is not None:
                yield GaugeMetricFamily(_PREFIX + name, text, value=float(value))
        opened = self._sources.connection_count()
        text = "Connections to the chain that were opened."
        yield CounterMetricFamily(_PREFIX + "chain_connections", text, value=opened)
        yield self._requests()
        yield self._attempts()

    def describe(self) -> Iterator[Metric]:
        """Nothing: the figures are not asked for at registration."""
        return iter(())

    def _chain(self) -> tuple[tuple[str, str, float | None], ...]:
        clock, watch = self._sources.clock, self._sources.watch
        own = watch.own
        return (
            ("block", "Newest block seen.", clock.head.number),
            ("chain_age_seconds", "Time since the last new block was seen.", clock.age),
            ("metagraph_age_seconds", "Time since the subnet was last read.", watch.age),
            ("registered", "1 while the hotkey holds a UID.", _flag(watch, own is not None)),
            (
                "permit",
                "1 while the hotkey holds a validator permit.",
                _flag(watch, own is not None and own.validator_permit),
            ),
            ("stake_tao", "Stake weight of the hotkey (TAO).", own.stake_tao if own else None),
        )

    def _weights(self) -> tuple[tuple[str, str, float | None], ...]:
        watch = self._sources.watch
        return (
            ("weights_age_blocks", "Blocks since weights landed.", watch.weights_age_blocks),
            (
                "weights_due_blocks",
                "Age from which weights are overdue: two tempos, or two rounds.",
                watch.weights_due_blocks if watch.outlook else None,
            ),
            (
                "weights_overdue",
                "1 when no weights have landed for that long.",
                _flag(watch, watch.are_weights_overdue),
            ),
        )

    def _rounds(self) -> tuple[tuple[str, str, float | None], ...]:
        status = self._sources.status()
        progress = status.progress
        return (
            ("round", "Current round.", status.round),
            ("last_scored_round", "Newest round with scores.", status.last_scored_round),
            ("round_miners", "Miners in the current round.", progress.miners),
            ("round_committed", "Of them, committed.", progress.committed),
            ("round_revealed", "Of them, revealed.", progress.revealed),
            ("round_verdicts", "Of them, judged.", progress.verdicts),
            ("log_entries", "Entries of the public log.", status.log_size),
        )

    def _requests(self) -> Metric:
        text = "Requests to miners, by how they ended: ok, or the code of the rejection."
        family = CounterMetricFamily(_PREFIX + "miner_requests", text, labels=("outcome",))
        for outcome, count in sorted(self._sources.miners.outcomes.items()):
            family.add_metric((outcome,), count)
        return family

    def _attempts(self) -> Metric:
        text = "Attempts to set weights, by how they ended."
        family = CounterMetricFamily(_PREFIX + "weight_attempts", text, labels=("outcome",))
        counts = self._sources.store.attempt_counts()
        for outcome in WeightOutcome:
            family.add_metric((outcome.value,), counts.get(outcome.value, 0))
        return family


def _flag(watch: Watch, value: bool) -> float | None:
    return float(value) if watch.outlook else None
