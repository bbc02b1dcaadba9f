"""What Prometheus is told: requests, refusals, refreshes, the age of the data.

A registry of its own per application, so that two in one process do not mix. Several processes
on one port count in files of one folder, and whichever is scraped tells of all.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import prometheus_client as prometheus
from prometheus_client import Counter, Histogram, multiprocess, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.release import Holder

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def share_counts(folder: Path, worker: int) -> None:
    """Count in files of a folder from now on, beside other processes; before any `Metrics`.

    A worker that is started again goes on from the counts of the one before it.

    Args:
        folder: The same for all of them.
        worker: Number of this process, another one in each.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]  # the library gives no types


class Metrics:
    """Counters and gauges of one API process, or of all that share their counts."""

    def __init__(self, holder: Holder, folder: Path | None = None) -> None:
        """Their counts start at 0.

        Args:
            holder: Holds the release that the gauges tell of.
            folder: Where the counts are shared (`share_counts`); None for one process.
        """
        self._shown = prometheus.CollectorRegistry()
        self._shown.register(_DataGauges(holder))
        self._registry = self._shown if folder is None else prometheus.CollectorRegistry()
        if folder is not None:
            multiprocess.MultiProcessCollector(self._shown, str(folder))  # type: ignore[no-untyped-call]  # the library gives no types
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
            multiprocess_mode="mostrecent",
        )
        self._by_outcome: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._from_memory = self._requests.labels("memory", "200")
        self._is_shared = folder is not None
        self._memory_count = self._memory_told = 0
        self._telling = threading.Lock()

    def answered_from_memory(self) -> None:
        """A request got the bytes of an earlier one."""
        # A plain number, told when it is asked for: a counter's lock costs more than the answer.
        self._memory_count += 1
        if self._is_shared:
            self._tell()

    def _tell(self) -> None:
        with self._telling:
            untold = self._memory_count - self._memory_told
            self._memory_told += untold
            self._from_memory.inc(untold)

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
        self._tell()
        return prometheus.generate_latest(self._shown)


class _DataGauges(Collector):
    """What is the same in every process: the release, as it is when it is asked for."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Rows, age and sources that are down."""
        release, refreshed = self._holder.release, self._holder.refreshed_at
        age = (self._holder.now() - refreshed).total_seconds() if refreshed else float("nan")
        states = release.sources if release else ()
        yield GaugeMetricFamily(
            "carbonbench_api_rows", "Rows of the release.", len(release.rows) if release else 0
        )
        yield GaugeMetricFamily(
            "carbonbench_api_refresh_age_seconds",
            "Time since a refresh last succeeded; NaN before the first.",
            age,
        )
        yield GaugeMetricFamily(
            "carbonbench_api_sources_down",
            "Sources that are not well.",
            sum(source.state in _DOWN for source in states),
        )


_DOWN = frozenset({"refused", "unreachable"})
