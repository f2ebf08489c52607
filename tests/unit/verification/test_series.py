"""What Prometheus sees of a resource over passes: after the expiry, while a pod is not ready, and once it is gone."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from threading import Lock

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from builders.contexts import wanting
from builders.reconciles import FIRST, SECOND, WANTED, Operator
from fakes.clock import WallClock
from mailtls.api.status import Attempts
from mailtls.controller.status_writer import Reporter
from mailtls.metrics import Metrics
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.verification.execute import Probing

PLACES = (
    "mailtls_endpoint_probe_success",
    "mailtls_served_not_after_timestamp_seconds",
    "mailtls_endpoint_certificate_matches",
    "mailtls_endpoint_finding",
)
WEAK = Finding(Reason.WEAK_CRYPTO, "An old cipher is taken.", Severity.WARN)


class Servers:
    """Serve the stored certificate, whatever its age, and take an old cipher."""

    def __init__(self, clock: WallClock) -> None:
        self.clock, self.expires_at = clock, clock.now() + timedelta(days=9999)
        self.takes = timedelta()

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Find what a probe would, with one address for each pod."""
        del depth
        self.clock.advance(self.takes)
        now = self.clock.now()
        late = (Finding(Reason.CERTIFICATE_EXPIRED, "It expired."),) if self.expires_at < now else ()
        return [
            Endpoint(each, now, (*late, WEAK), expected.leaf_sha256, served_not_after=self.expires_at)
            for each in targets
        ]


class Scraping:
    """A lock after each release of which Prometheus scrapes what `metrics` say of resources."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics, self.lock, self.scrapes = metrics, Lock(), list[set[str]]()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_raised: object) -> None:
        self.lock.release()
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        self.scrapes.append({line for line in lines if 'name="mx"' in line})


class Watched:
    """An operator whose passes are reported."""

    def __init__(self) -> None:
        clock = WallClock()
        self.servers = Servers(clock)
        self.operator = Operator(clock, self.servers)
        self.servers.expires_at = self.operator.certificate.not_after
        self.metrics = Metrics()
        self.reporter = Reporter(self.operator.cluster, self.metrics, clock)

    def look(self, **pods: object) -> None:
        """Make a pass and report it."""
        self.operator.look(**pods)  # type: ignore[arg-type]
        meta = {"namespace": "mail", "name": "mx", "uid": "u", "generation": 1}
        self.reporter.report(
            wanting(WANTED, self.operator.seen.with_snapshot(resource={"metadata": meta, "status": {}})),
            self.operator.clock.now(),
        )

    def expire(self) -> None:
        """Let the stored certificate expire while its renewal fails."""
        clock = self.operator.clock
        clock.advance(self.operator.certificate.not_after - clock.now() + timedelta(hours=1))
        self.operator.attempts = Attempts(3, Reason.DNS_UNREACHABLE, "No DNS.", clock.now(), None, 1, None)

    def series(self, name: str, *labels: str) -> set[tuple[str, ...]]:
        """The values of some labels of a metric's series."""
        return set(self.values(name, *labels))

    def values(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values of a metric's series, by some of their labels."""
        families = text_string_to_metric_families(self.metrics.text().decode())
        found = (each for family in families for each in family.samples if each.name == name)
        return {tuple(each.labels[label] for label in labels): each.value for each in found}


def test_series_outlive_the_expiry_and_say_it() -> None:
    """Reason and dates are there just when alerts need them, and the warning is a series beside the failure."""
    watched = Watched()
    watched.look()
    assert watched.values("mailtls_endpoint_probe_success", "pod") == {(FIRST,): 1, (SECOND,): 1}
    assert watched.series("mailtls_endpoint_finding", "reason", "severity") == {("WeakCrypto", "Warn")}
    watched.expire()
    watched.look()
    statuses = watched.values("mailtls_status_condition", "type", "status")
    reasons = watched.series("mailtls_status_condition_info", "type", "reason")
    for kind in ("Ready", "Verified", "Issued"):
        assert (statuses[kind, "False"], statuses[kind, "True"]) == (1, 0)
        assert (kind, "CertificateExpired") in reasons
    assert set(watched.values("mailtls_endpoint_probe_success", "pod").values()) == {0}
    assert watched.series("mailtls_endpoint_finding", "reason", "severity") == {
        ("CertificateExpired", "Fail"),
        ("WeakCrypto", "Warn"),
    }
    for name in ("mailtls_certificate_not_after_timestamp_seconds", "mailtls_served_not_after_timestamp_seconds"):
        assert watched.series(name, "name") == {("mx",)}


def test_scrape_sees_all_of_a_change_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints of the new state beside the conditions of the old would fire alerts that nothing inhibits."""
    watched = Watched()
    watched.look()
    scraping = Scraping(watched.metrics)
    monkeypatch.setattr(watched.metrics, "_lock", scraping)
    watched.expire()
    watched.look()
    assert all('reason="CertificateExpired"' in "".join(seen) for seen in scraping.scrapes)
    assert [seen - scraping.scrapes[-1] for seen in scraping.scrapes] == [set()]


def test_renewal_that_fails_while_the_certificate_is_good_is_a_warning_until_it_succeeds() -> None:
    """Issued is True, so only the warning shows in a series that something is wrong, and what."""
    watched = Watched()
    watched.look()
    assert watched.series("mailtls_status_condition_warning", "type") == set()
    clock = watched.operator.clock
    clock.advance(watched.operator.certificate.not_after - clock.now() - timedelta(hours=1))
    watched.operator.attempts = Attempts(3, Reason.DNS_UNREACHABLE, "No DNS.", clock.now(), None, 1, None)
    watched.look()
    assert watched.values("mailtls_status_condition", "type", "status")["Issued", "True"] == 1
    assert watched.series("mailtls_status_condition_warning", "type", "reason") == {("Issued", "DnsUnreachable")}
    watched.reporter.forget(WANTED.key)
    assert watched.series("mailtls_status_condition_warning", "type") == set()


def test_how_long_a_probe_of_all_ports_takes_is_measured_by_depth() -> None:
    """The quick probe of what was not known and the full one after it are counted apart, each with what it took."""
    watched = Watched()
    watched.servers.takes = timedelta(seconds=2)
    watched.look()
    taken = watched.operator.executors[Probing].metrics  # type: ignore[attr-defined]
    families = text_string_to_metric_families(taken.text().decode())
    seen = [each for family in families for each in family.samples]
    name = "mailtls_verification_duration_seconds"
    assert {each.labels["depth"]: each.value for each in seen if each.name == f"{name}_count"} == {
        "Quick": 1,
        "Full": 1,
    }
    assert all(each.value >= 2 for each in seen if each.name == f"{name}_sum")


def test_series_of_a_pod_that_is_not_ready_stay_until_it_is_gone() -> None:
    """It became unready because its certificate expired: that stays to be seen, until there is no such pod."""
    watched = Watched()
    watched.look()
    watched.expire()
    watched.look(unready=SECOND)
    assert (SECOND, "PodNotReady") in watched.series("mailtls_endpoint_finding", "pod", "reason")
    for name in PLACES:
        assert watched.series(name, "pod") == {(FIRST,), (SECOND,)}
    watched.look(pods=(FIRST,))
    for name in PLACES:
        assert watched.series(name, "pod") == {(FIRST,)}
