"""The chart's operator on the cluster, scraped by a real Prometheus: each real fault is one notification."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.render import ROOT
from e2e.charted import install, values_for
from functional.inhibition import Alertmanager, Receivers, alertmanager, receivers
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
OTHER_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=old -days 60 -keyout /tmp/old.key -out /tmp/old.crt"
    " 2>/dev/null && postconf -e 'smtpd_tls_chain_files = /tmp/old.key, /tmp/old.crt' && postfix reload"
)
NO_STARTTLS = "postconf -e smtpd_tls_security_level=none && postfix reload"
KEEP = "cp /etc/postfix/main.cf /etc/postfix/master.cf /tmp"
REPAIR = "cp /tmp/main.cf /tmp/master.cf /etc/postfix && postfix reload"
PATIENCE = 1 / 100  # of what the rules wait for: 6 seconds for 10 minutes
SCRAPE = "5s"  # one that fails on a busy machine is over before the rules take the operator for gone
BETWEEN_PROBES = 15  # seconds, in which a rollout gets on
REPLICAS = {"mx": 2, "relay": 1, "gate": 1}


@dataclass(frozen=True)
class Fault:
    """What is done to a pod, the one alert that each receiver gets, and what fires beside it and nobody gets."""

    pod: str
    command: str
    notified: Mapping[str, str]
    inhibited: frozenset[str] = frozenset()


FAULTS = {
    "mx": Fault("mx-1", OTHER_CERTIFICATE, {"page": "ServedCertificateDiffers"}, frozenset({"NotRolledOut"})),
    "relay": Fault("relay-0", NO_STARTTLS, {"mail": "EndpointFailing", "page": "NotRolledOut"}),
    "gate": Fault("gate-0", CLOSE_PORT_25, {"mail": "EndpointFailing"}, frozenset({"NotReady"})),
}
"""By the resource that has it. Nobody is paged twice; a warning may go before a page, as it waits for less time."""


def mx(server: MailServer, name: str = "mx", **spec: Any) -> dict[str, Any]:
    """A resource for that mail server."""
    spec |= {
        "dnsNames": [server.host],
        "secretName": server.secret,
        "workloads": [{"kind": server.kind, "name": server.name}],
    }
    return {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": {"name": name}, "spec": spec}


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
    sandbox.wait_for_condition("mailservertls.mailtls.dev", "mx")
    sandbox.patch("mailservertls.mailtls.dev", "mx", {"spec": {"suspend": True}})
    with prometheus(tmp_path, target) as watching:
        watching.await_series("mailtls_served_not_after_timestamp_seconds")
        watching.await_firing(lambda firing: {(each, "mx") for each in EXPIRED} <= firing, within=LIFETIME * 4.0)
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
    sandbox.wait_for_condition("mailservertls.mailtls.dev", "mx")
    sandbox.delete("secrets", "tsig")
    expired = sandbox.wait_for("mailservertls.mailtls.dev", "mx", says_expired)
    told = condition_of(expired, "Ready")
    assert told is not None
    assert "Its replacement fails" in told["message"]
    sandbox.annotate("mailservertls.mailtls.dev", "mx", mailtls_dev__probe="now")
    sandbox.wait_for("mailservertls.mailtls.dev", "mx", was_probed_when_asked)
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
        notified.await_(lambda: ("page", "mx") in ever(notified))
        notified.await_(lambda: notifying.inhibited() >= {(each, "mx") for each in FOLLOWS_FROM_EXPIRY})
        assert ever(notified)["page", "mx"] == {"StoredCertificateExpired"}
        sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
        sandbox.annotate("mailservertls.mailtls.dev", "mx", mailtls_dev__renew="now")
        notified.await_(lambda: "StoredCertificateExpired" not in notified.of("page", **group(sandbox, "mx"))[-1])


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
    sandbox.wait_for_condition("mailservertls.mailtls.dev", "mx")
    with prometheus(tmp_path, target) as watching:
        for number in range(postfix.replicas):
            sandbox.exec(f"postfix-{number}", "sh", "-c", CLOSE_PORT_25)
        await_conditions(watching, told_to_promtool("not-ready.yaml", "unready"))
        sandbox.delete(postfix.kind.lower() + "s.apps", postfix.name)
        await_conditions(watching, told_to_promtool("not-ready.yaml", "gone"))
        sandbox.patch("mailservertls.mailtls.dev", "mx", {"spec": {"suspend": True}})
        await_conditions(watching, told_to_promtool("not-ready.yaml", "idle"))


def await_conditions(watching: Prometheus, wanted: set[tuple[str, str]], within: float = 240.0) -> None:
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


@pytest.mark.timeout(900)
def test_each_real_fault_is_one_notification_and_is_resolved_once_repaired(
    sandbox: Sandbox, zone: Zone, shared_pebble: Pebble, email: str, audit: AuditLog, tmp_path: Path
) -> None:
    """From the chart to proven certificates nobody is notified and no right is missing; then each fault is one."""
    servers = {
        name: MailServer(sandbox, zone.host(name), name=name, secret=f"{name}-tls", replicas=number)
        for name, number in REPLICAS.items()
    }
    sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
    target = install(sandbox, values_for(sandbox, zone, shared_pebble, email), tmp_path)
    for name, server in servers.items():
        server.deploy(wait=False)
        sandbox.apply(mx(server, name, probe={"interval": "168h"}))  # only requests probe
    for name in servers:
        sandbox.wait_for_condition("mailservertls.mailtls.dev", name)
    with (
        receivers() as notified,
        alertmanager(tmp_path, notified) as notifying,
        prometheus(tmp_path, target, notifying.address, patience=PATIENCE, scrape=SCRAPE) as watching,
    ):
        series = watching.await_series("mailtls_endpoint_certificate_matches")
        pods = {f"{name}-{number}" for name, replicas in REPLICAS.items() for number in range(replicas)}
        assert {(each["namespace"], each["pod"]) for each in series} == {(sandbox.name, pod) for pod in pods}
        watching.await_firing(lambda firing: not firing)
        assert notified.got == []
        expect_one_notification_each(sandbox, watching, notifying, notified)
        expect_one_notification_without_operator(sandbox, notified)
    operator = f"system:serviceaccount:{sandbox.name}:mailtls"
    requests = audit.requests(user=operator)
    assert requests
    assert {(each.verb, each.what) for each in requests if each.code == 403} == set()


def expect_one_notification_each(
    sandbox: Sandbox, watching: Prometheus, notifying: Alertmanager, notified: Receivers
) -> None:
    """Cause all faults at once, then repair them."""
    expected = {(to, name): {alert} for name, fault in FAULTS.items() for to, alert in fault.notified.items()}
    inhibited = {(alert, name) for name, fault in FAULTS.items() for alert in fault.inhibited}
    for fault in FAULTS.values():
        sandbox.exec(fault.pod, "sh", "-c", f"{KEEP} && {fault.command}")
    await_probing(sandbox, notified, lambda: difference(watching).startswith("mx-1 port "))
    assert "does not serve the certificate of" in difference(watching)
    await_probing(
        sandbox, notified, lambda: notifying.inhibited() >= inhibited and ever(notified).keys() >= expected.keys()
    )
    late = {("mail", "mx"): {"EndpointFailing"}}  # a port that answers too late on a busy machine
    assert ever(notified) in (expected, expected | late)
    for fault in FAULTS.values():
        sandbox.exec(fault.pod, "sh", "-c", REPAIR)
    await_probing(
        sandbox, notified, lambda: not any(notified.of(to, **group(sandbox, name))[-1] for to, name in expected)
    )


def difference(watching: Prometheus) -> str:
    """What a person reads of the port that serves another certificate, once it is found."""
    return watching.summaries().get("MailTlsServedCertificateDiffers", "")


def ever(notified: Receivers) -> dict[tuple[str, str], set[str]]:
    """All that fired in any notification of a mail server, by receiver and resource.

    Not how often: a port that fails later than another, or a scrape that fails, is another notification.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for each in notified.got:
        if name := each.group.get("name"):
            found.setdefault((each.receiver, name), set()).update(each.firing)
    return found


def await_probing(sandbox: Sandbox, notified: Receivers, wanted: Callable[[], bool], within: float = 240.0) -> None:
    """Wait until that is so, requesting probes meanwhile: Postfix takes a new configuration when it likes.

    None of the server whose port is closed: the kubelet has to see that first. A probe that sees it before takes the
    rollout for failed, and the operator then replaces the pod.
    """
    deadline = time.monotonic() + within
    while not holds(wanted):
        assert time.monotonic() < deadline, "\n".join(map(str, notified.got))
        for name in ("mx", "relay"):
            request_probe(sandbox, name)
        time.sleep(1.0)


def request_probe(sandbox: Sandbox, name: str) -> None:
    """Request a probe, unless one is under way, which a new request would end, or has just been."""
    seen = sandbox.get("mailservertls.mailtls.dev", name)
    last = seen["metadata"].get("annotations", {}).get("mailtls.dev/probe", "0")
    if time.time() - float(last) > BETWEEN_PROBES and seen["status"].get("lastHandledProbe", "0") == last:
        sandbox.annotate("mailservertls.mailtls.dev", name, mailtls_dev__probe=str(round(time.time())))


def holds(wanted: Callable[[], bool]) -> bool:
    """Whether it is so; not while who is asked is too busy to answer."""
    try:
        return wanted()
    except OSError:
        return False


def expect_one_notification_without_operator(sandbox: Sandbox, notified: Receivers) -> None:
    """Stop the operator, then start it; that nobody leads yet may be said, too, before all is well."""
    sandbox.patch("deployments.apps", "mailtls", {"spec": {"replicas": 0}})
    notified.await_(lambda: {"OperatorDown"} in notified.of("page"), within=180.0)
    sandbox.patch("deployments.apps", "mailtls", {"spec": {"replicas": 1}})
    notified.await_(lambda: notified.of("page")[-1] == set(), within=180.0)


def group(sandbox: Sandbox, name: str) -> dict[str, str]:
    """What alerts of a mail server are grouped by."""
    return {"namespace": sandbox.name, "name": name}
