"""The metrics of resources: expiry dates and verdicts, by certificate, port, condition and mail domain.

Series of a certificate stay after its expiry, and those of a port while nobody answers there: alerts need them most
just then, and so do those of a pod that is not ready. They go only when the resource or the pod is gone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from mailtls.api.spec import Key
from mailtls.api.status import OUTLOOK, Condition, DomainReport, Truth
from mailtls.probe.target import Endpoint, Target
from mailtls.reasons.reason import Reason, Severity

_RESOURCE: Final = ("namespace", "name")
_PORT: Final = ("workload", "pod", "port")
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """The certificate that a Secret holds, and when it is due; None where that is not known."""

    secret: str
    not_after: datetime
    renewal_at: datetime | None


@dataclass(frozen=True, slots=True)
class Served:
    """What all ports of a resource serve: those that are neither among `endpoints` nor `resting` are gone.

    A port that showed no certificate this time keeps the expiry date last seen there, and whether it matched. A port
    probed at several addresses is as good as the worst of them. `resting` are ports of pods that live but are not
    ready: nobody probes them, and what was last found there stays beside the finding PodNotReady.
    """

    endpoints: Sequence[Endpoint]
    resting: Iterable[Target] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a resource at one moment; where that is None, its series stay as they are.

    Mail domains that are not among `domains` are gone. Reconciling and Stalled have no series beside those of Ready.
    """

    stored: Stored | None = None
    served: Served | None = None
    domains: Sequence[DomainReport] | None = None
    conditions: Iterable[Condition] | None = None


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


class ResourceMetrics:
    """Series that belong to a resource, in `registry`; safe for threads. Times are Unix seconds."""

    def __init__(self, registry: CollectorRegistry, lock: Lock) -> None:
        self._registry, self._lock = registry, lock
        self._all: list[_Series] = []
        self._declare()

    def _declare(self) -> None:
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
            "1 when the port's last probe found nothing that fails; 0 when it did, when nobody could connect "
            "(PortBlocked) or did (TooManyEndpoints), and while the pod is not ready and is not probed (PodNotReady).",
        )
        self._finding = self._port_series(
            "mailtls_endpoint_finding",
            "1 for each reason found at the port's last probe; severity is Fail or Warn, and a warning leaves the "
            "probe a success. Beside PodNotReady stands what was found before.",
            *("reason", "severity"),
        )
        self._probed = self._port_series("mailtls_probe_timestamp_seconds", "When the port was last probed.")
        self._condition = self._series(
            "mailtls_status_condition",
            "1 for the present status of a condition (True, False, Unknown), 0 for the two others.",
            *("type", "status"),
        )
        self._condition_info = self._series(
            "mailtls_status_condition_info",
            "Always 1; the present reason of a condition is in the label.",
            "type",
            "reason",
        )
        self._condition_warning = self._series(
            "mailtls_status_condition_warning",
            "1 for each reason that a condition's message warns of beside its own, such as a renewal that fails while "
            "the stored certificate is still valid.",
            *("type", "reason"),
        )
        self._domain = self._series(
            "mailtls_domain_finding",
            "1 for each reason found at the last check of a domain of spec.domains; severity is Fail or Warn.",
            *("domain", "reason", "severity"),
        )
        self._domain_checked = self._series(
            "mailtls_domain_check_timestamp_seconds", "When the mail domain was last checked.", "domain"
        )

    def update(self, key: Key, known: Known) -> None:
        """Show what is known of a resource, at once: a scrape sees either all of it or nothing."""
        with self._lock:
            if known.stored is not None:
                self._store(key, known.stored)
            if known.served is not None:
                self._serve(key, known.served)
            if known.domains is not None:
                self._publish(key, known.domains)
            if known.conditions is not None:
                self._say(key, known.conditions)

    def forget(self, key: Key) -> None:
        """Remove every series of a resource that is gone."""
        with self._lock:
            for series in self._all:
                series.keep(key, _nothing)

    def _store(self, key: Key, now: Stored) -> None:
        self._not_after.replace(key, {(now.secret,): now.not_after.timestamp()})
        self._renewal.replace(key, {} if now.renewal_at is None else {(): now.renewal_at.timestamp()})

    def _serve(self, key: Key, now: Served) -> None:
        ports: dict[Labels, list[Endpoint]] = {}
        for endpoint in now.endpoints:
            ports.setdefault(_place(endpoint.target), []).append(endpoint)
        idle = {_place(target) for target in now.resting} - set(ports)
        found = {labels for place, addresses in ports.items() for labels in _findings(place, addresses)}
        for series in (self._served_not_after, self._matches, self._success, self._probed):
            series.keep(key, lambda rest: rest in ports or rest in idle)
        self._finding.keep(key, lambda rest: rest in found or rest[:3] in idle)
        for labels in found:
            self._finding.set(key, labels, 1)
        for place, addresses in ports.items():
            self._port(key, place, addresses)
        for place in idle:
            self._success.set(key, place, 0)
            self._finding.set(key, (*place, str(Reason.POD_NOT_READY), str(Severity.FAIL)), 1)

    def _port(self, key: Key, place: Labels, addresses: Sequence[Endpoint]) -> None:
        self._success.set(key, place, float(not any(each.failure or each.is_unknown for each in addresses)))
        self._probed.set(key, place, min(endpoint.checked_at for endpoint in addresses).timestamp())
        expiries = [endpoint.served_not_after for endpoint in addresses if endpoint.served_not_after is not None]
        if expiries:
            self._served_not_after.set(key, place, min(expiries).timestamp())
        seen = [endpoint for endpoint in addresses if endpoint.served_sha256 is not None]
        if seen:
            self._matches.set(key, place, float(all(map(_matches, seen))))

    def _say(self, key: Key, conditions: Iterable[Condition]) -> None:
        statuses: dict[Labels, float] = {}
        reasons: dict[Labels, float] = {}
        warnings: dict[Labels, float] = {}
        for each in (said for said in conditions if said.type not in OUTLOOK):
            statuses |= {(str(each.type), str(status)): float(status is each.status) for status in Truth}
            reasons[str(each.type), str(each.reason)] = 1.0
            warnings |= {(str(each.type), str(found.reason)): 1.0 for found in each.warnings}
        self._condition.replace(key, statuses)
        self._condition_info.replace(key, reasons)
        self._condition_warning.replace(key, warnings)

    def _publish(self, key: Key, reports: Sequence[DomainReport]) -> None:
        found: dict[Labels, float] = {
            (each.name, str(what.reason), str(what.severity)): 1.0 for each in reports for what in each.findings
        }
        self._domain.replace(key, found)
        self._domain_checked.replace(key, {(each.name,): each.checked_at.timestamp() for each in reports})

    def _series(self, name: str, meaning: str, *labels: str) -> _Series:
        series = _Series(Gauge(name, meaning, (*_RESOURCE, *labels), registry=self._registry))
        self._all.append(series)
        return series

    def _port_series(self, name: str, meaning: str, *labels: str) -> _Series:
        return self._series(name, meaning, *_PORT, *labels)


_OTHER_CERTIFICATE: Final = frozenset({Reason.SERVING_OLD_CERTIFICATE, Reason.UNEXPECTED_CERTIFICATE})


def _matches(endpoint: Endpoint) -> bool:
    return not any(finding.reason in _OTHER_CERTIFICATE for finding in endpoint.findings)


def _place(target: Target) -> Labels:
    return (target.workload, target.label, str(target.port.port))


def _findings(place: Labels, addresses: Iterable[Endpoint]) -> Iterator[Labels]:
    return ((*place, str(each.reason), str(each.severity)) for where in addresses for each in where.findings)


def _nothing(_rest: Labels) -> bool:
    return False
