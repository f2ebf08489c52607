"""What Prometheus scrapes: how the operator itself is doing, besides the metrics of its resources."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from threading import Lock
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mailtls import __version__
from mailtls.net import backoff
from mailtls.resource_metrics import ResourceMetrics

_MINUTES: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_PROBE_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
_RECONCILE_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


_LIMIT_WORDS: Final = (
    "Orders that the CA takes from an account at once, where a limit is known (acme.orderLimits); the installation's "
    "account has the operator's namespace."
)
_REMAINING_WORDS: Final = "Orders that may be placed now; of several accounts of a namespace the one with the fewest."


class Budget(Protocol):
    """How many orders an account may place in all, how many of them at once now, and how many resources wait."""

    @property
    def limit(self) -> int: ...  # noqa: D102 - said above
    @property
    def left(self) -> int: ...  # noqa: D102
    @property
    def waiting(self) -> int: ...  # noqa: D102


_ACME_STATUSES: Final = (200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 502, 503, 504)
_CODES: Final = frozenset({"none", *map(str, _ACME_STATUSES)})


def _code(status: str) -> str:
    if status in _CODES:
        return status
    return f"{status[0]}xx" if re.fullmatch("[1-5][0-9]{2}", status) else "other"


Budgets = Callable[[], Mapping[tuple[str, str], Budget]]


class _Budgets(Collector):
    """The order limits of accounts, read at each scrape: accounts come and go without a word."""

    def __init__(self) -> None:
        self.read: Budgets = dict

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Make the present series."""
        labels = ("namespace", "server")
        limit = GaugeMetricFamily("mailtls_order_budget_limit", _LIMIT_WORDS, labels=labels)
        left = GaugeMetricFamily("mailtls_order_budget_remaining", _REMAINING_WORDS, labels=labels)
        waiting = GaugeMetricFamily(
            "mailtls_order_budget_waiting", "Resources that wait until the CA takes more orders.", labels=labels
        )
        for place, budget in self.read().items():
            limit.add_metric(place, budget.limit)
            left.add_metric(place, budget.left)
            waiting.add_metric(place, budget.waiting)
        yield from (limit, left, waiting)


class Metrics(ResourceMetrics):
    """All of the operator's metrics in a registry of their own; safe for threads. Times are Unix seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        super().__init__(self.registry, Lock())
        self._budgets = _Budgets()
        self._declare_operator()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(self._budgets)

    def _declare_operator(self) -> None:
        self._orders = self._counter("mailtls_orders_total", "Orders that ended, issued or failed.", "outcome")
        self._order_seconds = self._histogram(
            "mailtls_order_duration_seconds", "From opening an order to its end.", _MINUTES
        )
        self._rollouts = self._counter("mailtls_rollouts_total", "Rollouts that ended, succeeded or failed.", "outcome")
        self._rollout_seconds = self._histogram(
            "mailtls_rollout_duration_seconds",
            "From the first pod reloaded or restarted to the last one verified.",
            _MINUTES,
        )
        self._verification_seconds = Histogram(
            "mailtls_verification_duration_seconds",
            "How long a probe of all ports of a resource's pods took.",
            ["depth"],
            buckets=_PROBE_SECONDS,
            registry=self.registry,
        )
        self._rollbacks = self._counter(
            "mailtls_rollbacks_total",
            "Certificates that the previous one replaced again, after a failure in a pod or by request.",
            "cause",
        )
        self._acme = self._counter("mailtls_acme_requests_total", "Requests to ACME servers.", "type", "code")
        self._skew = self._gauge(
            "mailtls_clock_skew_seconds",
            "How far the clock is ahead of the installation's ACME server's, at its last answer, less the round trip.",
            "server",
        )
        self._retries = self._counter(
            "mailtls_retries_total", "What failed and is tried again after a growing delay.", "kind"
        )
        for each in backoff.COUNTED:
            self._retries.labels(each.kind)
        self._writes = self._counter("mailtls_kubernetes_writes_total", "Writes to the API server.", "verb")
        self._depth = self._gauge("mailtls_workqueue_depth", "Resources that wait for a worker.")
        self._oldest = self._gauge(
            "mailtls_queue_oldest_seconds", "How long the resource that waits longest has waited for a worker."
        )
        self._late = self._gauge(
            "mailtls_workers_stuck",
            "Workers that have been in one step for more than half of the longest time that it may take; after the "
            "whole time the liveness probe restarts the operator.",
        )
        self._in_line = self._gauge(
            "mailtls_bulkhead_waiting",
            "Resources that wait until fewer others wait on the same CA, DNS server or pods.",
        )
        self._queued = self._gauge(
            "mailtls_rollouts_waiting", "Resources that wait until fewer others roll out (rollout.maxConcurrent)."
        )
        self._rolling = self._gauge("mailtls_rollouts_running", "Resources that roll out now.")
        self._most_rolling = self._gauge(
            "mailtls_rollouts_limit", "How many may roll out at once (rollout.maxConcurrent); +Inf without a limit."
        )
        self._reconciles = self._histogram(
            "mailtls_reconcile_duration_seconds", "How long reconciles of one resource took.", _RECONCILE_SECONDS
        )
        self._leader = self._gauge("mailtls_leader", "1 while this replica leads.")
        build = self._gauge("mailtls_build_info", "Always 1; the version is in the label.", "version")
        build.labels(__version__).set(1)

    def order_ended(self, outcome: str, seconds: float | None = None) -> None:
        """Count an order: `issued` or `failed`, and how long it took where that is known."""
        self._orders.labels(outcome).inc()
        if seconds is not None:
            self._order_seconds.observe(seconds)

    def rollout_ended(self, outcome: str, seconds: float | None = None) -> None:
        """Count a rollout: `succeeded` or `failed`, and how long it took where that is known."""
        self._rollouts.labels(outcome).inc()
        if seconds is not None:
            self._rollout_seconds.observe(seconds)

    def verified(self, depth: str, seconds: float) -> None:
        """Note how long it took to probe all ports of a resource's pods."""
        self._verification_seconds.labels(depth).observe(seconds)

    def rolled_back(self, cause: str) -> None:
        """Count a rollback: because of a `failure` in a pod, or by `request`."""
        self._rollbacks.labels(cause).inc()

    def acme_request(self, request: str, code: int | str) -> None:
        """Count a request to an ACME server by its type (`newOrder`) and the answer's HTTP status, or `none`.

        A status that ACME servers have no use for counts by its class: a hostile one would answer with all of them.
        """
        self._acme.labels(request, _code(str(code))).inc()

    def clock_skew(self, server: str, seconds: float) -> None:
        """Note how many seconds our clock is ahead of the installation's ACME server's, negative when behind."""
        self._skew.labels(server).set(seconds)

    def retried(self, kind: str, times: int = 1) -> None:
        """Count what is tried again by the back-off policy of this name."""
        self._retries.labels(kind).inc(times)

    def written(self, verb: str) -> None:
        """Count a write to the API server."""
        self._writes.labels(verb).inc()

    def reconciled(self, seconds: float) -> None:
        """Note how long a reconcile took."""
        self._reconciles.observe(seconds)

    def watch_queue(self, depth: Callable[[], int], oldest: Callable[[], float]) -> None:
        """Ask at each scrape for the queue's length, and how many seconds its oldest has waited."""
        self._depth.set_function(lambda: float(depth()))
        self._oldest.set_function(oldest)

    def watch_workers(self, late: Callable[[], int]) -> None:
        """Ask at each scrape how many workers seem to be stuck."""
        self._late.set_function(lambda: float(late()))

    def watch_line(self, waiting: Callable[[], int]) -> None:
        """Ask `waiting` at each scrape how many resources wait for a place in a bulkhead."""
        self._in_line.set_function(lambda: float(waiting()))

    def watch_rollouts(
        self, waiting: Callable[[], int], running: Callable[[], int] = lambda: 0, most: int | None = None
    ) -> None:
        """Read at each scrape how many resources wait for their turn to roll out, and how many have one of `most`."""
        self._queued.set_function(lambda: float(waiting()))
        self._rolling.set_function(lambda: float(running()))
        self._most_rolling.set(inf if most is None else most)

    def watch_budgets(self, read: Budgets) -> None:
        """Read at each scrape what is left of the CAs' order limits, by namespace of the account and ACME server."""
        self._budgets.read = read

    def watch_leader(self, is_leading: Callable[[], bool]) -> None:
        """Ask at each scrape whether this replica leads."""
        self._leader.set_function(lambda: float(is_leading()))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        with self._lock:
            return generate_latest(self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, meaning, buckets=buckets, registry=self.registry)
