"""What Prometheus scrapes: expiry dates and verdicts per resource and port, and how the operator itself is doing.

Series of a certificate stay after its expiry, and those of a port while nobody answers there: alerts need them most
just then, and so do those of a pod that is not ready. They go only when the resource or the pod is gone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mailtls import __version__
from mailtls.api.spec import Key
from mailtls.api.status import Condition, DomainReport, Truth
from mailtls.net import backoff
from mailtls.probe.target import Endpoint, Target
from mailtls.reasons.reason import Reason, Severity

_RESOURCE: Final = ("namespace", "name")
_PORT: Final = ("workload", "pod", "port")
_MINUTES: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_PASSES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
Labels = tuple[str, ...]


class _Series:
    """The series of one gauge that belong to each resource, so that they can be taken away again."""

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge
        self._of: dict[Key, set[Labels]] = {}

    def set(self, key: Key, rest: Labels, value: float) -> None:
        """Set one series of the resource."""
        labels = (key.namespace, key.name, *rest)
        self.gauge.labels(*labels).set(value)
        self._of.setdefault(key, set()).add(labels)

    def keep(self, key: Key, wanted: Callable[[Labels], bool]) -> None:
        """Remove the resource's series whose labels after the resource's own are not wanted."""
        kept = set()
        for labels in self._of.pop(key, ()):
            if wanted(labels[2:]):
                kept.add(labels)
            else:
                self.gauge.remove(*labels)
        if kept:
            self._of[key] = kept

    def replace(self, key: Key, now: Mapping[Labels, float]) -> None:
        """Make these the only series of the resource."""
        self.keep(key, lambda rest: rest in now)
        for labels, value in now.items():
            self.set(key, labels, value)


MOST_SERVERS: Final = 32  # ACME servers with a series of their own; resources name them, so there must be an end


class Metrics:
    """All of the operator's metrics in a registry of their own; safe for threads. Times are Unix seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = Lock()
        self._all: list[_Series] = []
        self._skew_of: dict[str, None] = {}
        self._declare_certificates()
        self._declare_operator()

    def _declare_certificates(self) -> None:
        self._not_after = self._series(
            "mailtls_certificate_not_after_timestamp_seconds", "When the stored certificate expires.", "secret"
        )
        self._renewal = self._series(
            "mailtls_certificate_renewal_timestamp_seconds", "When the stored certificate is due for renewal."
        )
        self._served_not_after = self._port_series(
            "mailtls_served_not_after_timestamp_seconds", "When the certificate expires that the port last served."
        )
        self._matches = self._port_series(
            "mailtls_endpoint_certificate_matches", "1 when the port serves the stored certificate, 0 when another one."
        )
        self._success = self._port_series(
            "mailtls_endpoint_probe_success",
            "1 when the port's last probe found nothing that fails; 0 when it did, and while nobody can or may look.",
        )
        self._finding = self._port_series(
            "mailtls_endpoint_finding",
            "1 for each reason found at the port's last probe, also where it only warns, and for PodNotReady.",
            *("reason", "severity"),
        )
        self._probed = self._port_series("mailtls_probe_timestamp_seconds", "When the port was last probed.")
        self._condition = self._series(
            "mailtls_status_condition",
            "1 for the present status of a condition (True, False, Unknown), 0 for the two others.",
            *("type", "status"),
        )
        self._condition_info = self._series(
            "mailtls_status_condition_info", "1 for the present reason of a condition.", "type", "reason"
        )
        self._domain = self._series(
            "mailtls_domain_finding",
            "1 for each reason found at the last look at what a mail domain publishes.",
            *("domain", "reason", "severity"),
        )
        self._domain_checked = self._series(
            "mailtls_domain_check_timestamp_seconds", "When what a mail domain publishes was last looked at.", "domain"
        )

    def _declare_operator(self) -> None:
        self._orders = self._counter("mailtls_orders_total", "Orders that came to an end.", "outcome")
        self._order_seconds = self._histogram(
            "mailtls_order_duration_seconds", "From opening an order to its end.", _MINUTES
        )
        self._rollouts = self._counter("mailtls_rollouts_total", "Rollouts that came to an end.", "outcome")
        self._rollout_seconds = self._histogram(
            "mailtls_rollout_duration_seconds", "From the first pod told to the last one verified.", _MINUTES
        )
        self._acme = self._counter("mailtls_acme_requests_total", "Requests to ACME servers.", "type", "code")
        self._skew = self._gauge(
            "mailtls_clock_skew_seconds",
            "How far the clock is ahead of the ACME server's, at its last answer.",
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
            "Workers that have been in one step for half of the longest time that it may take.",
        )
        self._in_line = self._gauge(
            "mailtls_bulkhead_waiting",
            "Resources that wait until fewer others wait on the same CA, DNS server or pods.",
        )
        self._passes = self._histogram(
            "mailtls_reconcile_duration_seconds", "How long passes over one resource took.", _PASSES
        )
        self._leader = self._gauge("mailtls_leader", "1 while this replica leads.")
        build = self._gauge("mailtls_build_info", "Always 1; the version is in the label.", "version")
        build.labels(__version__).set(1)

    def stored(self, key: Key, secret: str, not_after: datetime, renewal_at: datetime | None) -> None:
        """Note the certificate that the Secret holds, and when it is due; None where that is not known."""
        with self._lock:
            self._not_after.keep(key, lambda rest: rest == (secret,))
            self._not_after.set(key, (secret,), not_after.timestamp())
            if renewal_at is None:
                self._renewal.keep(key, _nothing)
            else:
                self._renewal.set(key, (), renewal_at.timestamp())

    def served(self, key: Key, endpoints: Sequence[Endpoint], resting: Iterable[Target] = ()) -> None:
        """Note what all ports of the resource serve: those that are neither among `endpoints` nor `resting` are gone.

        A port that showed no certificate this time keeps the expiry date last seen there, and whether it matched. A
        port probed at several addresses is as good as the worst of them. `resting` are ports of pods that live but are
        not ready: nobody probes them, and what was last found there stands beside the finding PodNotReady.
        """
        ports: dict[Labels, list[Endpoint]] = {}
        for endpoint in endpoints:
            ports.setdefault(_place(endpoint.target), []).append(endpoint)
        idle = {_place(target) for target in resting} - set(ports)
        with self._lock:
            for series in (self._served_not_after, self._matches, self._success, self._probed, self._finding):
                series.keep(key, lambda rest: rest[:3] in ports or rest[:3] in idle)
            for place, addresses in ports.items():
                self._port(key, place, addresses)
            for place in idle:
                self._success.set(key, place, 0)
                self._finding.set(key, (*place, str(Reason.POD_NOT_READY), str(Severity.FAIL)), 1)

    def _port(self, key: Key, place: Labels, addresses: Sequence[Endpoint]) -> None:
        self._success.set(key, place, float(not any(each.failure or each.is_blocked for each in addresses)))
        found = {(*place, str(each.reason), str(each.severity)) for where in addresses for each in where.findings}
        self._finding.keep(key, lambda rest: rest[:3] != place or rest in found)
        for labels in found:
            self._finding.set(key, labels, 1)
        self._probed.set(key, place, min(endpoint.checked_at for endpoint in addresses).timestamp())
        expiries = [endpoint.served_not_after for endpoint in addresses if endpoint.served_not_after is not None]
        if expiries:
            self._served_not_after.set(key, place, min(expiries).timestamp())
        seen = [endpoint for endpoint in addresses if endpoint.served_sha256 is not None]
        if seen:
            self._matches.set(key, place, float(all(map(_matches, seen))))

    def conditions(self, key: Key, conditions: Iterable[Condition]) -> None:
        """Note the resource's conditions as they are now."""
        statuses: dict[Labels, float] = {}
        reasons: dict[Labels, float] = {}
        for each in conditions:
            statuses |= {(str(each.type), str(status)): float(status is each.status) for status in Truth}
            reasons[str(each.type), str(each.reason)] = 1.0
        self._set(key, (self._condition, statuses), (self._condition_info, reasons))

    def domains(self, key: Key, reports: Sequence[DomainReport]) -> None:
        """Note what was found about the resource's mail domains: those that are not among `reports` are gone."""
        found: dict[Labels, float] = {
            (each.name, str(what.reason), str(what.severity)): 1.0 for each in reports for what in each.findings
        }
        checked: dict[Labels, float] = {(each.name,): each.checked_at.timestamp() for each in reports}
        self._set(key, (self._domain, found), (self._domain_checked, checked))

    def _set(self, key: Key, *wanted: tuple[_Series, Mapping[Labels, float]]) -> None:
        """Make these the only series of the resource, at once for whoever scrapes."""
        with self._lock:
            for series, now in wanted:
                series.replace(key, now)

    def forget(self, key: Key) -> None:
        """Remove every series of a resource that is gone."""
        with self._lock:
            for series in self._all:
                series.keep(key, _nothing)

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

    def acme_request(self, request: str, code: int | str) -> None:
        """Count a request to an ACME server by its type (`newOrder`) and the answer's HTTP status, or `none`."""
        self._acme.labels(request, str(code)).inc()

    def clock_skew(self, server: str, seconds: float) -> None:
        """Note how many seconds our clock is ahead of an ACME server's, negative when behind."""
        with self._lock:
            self._skew_of.pop(server, None)
            self._skew_of[server] = None  # the last is the one heard of last
            if len(self._skew_of) > MOST_SERVERS:
                oldest = next(iter(self._skew_of))
                del self._skew_of[oldest]
                self._skew.remove(oldest)
            self._skew.labels(server).set(seconds)

    def retried(self, kind: str, times: int = 1) -> None:
        """Count what is tried again by the back-off policy of this name."""
        self._retries.labels(kind).inc(times)

    def written(self, verb: str) -> None:
        """Count a write to the API server."""
        self._writes.labels(verb).inc()

    def reconciled(self, seconds: float) -> None:
        """Note how long a pass took."""
        self._passes.observe(seconds)

    def watch_queue(self, depth: Callable[[], int], oldest: Callable[[], float]) -> None:
        """Ask at each scrape for the queue's length, and how many seconds its oldest has waited."""
        self._depth.set_function(lambda: float(depth()))
        self._oldest.set_function(oldest)

    def watch_workers(self, late: Callable[[], int]) -> None:
        """Ask at each scrape how many workers seem to be stuck."""
        self._late.set_function(lambda: float(late()))

    def watch_line(self, waiting: Callable[[], int]) -> None:
        """Ask `waiting` at each scrape how many resources stand in line for a place in a bulkhead."""
        self._in_line.set_function(lambda: float(waiting()))

    def watch_leader(self, is_leading: Callable[[], bool]) -> None:
        """Ask at each scrape whether this replica leads."""
        self._leader.set_function(lambda: float(is_leading()))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        with self._lock:
            return generate_latest(self.registry)

    def _series(self, name: str, meaning: str, *labels: str) -> _Series:
        series = _Series(self._gauge(name, meaning, *_RESOURCE, *labels))
        self._all.append(series)
        return series

    def _port_series(self, name: str, meaning: str, *labels: str) -> _Series:
        return self._series(name, meaning, *_PORT, *labels)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, meaning, buckets=buckets, registry=self.registry)


_OTHER_CERTIFICATE: Final = frozenset({Reason.SERVING_OLD_CERTIFICATE, Reason.UNEXPECTED_CERTIFICATE})


def _matches(endpoint: Endpoint) -> bool:
    return not any(finding.reason in _OTHER_CERTIFICATE for finding in endpoint.findings)


def _place(target: Target) -> Labels:
    return (target.workload, target.label, str(target.port.port))


def _nothing(_rest: Labels) -> bool:
    return False
