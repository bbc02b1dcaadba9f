"""What Prometheus is told: requests, refusals, refreshes, the age of the data.

A registry of its own per application, so that two in one process do not mix.
"""

from collections.abc import Callable

import prometheus_client as prometheus
from prometheus_client import Counter, Histogram

from api.release import Holder

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters and gauges of one API process."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "carbonbench_api_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=self._registry,
        )
        self._request_seconds = prometheus.Histogram(
            "carbonbench_api_request_seconds",
            "Time to answer a request that was not answered from memory.",
            ("route",),
            buckets=_BUCKETS_SECONDS,
            registry=self._registry,
        )
        self._refused = prometheus.Counter(
            "carbonbench_api_refused",
            "Requests refused before they were looked at, by problem code.",
            ("code",),
            registry=self._registry,
        )
        self._refreshes = prometheus.Counter(
            "carbonbench_api_refreshes",
            "Refreshes by outcome.",
            ("outcome",),
            registry=self._registry,
        )
        self._refresh_seconds = prometheus.Gauge(
            "carbonbench_api_refresh_seconds",
            "Time that the newest refresh took.",
            registry=self._registry,
        )
        self._gauge("carbonbench_api_rows", "Rows of the release.", self._rows)
        self._gauge(
            "carbonbench_api_refresh_age_seconds",
            "Time since a refresh last succeeded; NaN before the first.",
            self._age_seconds,
        )
        self._gauge(
            "carbonbench_api_sources_down", "Sources that are not well.", self._sources_down
        )
        self._by_outcome: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._from_memory = self._requests.labels("memory", "200")

    def answered_from_memory(self) -> None:
        """A request got the bytes of an earlier one."""
        self._from_memory.inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: The route's template, never the path: its values are the caller's.
            status: HTTP status.
            seconds: From the request to the first byte.
        """
        kept = self._by_outcome.get((route, status))
        if kept is None:
            counter = self._requests.labels(route, str(status))
            kept = self._by_outcome[(route, status)] = (
                counter,
                self._request_seconds.labels(route),
            )
        kept[0].inc()
        kept[1].observe(seconds)

    def refused(self, code: str) -> None:
        """A request was refused by its size or its caller's rate."""
        self._refused.labels(code).inc()

    def refreshed(self, *, outcome: str, seconds: float) -> None:
        """A refresh ended: `ok` or `failed`."""
        self._refreshes.labels(outcome).inc()
        self._refresh_seconds.set(seconds)

    def exposition(self) -> bytes:
        """The text that a scrape gets."""
        return prometheus.generate_latest(self._registry)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        prometheus.Gauge(name, text, registry=self._registry).set_function(value)

    def _rows(self) -> float:
        release = self._holder.release
        return float(len(release.rows)) if release else 0.0

    def _age_seconds(self) -> float:
        refreshed = self._holder.refreshed_at
        if refreshed is None:
            return float("nan")
        return (self._holder.now() - refreshed).total_seconds()

    def _sources_down(self) -> float:
        release = self._holder.release
        states = release.sources if release else ()
        return float(sum(source.state in _DOWN for source in states))


_DOWN = frozenset({"refused", "unreachable"})
