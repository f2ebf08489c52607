"""The alerts in a real Prometheus that scrapes the operator's own exposition over HTTP."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functional.prometheus import Prometheus, prometheus
from mailtls.api.spec import Key
from mailtls.controller.health import Checks, HealthServer
from mailtls.metrics import Metrics
from mailtls.probe.target import Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason
from mailtls.resource_metrics import Known, Served, Stored

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing: no alert was fired")

MX = Key("mail", "mx")
DAY = timedelta(days=1)


def fine() -> None:
    """Report no trouble to a kubelet that nobody runs here."""


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics of a replica that leads, with one certificate that is far from its renewal."""
    made = Metrics()
    made.watch_leader(lambda: True)
    made.update(MX, Known(Stored("mx-tls", now() + 60 * DAY, now() + 30 * DAY), Served([endpoint(60 * DAY)])))
    return made


@pytest.fixture
def watching(metrics: Metrics, tmp_path: Path) -> Iterator[Prometheus]:
    """Run the operator's HTTP server and a Prometheus that scrapes it."""
    server = HealthServer(0, Checks(fine, fine), metrics.text)
    port = server.start()
    try:
        with prometheus(tmp_path, f"127.0.0.1:{port}") as running:
            yield running
    finally:
        server.stop()


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def endpoint(left: timedelta, *findings: Finding) -> Endpoint:
    """Return port 25 of postfix-0 serving a certificate with so much lifetime left."""
    port = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    target = Target("198.18.1.7", port, "mx.example.com", pod="postfix-0", workload="StatefulSet/postfix")
    return Endpoint(target, now(), findings, served_sha256="ab" * 32, served_not_after=now() + left)


def test_expiry_alerts_fire_go_on_after_the_expiry_and_end_with_the_renewal(
    metrics: Metrics, watching: Prometheus
) -> None:
    """Warning, page and expiry are raised in turn, none of them ends by expiring, and a renewal ends them all."""
    watching.await_series("mailtls_certificate_not_after_timestamp_seconds")
    watching.await_firing(lambda firing: not firing)
    metrics.update(MX, Known(stored=Stored("mx-tls", now() + 10 * DAY, now() - timedelta(minutes=1))))
    soon = {("MailTlsStoredCertificateExpiringSoon", "mx")}
    watching.await_firing(lambda firing: firing == soon)
    expiry = now() + timedelta(seconds=8)
    metrics.update(MX, Known(stored=Stored("mx-tls", expiry, now() - 5 * DAY)))
    late = soon | {("MailTlsStoredCertificateExpiringNow", "mx"), ("MailTlsRenewalOverdue", "mx")}
    watching.await_firing(lambda firing: late <= firing)  # a slow machine may see them first when it has expired
    expired = late | {("MailTlsStoredCertificateExpired", "mx")}
    watching.await_firing(lambda firing: firing == expired)
    assert now() > expiry
    assert watching.summaries()["MailTlsStoredCertificateExpired"].startswith(
        "The certificate in Secret mail/mx-tls expired at "
    )
    metrics.update(MX, Known(stored=Stored("mx-tls", now() + 60 * DAY, now() + 30 * DAY)))
    watching.await_firing(lambda firing: not firing)


def test_a_pod_that_serves_an_old_certificate_is_told_apart_from_one_that_fails(
    metrics: Metrics, watching: Prometheus
) -> None:
    """The old certificate alerts as served, by difference and by its own expiry; another fault alerts by its reason."""
    old = Finding(Reason.SERVING_OLD_CERTIFICATE, "It serves an old certificate.")
    metrics.update(MX, Known(served=Served([endpoint(timedelta(seconds=-1), old)])))
    watching.await_firing(
        lambda firing: (
            firing
            == {
                ("MailTlsServedCertificateDiffers", "mx"),
                ("MailTlsServedCertificateExpiringSoon", "mx"),
                ("MailTlsServedCertificateExpiringNow", "mx"),
                ("MailTlsServedCertificateExpired", "mx"),
            }
        )
    )
    metrics.update(
        MX, Known(served=Served([endpoint(60 * DAY, Finding(Reason.HOSTNAME_MISMATCH, "It is for another name."))]))
    )
    watching.await_firing(lambda firing: firing == {("MailTlsEndpointFailing", "mx")})
    assert watching.summaries()["MailTlsEndpointFailing"] == "postfix-0 port 25 fails its probe: HostnameMismatch"


def test_an_operator_that_does_not_lead_and_one_that_is_gone_are_alerts(metrics: Metrics, tmp_path: Path) -> None:
    """Nobody leading, and nothing to scrape, are each told."""
    metrics.watch_leader(lambda: False)
    server = HealthServer(0, Checks(fine, fine), metrics.text)
    port = server.start()
    with prometheus(tmp_path, f"127.0.0.1:{port}") as running:
        running.await_firing(lambda firing: firing == {("MailTlsNoLeader", "")})
        server.stop()
        running.await_firing(lambda firing: firing == {("MailTlsOperatorDown", "")})
