"""The chart's operator on the cluster, scraped by a real Prometheus: what is served wrongly is told."""

import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.render import ROOT
from e2e.charted import install, values_for
from functional.inhibition import alertmanager, receivers
from functional.prometheus import Prometheus, prometheus
from testbed.audit import AuditLog
from testbed.mailserver import MailServer
from testbed.pebble import Pebble, PebbleSettings
from testbed.sandbox import Sandbox, condition_of
from testbed.zones import Zone

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("crd", "operator_image"),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing: no alert was fired"),
]

LIFETIME = 60  # seconds
CLOSE_PORT_25 = "postconf -MX smtp/inet && postfix reload"  # which the readiness probe asks
FOLLOWS_FROM_EXPIRY = ("ServedCertificateExpired", "CertificateExpired", "IssuanceFailing")
EXPIRED = ("MailTlsStoredCertificateExpired", "MailTlsServedCertificateExpired")
SPOIL = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=old -days 2 -keyout /tmp/old.key -out /tmp/old.crt 2>/dev/null"
    " && postconf -e 'smtpd_tls_chain_files = /tmp/old.key, /tmp/old.crt' && postfix reload"
)


def mx(postfix: MailServer, **spec: Any) -> dict[str, Any]:
    """A resource for that mail server."""
    spec |= {
        "dnsNames": [postfix.host],
        "secretName": "mx-tls",
        "workloads": [{"kind": "StatefulSet", "name": "postfix"}],
    }
    return {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": {"name": "mx"}, "spec": spec}


@pytest.fixture
def target(sandbox: Sandbox, zone: Zone, shared_pebble: Pebble, email: str, tmp_path: Path) -> str:
    """Install the operator beside the mail server; the address of its metrics."""
    sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
    return install(sandbox, values_for(sandbox, zone, shared_pebble, email), tmp_path)


def test_a_certificate_that_expires_unrenewed_fires_both_alerts_and_keeps_its_series(
    sandbox: Sandbox,
    zone: Zone,
    postfix: MailServer,
    pebbles: Callable[[PebbleSettings], Pebble],
    email: str,
    tmp_path: Path,
) -> None:
    """Stored and served: the alerts come on the day of the expiry, when other tools' metrics go."""
    pebble = pebbles(PebbleSettings(validity_seconds=LIFETIME, shortlived_seconds=LIFETIME))
    sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
    target = install(sandbox, values_for(sandbox, zone, pebble, email), tmp_path)
    resource = mx(postfix, renewal={"ari": False})
    sandbox.apply(resource)
    sandbox.wait_for_condition("mailservertls.mailtls.dev", "mx", within=LIFETIME / 2)
    sandbox.patch("mailservertls.mailtls.dev", "mx", {"spec": {"suspend": True}})
    with prometheus(tmp_path, target) as watching:
        watching.await_series("mailtls_served_not_after_timestamp_seconds")
        watching.await_firing(lambda firing: {(each, "mx") for each in EXPIRED} <= firing, within=LIFETIME * 2.0)
        assert watching.await_series("mailtls_served_not_after_timestamp_seconds")


def test_a_certificate_that_expires_while_its_renewal_fails_is_probed_and_said(
    sandbox: Sandbox,
    zone: Zone,
    postfix: MailServer,
    pebbles: Callable[[PebbleSettings], Pebble],
    email: str,
    tmp_path: Path,
) -> None:
    """Ready says CertificateExpired and why no new one comes, and a probe that is asked for is still done."""
    pebble = pebbles(PebbleSettings(validity_seconds=LIFETIME, shortlived_seconds=LIFETIME))
    sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
    target = install(sandbox, values_for(sandbox, zone, pebble, email), tmp_path)
    sandbox.apply(mx(postfix, renewal={"ari": False}))
    sandbox.wait_for_condition("mailservertls.mailtls.dev", "mx", within=LIFETIME / 2)
    sandbox.delete("secrets", "tsig")
    expired = sandbox.wait_for("mailservertls.mailtls.dev", "mx", says_expired, within=LIFETIME * 1.5)
    told = condition_of(expired, "Ready")
    assert told is not None
    assert "Its replacement fails" in told["message"]
    sandbox.annotate("mailservertls.mailtls.dev", "mx", mailtls_dev__probe="now")
    sandbox.wait_for("mailservertls.mailtls.dev", "mx", was_probed_when_asked, within=20.0)
    with (
        receivers() as notified,
        alertmanager(tmp_path, notified) as notifying,
        prometheus(tmp_path, target, notifying.address, scrape="2s") as watching,
    ):
        watching.await_firing(lambda firing: ("MailTlsCertificateExpired", "mx") in firing)
        conditions = told_to_promtool("expired.yaml", "mx")
        await_conditions(watching, conditions)
        assert len(watching.await_series("mailtls_status_condition")) == 3 * len({each for each, _ in conditions})
        found = watching.await_series("mailtls_endpoint_finding")
        assert {each["pod"] for each in found if each["reason"] == "CertificateExpired"} == {"postfix-0", "postfix-1"}
        mail_server = {"namespace": sandbox.name, "name": "mx"}
        notified.await_(lambda: bool(notified.got))
        notified.await_(lambda: notifying.inhibited() >= {(each, "mx") for each in FOLLOWS_FROM_EXPIRY})
        assert notified.of("page", **mail_server) == [{"StoredCertificateExpired"}]
        sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
        sandbox.annotate("mailservertls.mailtls.dev", "mx", mailtls_dev__renew="now")
        notified.await_(lambda: "StoredCertificateExpired" not in notified.of("page", **mail_server)[-1])


def told_to_promtool(scenario: str, name: str) -> set[tuple[str, str]]:
    """The conditions of a resource that a scenario of the alert rules is made of; a real operator must export them."""
    text = (ROOT / "tests" / "contracts" / "alerts" / scenario).read_text(encoding="utf-8")
    told = yaml.safe_load(text)["tests"][0]["input_series"]
    shown = [each["series"] for each in told if "1x" in str(each["values"])]  # 0x60 is a number to YAML
    series = [each for each in shown if each.startswith("mailtls_status_condition")]
    return conditions_of(each for each in map(labels_of, series) if each["name"] == name)


def labels_of(series: str) -> dict[str, str]:
    """The labels of a series as promtool is told it."""
    return dict(re.findall(r'(\w+)="([^"]*)"', series))


def test_series_of_what_is_not_ready_are_those_that_the_rules_are_tested_with(
    sandbox: Sandbox, postfix: MailServer, target: str, tmp_path: Path
) -> None:
    """No pod is ready; the workload is gone; the resource is suspended: the alert on each reads these very series."""
    sandbox.apply(mx(postfix))
    sandbox.wait_for_condition("mailservertls.mailtls.dev", "mx", within=120.0)
    with prometheus(tmp_path, target) as watching:
        for number in range(postfix.replicas):
            sandbox.exec(f"postfix-{number}", "sh", "-c", CLOSE_PORT_25)
        await_conditions(watching, told_to_promtool("not-ready.yaml", "unready"))
        sandbox.delete(postfix.kind.lower() + "s.apps", postfix.name)
        await_conditions(watching, told_to_promtool("not-ready.yaml", "gone"))
        sandbox.patch("mailservertls.mailtls.dev", "mx", {"spec": {"suspend": True}})
        await_conditions(watching, told_to_promtool("not-ready.yaml", "idle"))


def await_conditions(watching: Prometheus, wanted: set[tuple[str, str]], within: float = 90.0) -> None:
    """Wait until the operator exports exactly these conditions."""
    deadline = time.monotonic() + within
    while (found := exported(watching)) != wanted:
        if time.monotonic() > deadline:
            assert found == wanted
        time.sleep(1.0)  # Prometheus scrapes no more often


def exported(watching: Prometheus) -> set[tuple[str, str]]:
    """The conditions that the operator exports now."""
    statuses = watching.await_series("mailtls_status_condition==1")
    return conditions_of((*statuses, *watching.await_series("mailtls_status_condition_info")))


def conditions_of(series: Iterable[dict[str, str]]) -> set[tuple[str, str]]:
    """Type and status of each condition, and type and reason, each from a series of its own."""
    return {(each["type"], each.get("status") or each["reason"]) for each in series}


def says_expired(seen: Any) -> bool:
    """Whether Ready and Verified both have the expiry as their reason."""
    found = [condition_of(seen, kind) for kind in ("Ready", "Verified")]
    return all(each is not None and each["reason"] == "CertificateExpired" for each in found)


def was_probed_when_asked(seen: Any) -> bool:
    """Whether the request to probe was handled."""
    return bool(seen) and seen.get("status", {}).get("lastHandledProbe") == "now"


def test_a_pod_that_goes_back_to_another_certificate_fires_the_alert(
    sandbox: Sandbox, postfix: MailServer, audit: AuditLog, target: str, tmp_path: Path
) -> None:
    """From the chart to a proven certificate no alert fires and no right is missing; a spoilt pod then fires one."""
    sandbox.apply(mx(postfix))
    sandbox.wait_for_condition("mailservertls.mailtls.dev", "mx", within=120.0)
    with prometheus(tmp_path, target) as watching:
        series = watching.await_series("mailtls_endpoint_certificate_matches")
        assert {(each["namespace"], each["pod"]) for each in series} == {
            (sandbox.name, "postfix-0"),
            (sandbox.name, "postfix-1"),
        }
        watching.await_firing(lambda firing: not firing)
        spoil(sandbox, watching)
    operator = f"system:serviceaccount:{sandbox.name}:mailtls"
    requests = audit.requests(user=operator)
    assert requests
    assert {(each.verb, each.what) for each in requests if each.code == 403} == set()


def spoil(sandbox: Sandbox, watching: Prometheus) -> None:
    """Let one pod serve another certificate and have it probed."""
    sandbox.exec("postfix-1", "sh", "-c", SPOIL)
    sandbox.annotate("mailservertls.mailtls.dev", "mx", mailtls_dev__probe="now")
    watching.await_firing(lambda firing: ("MailTlsServedCertificateDiffers", "mx") in firing, within=60.0)
    told = watching.summaries()["MailTlsServedCertificateDiffers"]
    assert told.startswith("postfix-1 port ")
    assert "does not serve the certificate of" in told
