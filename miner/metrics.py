"""The miner's Prometheus metrics, at `/metrics`.

Names and labels are an interface: dashboards and alerts hang on them. `docs/operating-miner.md`
lists them, with the alerts that are worth having.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from miner.outcome import Ending, Outcome, State
from miner.session import Session
from miner.validator_logs import LogView
from miner.visits import Visits
from protocol.units import joules, seconds_from_us

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "carbonbench_miner_"
_RUN_BUCKETS = (5, 10, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 2_700, 3_600)


class Metrics:
    """Counts what the session tells, and reads the rest when it is asked.

    A round's energy and duration are counted once its commitment deadline has passed, so that
    nobody learns a figure here before everybody has committed to their own.

    Args:
        visits: Who has called.
    """

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        self._sealed: list[Outcome] = []
        self._registry = registry = CollectorRegistry()
        self._rounds = Counter(
            f"{_PREFIX}rounds", "Rounds ended, by how.", ("ending", "code"), registry=registry
        )
        self._energy = Counter(
            f"{_PREFIX}energy_joules", "Energy of committed windows.", registry=registry
        )
        self._run_seconds = Histogram(
            f"{_PREFIX}run_seconds",
            "Duration of runs, loading and warm-up included.",
            buckets=_RUN_BUCKETS,
            registry=registry,
        )
        self._gauges = {
            name: Gauge(f"{_PREFIX}{name}", text, registry=registry)
            for name, text in (
                ("block", "Newest block seen."),
                ("chain_age_seconds", "Time since the last new block was seen."),
                ("registered", "1 while the hotkey holds a UID."),
                ("last_committed_round", "Newest round with a commitment."),
            )
        }
        self._state = Gauge(
            f"{_PREFIX}state", "1 for what the miner is at.", ("state",), registry=registry
        )
        self._asked = Gauge(
            f"{_PREFIX}answers", "Answers given.", ("validator", "what"), registry=registry
        )
        self._log_up = Gauge(
            f"{_PREFIX}log_up", "1 if a validator's log could be read.", ("log",), registry=registry
        )
        judged = ("validator",)
        self._judged_round = Gauge(
            f"{_PREFIX}verdict_round", "Newest round with a verdict.", judged, registry=registry
        )
        self._accepted = Gauge(
            f"{_PREFIX}verdict_accepted", "1 if that was accepted.", judged, registry=registry
        )
        self._score = Gauge(
            f"{_PREFIX}average_score", "Moving average score.", judged, registry=registry
        )
        self._weight = Gauge(
            f"{_PREFIX}weight_share", "Share of its weights, 0 to 1.", judged, registry=registry
        )

    def tell(self, outcome: Outcome) -> None:
        """Count the end of a round."""
        self._rounds.labels(outcome.ending.value, outcome.code).inc()
        if outcome.ending is Ending.COMMITTED:
            self._gauges["last_committed_round"].set(outcome.round)
        # Deadlines come in order, so a round that ends has those before it behind it. Where nobody
        # scrapes, this is what keeps the list short.
        self._unseal([earlier for earlier in self._sealed if earlier.round < outcome.round])
        self._sealed.append(outcome)

    def judged(self, views: Sequence[LogView]) -> None:
        """Take what validators' logs say."""
        for view in views:
            self._log_up.labels(view.url).set(not view.problem)
            if view.judgements and view.validator is not None:
                last = view.judgements[0]
                self._judged_round.labels(view.validator).set(last.round)
                self._accepted.labels(view.validator).set(last.accepted)
                scored = next((one for one in view.judgements if one.score is not None), last)
                self._score.labels(view.validator).set(scored.average_score or 0.0)
                self._weight.labels(view.validator).set(scored.weight_share or 0.0)

    def scrape(self, session: Session) -> bytes:
        """Everything in the text format of Prometheus."""
        self._unseal([sealed for sealed in self._sealed if session.may_reveal(sealed.round)])
        self._gauges["block"].set(session.head.number if session.head else 0)
        self._gauges["chain_age_seconds"].set(session.chain_age_seconds)
        self._gauges["registered"].set(session.uid is not None)
        for state in State:
            self._state.labels(state.value).set(session.state is state)
        for hotkey, visit in self._visits.callers.items():
            for what, count in visit.counts.items():
                self._asked.labels(hotkey, what).set(count)
        return generate_latest(self._registry)

    def _unseal(self, known: Sequence[Outcome]) -> None:
        """Count energy and duration of rounds that may be known by now."""
        self._sealed = [outcome for outcome in self._sealed if outcome not in known]
        for outcome in known:
            if outcome.energy_mj is not None:
                self._energy.inc(joules(outcome.energy_mj))
            if outcome.run_us:
                self._run_seconds.observe(seconds_from_us(outcome.run_us))
