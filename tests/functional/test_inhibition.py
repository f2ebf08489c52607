"""One fault is one notification: what faults fire in a real Prometheus, and what Alertmanager's rules leave of it."""

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest

from functional.inhibition import (
    CONFIGURATION,
    MATCHER,
    Labels,
    alertmanager,
    configuration,
    notified,
)
from functional.prometheus import Prometheus, impatient_rules, prometheus
from mailtls.api.spec import Key
from mailtls.api.status import Condition, ConditionType, DomainReport, Truth
from mailtls.controller.health import Checks, HealthServer
from mailtls.metrics import Metrics
from mailtls.probe.target import Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.resource_metrics import Known, Served, Stored

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing: no alert was fired")

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOW = datetime.now(UTC)
FAR, PAST = 60 * DAY, -HOUR
EXPIRED = Finding(Reason.CERTIFICATE_EXPIRED, "It expired.")
OLD = Finding(Reason.SERVING_OLD_CERTIFICATE, "It is old.")
ODD = Finding(Reason.HOSTNAME_MISMATCH, "It is for another name.")
WAITS = Finding(Reason.SERVING_OLD_CERTIFICATE, "It waits.", Severity.WARN)


class Resource:
    """One resource, good but for what a fault does to it."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.metrics, self.key = metrics, Key("mail", name)
        self.store(FAR)
        self.serve({})
        self.say({})

    def store(self, left: timedelta) -> None:
        """Hold a certificate with so much lifetime left, which is renewed when a third of 90 days is."""
        self.metrics.update(self.key, Known(stored=Stored(f"{self.key.name}-tls", NOW + left, NOW + left - 30 * DAY)))

    def serve(self, faults: Mapping[str, Sequence[Finding]], left: timedelta = FAR) -> None:
        """Serve at two ports of two pods; those with faults have so much lifetime left."""
        ports = [
            _endpoint(pod, port, left if pod in faults else FAR, tuple(faults.get(pod, ())))
            for pod in ("postfix-0", "postfix-1")
            for port in (25, 465)
        ]
        self.metrics.update(self.key, Known(served=Served(ports)))

    def say(self, wrong: Mapping[ConditionType, Reason]) -> None:
        """Have these conditions False and the others True; Ready follows them."""
        if wrong:
            wrong = {ConditionType.READY: next(iter(wrong.values())), **wrong}
        said = (
            Condition(kind, Truth.FALSE, wrong[kind], "", NOW, 1)
            if kind in wrong
            else Condition(kind, Truth.TRUE, Reason.READY, "", NOW, 1)
            for kind in ConditionType
        )
        self.metrics.update(self.key, Known(conditions=said))


def _endpoint(pod: str, number: int, left: timedelta, findings: tuple[Finding, ...]) -> Endpoint:
    port = Port(number, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    target = Target("198.18.1.7", port, "mx.example.com", pod=pod, workload="StatefulSet/postfix")
    return Endpoint(target, NOW, findings, served_sha256="ab" * 32, served_not_after=NOW + left)


BOTH = ("postfix-0", "postfix-1")
ISSUED, OUT, VERIFIED = ConditionType.ISSUED, ConditionType.ROLLED_OUT, ConditionType.VERIFIED


def healthy(_mx: Resource) -> None:
    """Nothing is wrong."""


def expired(mx: Resource) -> None:
    """The renewal failed until the expiry; every port serves what is stored."""
    mx.store(PAST)
    mx.serve(dict.fromkeys(BOTH, (EXPIRED,)), PAST)
    mx.say({ISSUED: Reason.CERTIFICATE_EXPIRED, VERIFIED: Reason.CERTIFICATE_EXPIRED})


def expiring(mx: Resource) -> None:
    """The renewal fails, and a day is left."""
    mx.store(DAY)
    mx.serve(dict.fromkeys(BOTH, ()), DAY)


def old_and_expired(mx: Resource) -> None:
    """A pod did not read the new file, and what it serves has expired."""
    mx.serve({"postfix-0": (OLD, EXPIRED)}, PAST)
    mx.say({OUT: Reason.SERVING_OLD_CERTIFICATE, VERIFIED: Reason.SERVING_OLD_CERTIFICATE})


def not_reloaded(mx: Resource) -> None:
    """The reload fails, and the pods go on with the old certificate."""
    mx.serve(dict.fromkeys(BOTH, (OLD,)), 20 * DAY)
    mx.say({OUT: Reason.RELOAD_FAILED, VERIFIED: Reason.SERVING_OLD_CERTIFICATE})


def forgotten(mx: Resource) -> None:
    """A person paused the rollout, and what is served expires tomorrow."""
    mx.serve(dict.fromkeys(BOTH, (WAITS,)), DAY)
    mx.say({OUT: Reason.ROLLOUT_PAUSED})


def expired_above(mx: Resource) -> None:
    """A server sends an old intermediate."""
    mx.serve(dict.fromkeys(BOTH, (EXPIRED,)))
    mx.say({VERIFIED: Reason.CERTIFICATE_EXPIRED})


def never_issued(mx: Resource) -> None:
    """The CA cannot validate the names of a new resource."""
    mx.metrics.forget(mx.key)
    mx.say({ISSUED: Reason.CHALLENGE_FAILED})


def wrong_name(mx: Resource) -> None:
    """A port serves the stored certificate, which is for another name."""
    mx.serve({"postfix-0": (ODD,)})
    mx.say({VERIFIED: Reason.HOSTNAME_MISMATCH})


def gone(mx: Resource) -> None:
    """The workload was deleted."""
    mx.metrics.update(mx.key, Known(served=Served([])))
    mx.say({OUT: Reason.WORKLOAD_NOT_FOUND, VERIFIED: Reason.PENDING})


def domain(mx: Resource) -> None:
    """A TLSA record is wrong."""
    mx.metrics.update(
        mx.key, Known(domains=[DomainReport("example.com", NOW, (Finding(Reason.TLSA_MISMATCH, "It is wrong."),))])
    )


def two_faults(mx: Resource) -> None:
    """One pod serves an old certificate, the other the wrong name: neither hides the other."""
    mx.serve({"postfix-0": (OLD,), "postfix-1": (ODD,)}, 20 * DAY)
    mx.say({OUT: Reason.RELOAD_FAILED, VERIFIED: Reason.SERVING_OLD_CERTIFICATE})


FAULTS: Mapping[Callable[[Resource], None], set[str]] = {
    healthy: set(),
    expired: {"StoredCertificateExpired"},
    expiring: {"StoredCertificateExpiringNow"},
    old_and_expired: {"ServedCertificateDiffers"},
    not_reloaded: {"ServedCertificateDiffers"},
    forgotten: {"RolloutForgottenNearExpiry"},
    expired_above: {"CertificateExpired"},
    never_issued: {"IssuanceFailing"},
    wrong_name: {"EndpointFailing"},
    gone: {"NotRolledOut"},
    domain: {"DomainUnhealthy"},
    two_faults: {"ServedCertificateDiffers", "EndpointFailing"},
}
"""What is left of each fault, by the function that causes it."""


FOLLOWS: Mapping[Callable[[Resource], None], str] = {
    expired: "ServedCertificateExpired",
    expiring: "RenewalOverdue",
    old_and_expired: "CertificateExpired",
    not_reloaded: "NotRolledOut",
    forgotten: "RolloutForgotten",
    expired_above: "NotReady",
}
"""One alert that only follows from a fault, and fires too."""


def name_of(fault: Callable[[Resource], None]) -> str:
    """Return the name of the resource that has this fault."""
    return fault.__name__.replace("_", "-")


def by_resource(alerts: Sequence[Labels]) -> dict[str, set[str]]:
    """Return the names of alerts, without their common beginning, of each resource."""
    found = defaultdict[str, set[str]](set)
    for each in alerts:
        found[each.get("name", "")].add(each["alertname"].removeprefix("MailTls"))
    return found


def fine() -> None:
    """Report no trouble to a kubelet that nobody runs here."""


@contextmanager
def watched(folder: Path, metrics: Metrics, notify: str | None = None) -> Iterator[Prometheus]:
    """Have Prometheus scrape the metrics."""
    server = HealthServer(0, Checks(fine, fine), metrics.text)
    port = server.start()
    try:
        with prometheus(folder, f"127.0.0.1:{port}", notify) as running:
            yield running
    finally:
        server.stop()


def fired(running: Prometheus, wanted: set[tuple[str, str]]) -> list[dict[str, str]]:
    """Return what fires, all of it at one moment, once these do, by alert and resource."""
    seen = list[dict[str, str]]()

    def all_fire(_firing: set[tuple[str, str]]) -> bool:
        seen[:] = running.firing_labels()  # a late scrape on a busy machine ends them all for a moment
        return wanted <= {(each["alertname"], each.get("name", "")) for each in seen}

    running.await_firing(all_fire, within=90)
    return seen


@dataclass(frozen=True)
class Seen:
    """What fired in Prometheus, what Alertmanager notified of by notification, and what of it once all was repaired."""

    firing: list[dict[str, str]]
    groups: list[list[Labels]]
    left: list[list[Labels]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Cause each fault in a resource of its own, then repair all; rules wait for nothing here."""
    metrics, folder = Metrics(), tmp_path_factory.mktemp("alerts")
    metrics.watch_leader(lambda: True)
    faulty = {fault: Resource(metrics, name_of(fault)) for fault in FAULTS}
    for fault, resource in faulty.items():
        fault(resource)
    wanted = {(f"MailTls{each}", name_of(fault)) for fault, left in FAULTS.items() for each in left}
    wanted |= {(f"MailTls{each}", name_of(fault)) for fault, each in FOLLOWS.items()}
    with alertmanager(folder) as notifying, watched(folder, metrics, notifying.address) as running:
        firing = fired(running, wanted)
        expected = by_resource(notified(firing))
        groups = notifying.await_groups(lambda groups: by_resource(list(chain.from_iterable(groups))) == expected)
        for resource in faulty.values():
            metrics.forget(resource.key)
            Resource(metrics, resource.key.name)
        return Seen(firing, groups, notifying.await_groups(lambda groups: not groups))


@pytest.fixture(scope="module")
def firing(seen: Seen) -> list[dict[str, str]]:
    """Return all that fired."""
    return seen.firing


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_one_fault_is_one_alert(fault: Callable[[Resource], None], firing: list[dict[str, str]]) -> None:
    """Of all that a fault fires, what names its cause is left, and nothing that only follows from it."""
    assert by_resource(notified(firing)).get(name_of(fault), set()) == FAULTS[fault]


def test_what_only_follows_is_inhibited(firing: list[dict[str, str]]) -> None:
    """It does fire: without the rules each of these faults would be several notifications."""
    for fault, alert in FOLLOWS.items():
        assert alert in by_resource(firing)[name_of(fault)]
        assert alert not in by_resource(notified(firing))[name_of(fault)]


def test_what_comes_late_because_nobody_leads_is_no_news(tmp_path: Path) -> None:
    """The expiry of a certificate stays one."""
    metrics = Metrics()
    metrics.watch_leader(lambda: False)
    metrics.watch_queue(lambda: 1, lambda: 7200.0)
    expired(Resource(metrics, "mx"))
    wanted = {("MailTlsNoLeader", ""), ("MailTlsQueueOld", "")}
    wanted |= {(each, "mx") for each in ("MailTlsRenewalOverdue", "MailTlsStoredCertificateExpired")}
    with watched(tmp_path, metrics) as running:
        left = by_resource(notified(fired(running, wanted)))
    assert left == {"": {"NoLeader"}, "mx": {"StoredCertificateExpired"}}


def test_every_alternative_in_the_rules_is_an_alert() -> None:
    """A name that is misspelt would inhibit nothing, and nobody would see it."""
    known = {rule["alert"] for group in impatient_rules()["groups"] for rule in group["rules"]}
    matchers = (
        m for rule in configuration()["inhibit_rules"] for m in (*rule["source_matchers"], *rule["target_matchers"])
    )
    expressions = (MATCHER.match(each) for each in matchers if each.startswith("alertname"))
    names = {name for found in expressions if found for name in found["value"].split("|")}
    assert len(names) > 15
    assert {name for name in names if not any(re.fullmatch(name, each) for each in known)} == set()


def test_alertmanager_notifies_once_for_each_resource_and_of_nothing_once_all_is_repaired(seen: Seen) -> None:
    """A real one takes the example, inhibits what our reading of its rules does, and groups the rest by resource."""
    if amtool := shutil.which("amtool"):
        subprocess.run([amtool, "check-config", str(CONFIGURATION)], check=True, capture_output=True)
    assert by_resource(list(chain.from_iterable(seen.groups))) == by_resource(notified(seen.firing))
    pages = [{each["name"] for each in group} for group in seen.groups if group[0]["severity"] == "critical"]
    assert all(len(names) == 1 for names in pages)
    assert len(pages) == len(set().union(*pages))
    assert seen.left == []
