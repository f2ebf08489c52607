"""Metrics: series follow resources and pods, and stay when alerts need them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailtls.api.spec import Key
from mailtls.api.status import Condition, ConditionType, DomainReport, Truth
from mailtls.metrics import Metrics
from mailtls.probe.target import Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.resource_metrics import Known, Served, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = Key("mail", "mx")
OTHER = Key("mail", "other")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=90)


def endpoint(pod: str, port: int = 25, *reasons: Reason, seen: bool = True, address: str = "10.0.0.1") -> Endpoint:
    """Make a verdict on one port, which shows a certificate unless `seen` is false."""
    where = Port(port, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    target = Target(address, where, "mx.example.com", pod=pod, workload="StatefulSet/postfix")
    findings = tuple(Finding(reason, "It is wrong.") for reason in reasons)
    served = {"served_sha256": "ab", "served_not_after": LATER} if seen else {}
    return replace(Endpoint(target, NOW, findings), **served)  # type: ignore[arg-type]


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Read one metric back, as Prometheus would: label values in the order of their names, without the resource's."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.name == name:
                labels = {label: value for label, value in sample.labels.items() if label != "namespace"}
                found[tuple(value for _, value in sorted(labels.items()))] = sample.value
    return found


def served(metrics: Metrics, *endpoints: Endpoint) -> None:
    """Note endpoints of the one resource."""
    metrics.update(KEY, Known(served=Served(endpoints)))


def test_a_stored_certificate_shows_both_dates() -> None:
    """Expiry is told by Secret, the renewal by resource; a renamed Secret leaves no series behind."""
    metrics = Metrics()
    metrics.update(KEY, Known(stored=Stored("old-tls", LATER, None)))
    metrics.update(KEY, Known(stored=Stored("mx-tls", LATER, NOW)))
    assert samples(metrics, "mailtls_certificate_not_after_timestamp_seconds") == {("mx", "mx-tls"): LATER.timestamp()}
    assert samples(metrics, "mailtls_certificate_renewal_timestamp_seconds") == {("mx",): NOW.timestamp()}
    metrics.update(KEY, Known(stored=Stored("mx-tls", LATER, None)))
    assert samples(metrics, "mailtls_certificate_renewal_timestamp_seconds") == {}


def test_a_port_shows_what_it_serves() -> None:
    """A good port shows its expiry, that it matches, and success, without any finding."""
    metrics = Metrics()
    served(metrics, endpoint("postfix-0"))
    place = ("mx", "postfix-0", "25", "StatefulSet/postfix")
    assert samples(metrics, "mailtls_served_not_after_timestamp_seconds") == {place: LATER.timestamp()}
    assert samples(metrics, "mailtls_endpoint_certificate_matches") == {place: 1}
    assert samples(metrics, "mailtls_probe_timestamp_seconds") == {place: NOW.timestamp()}
    assert samples(metrics, "mailtls_endpoint_probe_success") == {place: 1}
    assert samples(metrics, "mailtls_endpoint_finding") == {}


def test_a_new_reason_takes_the_place_of_the_old() -> None:
    """Each port has one series of success, and series of the present reasons only."""
    metrics = Metrics()
    served(metrics, endpoint("postfix-0", 25, Reason.SELF_SIGNED), endpoint("postfix-0", 465))
    served(metrics, endpoint("postfix-0", 25, Reason.HOSTNAME_MISMATCH), endpoint("postfix-0", 465))
    success = {labels[2]: value for labels, value in samples(metrics, "mailtls_endpoint_probe_success").items()}
    assert success == {"25": 0, "465": 1}
    assert {labels[2:4] for labels in samples(metrics, "mailtls_endpoint_finding")} == {("25", "HostnameMismatch")}


def test_a_warning_is_no_failure() -> None:
    """Findings that only warn leave the probe a success."""
    metrics = Metrics()
    warned = replace(endpoint("postfix-0"), findings=(Finding(Reason.WEAK_CRYPTO, "Old.", Severity.WARN),))
    served(metrics, warned)
    assert list(samples(metrics, "mailtls_endpoint_probe_success").values()) == [1]


def test_a_port_that_fell_silent_keeps_its_last_expiry() -> None:
    """An alert on expiry goes on while nobody answers."""
    metrics = Metrics()
    served(metrics, endpoint("postfix-0"))
    served(metrics, endpoint("postfix-0", 25, Reason.CONNECTION_REFUSED, seen=False))
    assert list(samples(metrics, "mailtls_served_not_after_timestamp_seconds").values()) == [LATER.timestamp()]
    assert list(samples(metrics, "mailtls_endpoint_probe_success").values()) == [0]
    assert {labels[3] for labels in samples(metrics, "mailtls_endpoint_finding")} == {"ConnectionRefused"}


PLACES = (
    "mailtls_served_not_after_timestamp_seconds",
    "mailtls_endpoint_certificate_matches",
    "mailtls_endpoint_probe_success",
    "mailtls_probe_timestamp_seconds",
    "mailtls_endpoint_finding",
)


def test_series_of_a_pod_that_is_not_ready_stay_until_it_is_gone() -> None:
    """What was last found there stands, expiry and all; PodNotReady beside it says that nobody probes the pod now."""
    metrics = Metrics()
    expired = endpoint("postfix-0", 25, Reason.SERVING_OLD_CERTIFICATE, Reason.CERTIFICATE_EXPIRED)
    served(metrics, expired, endpoint("postfix-1"))
    metrics.update(KEY, Known(served=Served([endpoint("postfix-1")], resting=[expired.target])))
    place = ("mx", "postfix-0", "25", "StatefulSet/postfix")
    assert samples(metrics, "mailtls_served_not_after_timestamp_seconds")[place] == LATER.timestamp()
    assert samples(metrics, "mailtls_endpoint_certificate_matches")[place] == 0
    assert samples(metrics, "mailtls_probe_timestamp_seconds")[place] == NOW.timestamp()
    assert samples(metrics, "mailtls_endpoint_probe_success")[place] == 0
    found = {labels[3] for labels in samples(metrics, "mailtls_endpoint_finding")}
    assert found == {"ServingOldCertificate", "CertificateExpired", "PodNotReady"}
    served(metrics, endpoint("postfix-0"), endpoint("postfix-1"))
    assert set(samples(metrics, "mailtls_endpoint_probe_success").values()) == {1}
    assert samples(metrics, "mailtls_endpoint_finding") == {}
    served(metrics, endpoint("postfix-1"))
    assert {labels[1] for name in PLACES for labels in samples(metrics, name)} == {"postfix-1"}


def test_pod_that_was_never_ready_is_seen() -> None:
    """A pod that hangs from its start has no success, though nobody ever probed it."""
    metrics = Metrics()
    metrics.update(KEY, Known(served=Served([], resting=[endpoint("postfix-0").target])))
    assert list(samples(metrics, "mailtls_endpoint_probe_success").values()) == [0]
    assert {labels[3:5] for labels in samples(metrics, "mailtls_endpoint_finding")} == {("PodNotReady", "Fail")}
    assert samples(metrics, "mailtls_endpoint_certificate_matches") == {}


def test_every_finding_is_a_series_with_its_severity() -> None:
    """Warnings too; what is mended goes, and of two addresses both count."""
    metrics = Metrics()
    weak, late = Finding(Reason.WEAK_CRYPTO, "Old.", Severity.WARN), Finding(Reason.CERTIFICATE_EXPIRED, "Late.")
    first = replace(endpoint("postfix-0"), findings=(late, weak))
    second = replace(endpoint("postfix-0", address="::1"), findings=(weak,))
    served(metrics, first, second)
    shown = {labels[3:5] for labels in samples(metrics, "mailtls_endpoint_finding")}
    assert shown == {("CertificateExpired", "Fail"), ("WeakCrypto", "Warn")}
    served(metrics, second)
    assert {labels[3:5] for labels in samples(metrics, "mailtls_endpoint_finding")} == {("WeakCrypto", "Warn")}
    metrics.forget(KEY)
    assert samples(metrics, "mailtls_endpoint_finding") == {}


def test_series_of_a_vanished_pod_go() -> None:
    """A pod that is gone is not reported any more, in any series."""
    metrics = Metrics()
    served(metrics, endpoint("postfix-0"), endpoint("postfix-1"))
    served(metrics, endpoint("postfix-1"))
    for name in (
        "mailtls_served_not_after_timestamp_seconds",
        "mailtls_endpoint_certificate_matches",
        "mailtls_endpoint_probe_success",
        "mailtls_probe_timestamp_seconds",
    ):
        assert {labels[1] for labels in samples(metrics, name)} == {"postfix-1"}


@pytest.mark.parametrize("reason", [Reason.SERVING_OLD_CERTIFICATE, Reason.UNEXPECTED_CERTIFICATE])
def test_another_certificate_does_not_match(reason: Reason) -> None:
    """What is not the stored leaf counts as 0."""
    metrics = Metrics()
    served(metrics, endpoint("postfix-0", 25, reason))
    assert list(samples(metrics, "mailtls_endpoint_certificate_matches").values()) == [0]


def test_the_right_certificate_with_another_fault_matches() -> None:
    """A fault beside the certificate does not make it another one."""
    metrics = Metrics()
    served(metrics, endpoint("postfix-0", 25, Reason.EHLO_AFTER_TLS_FAILED))
    assert list(samples(metrics, "mailtls_endpoint_certificate_matches").values()) == [1]


@pytest.mark.parametrize("bad_first", [True, False])
def test_of_two_addresses_the_worse_counts(bad_first: bool) -> None:
    """A dual-stack pod that fails over one family has failed, whichever comes first."""
    metrics = Metrics()
    bad = replace(endpoint("postfix-0", 25, Reason.SERVING_OLD_CERTIFICATE, address="::1"), served_not_after=NOW)
    both: Sequence[Endpoint] = [bad, endpoint("postfix-0")] if bad_first else [endpoint("postfix-0"), bad]
    metrics.update(KEY, Known(served=Served(both)))
    assert list(samples(metrics, "mailtls_endpoint_probe_success").values()) == [0]
    assert list(samples(metrics, "mailtls_endpoint_certificate_matches").values()) == [0]
    assert list(samples(metrics, "mailtls_served_not_after_timestamp_seconds").values()) == [NOW.timestamp()]


def test_each_status_of_a_condition_is_a_series_and_its_reason_another() -> None:
    """As kube-state-metrics shows conditions; one that flips leaves no series of its old reason."""
    metrics = Metrics()
    metrics.update(KEY, Known(conditions=[Condition(ConditionType.READY, Truth.FALSE, Reason.ISSUING, "", NOW, 1)]))
    metrics.update(KEY, Known(conditions=[Condition(ConditionType.READY, Truth.TRUE, Reason.READY, "", NOW, 1)]))
    statuses = {("mx", "True", "Ready"): 1, ("mx", "False", "Ready"): 0, ("mx", "Unknown", "Ready"): 0}
    assert samples(metrics, "mailtls_status_condition") == statuses
    assert samples(metrics, "mailtls_status_condition_info") == {("mx", "Ready", "Ready"): 1}


def test_what_a_condition_warns_of_is_a_series_until_it_is_over() -> None:
    """A condition that is True for one reason may warn of others; the status has them in its message only."""
    metrics = Metrics()
    late = Finding(Reason.DNS_UNREACHABLE, "No DNS.")
    good = Condition(ConditionType.ISSUED, Truth.TRUE, Reason.ISSUED, "It is valid.", NOW, 1)
    metrics.update(KEY, Known(conditions=[replace(good, warnings=(late, late))]))
    assert samples(metrics, "mailtls_status_condition_warning") == {("mx", "DnsUnreachable", "Issued"): 1}
    metrics.update(KEY, Known(conditions=[good]))
    assert samples(metrics, "mailtls_status_condition_warning") == {}


def test_the_process_and_its_garbage_collector_are_measured() -> None:
    """What every Python program shows to Prometheus: memory, CPU, open files, and collections by generation."""
    metrics = Metrics()
    (memory,) = samples(metrics, "process_resident_memory_bytes").values()
    assert memory > 1_000_000
    assert set(samples(metrics, "python_gc_collections_total")) == {("0",), ("1",), ("2",)}
    assert samples(metrics, "process_open_fds")


def test_findings_about_domains_go_with_the_fault_and_with_the_domain() -> None:
    """One series for each reason, however often it was found, and none of what was mended."""
    metrics = Metrics()
    bad = Finding(Reason.TLSA_MISMATCH, "It is wrong.")
    odd = Finding(Reason.SPF_MISSING, "It is odd.", Severity.WARN)
    metrics.update(
        KEY, Known(domains=[DomainReport("a.example", NOW, (bad, bad, odd)), DomainReport("b.example", NOW, (bad,))])
    )
    assert samples(metrics, "mailtls_domain_finding") == {
        ("a.example", "mx", "TlsaMismatch", "Fail"): 1,
        ("a.example", "mx", "SpfMissing", "Warn"): 1,
        ("b.example", "mx", "TlsaMismatch", "Fail"): 1,
    }
    metrics.update(KEY, Known(domains=[DomainReport("a.example", LATER, (odd,))]))
    assert samples(metrics, "mailtls_domain_finding") == {("a.example", "mx", "SpfMissing", "Warn"): 1}
    assert samples(metrics, "mailtls_domain_check_timestamp_seconds") == {("a.example", "mx"): LATER.timestamp()}
    metrics.update(KEY, Known(domains=[]))
    assert samples(metrics, "mailtls_domain_check_timestamp_seconds") == {}


def test_a_forgotten_resource_leaves_nothing_and_others_stay() -> None:
    """Only the resource that is gone loses its series."""
    metrics = Metrics()
    domain = DomainReport("example.com", NOW, (Finding(Reason.TLSA_MISMATCH, "It is wrong."),))
    ready = Condition(ConditionType.READY, Truth.TRUE, Reason.READY, "", NOW, 1)
    for key in (KEY, OTHER):
        metrics.update(key, Known(Stored("tls", LATER, NOW), Served([endpoint("postfix-0")]), [domain], [ready]))
    metrics.forget(KEY)
    text = metrics.text().decode()
    assert 'name="mx"' not in text
    assert text.count('name="other"') == 12


def test_the_operators_own_metrics_count() -> None:
    """Counters and histograms take what they are told, and gauges ask at each scrape."""
    metrics = Metrics()
    depth = [3]
    metrics.watch_queue(lambda: depth[0], lambda: 2.5)
    metrics.watch_workers(lambda: 1)
    metrics.watch_leader(lambda: True)
    metrics.order_ended("issued", 12.0)
    metrics.order_ended("failed")
    metrics.rollout_ended("succeeded", 3.0)
    metrics.acme_request("newOrder", 201)
    metrics.written("merge")
    metrics.watch_line(lambda: 3)
    metrics.watch_rollouts(lambda: 4, lambda: 2, 2)
    metrics.verified("Full", 0.3)
    metrics.reconciled(0.2)
    depth[0] = 5
    assert samples(metrics, "mailtls_workqueue_depth") == {(): 5}
    assert samples(metrics, "mailtls_queue_oldest_seconds") == {(): 2.5}
    assert samples(metrics, "mailtls_workers_stuck") == {(): 1}
    assert samples(metrics, "mailtls_bulkhead_waiting") == {(): 3}
    assert samples(metrics, "mailtls_leader") == {(): 1}
    assert samples(metrics, "mailtls_rollouts_waiting") == {(): 4}
    assert samples(metrics, "mailtls_rollouts_running") == samples(metrics, "mailtls_rollouts_limit") == {(): 2}
    assert samples(metrics, "mailtls_verification_duration_seconds_count") == {("Full",): 1}
    assert samples(metrics, "mailtls_orders_total") == {("issued",): 1, ("failed",): 1}
    assert samples(metrics, "mailtls_order_duration_seconds_count") == {(): 1}
    assert samples(metrics, "mailtls_rollouts_total") == {("succeeded",): 1}
    assert samples(metrics, "mailtls_acme_requests_total") == {("201", "newOrder"): 1}
    assert samples(metrics, "mailtls_kubernetes_writes_total") == {("merge",): 1}
    assert samples(metrics, "mailtls_reconcile_duration_seconds_sum") == {(): 0.2}
    assert list(samples(metrics, "mailtls_build_info").values()) == [1]


def test_two_registries_do_not_meet() -> None:
    """Nothing is global: a second instance starts from nothing."""
    Metrics().written("merge")
    assert samples(Metrics(), "mailtls_kubernetes_writes_total") == {}
