"""How many series there are: bounded by resources and ports, measured at 10,000 ports, and clean for promtool."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailtls.api.spec import Key
from mailtls.api.status import Condition, ConditionType, DomainReport, Truth
from mailtls.issuance.acme.order_rate import BudgetState
from mailtls.metrics import Metrics
from mailtls.net.backoff import COUNTED
from mailtls.probe.target import Depth, Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=60)
RESOURCES, PODS, PORTS = 500, 5, (25, 465, 587, 993)
WARNED = Finding(Reason.WEAK_CRYPTO, "An old cipher is taken.", Severity.WARN)
# Series of a port, of a resource and of the operator itself; docs/metrics-and-alerts.md has these numbers.
OF_PORT, OF_RESOURCE, OF_OPERATOR = 5, 34, 250


def endpoints(number: int) -> Iterator[Endpoint]:
    """Make the ports of one resource, of which each warns of something."""
    for pod in range(PODS):
        for number_of_port in PORTS:
            port = Port(number_of_port, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
            target = Target("198.18.1.7", port, "mx.example.com", pod=f"mx-{number}-{pod}", workload="StatefulSet/mx")
            yield Endpoint(target, NOW, (WARNED,), served_sha256="ab" * 32, served_not_after=LATER)


def report(metrics: Metrics, number: int) -> Key:
    """Report one resource whose certificate is served everywhere."""
    key = Key("mail", f"mx-{number}")
    metrics.stored(key, "mx-tls", LATER, NOW)
    metrics.served(key, list(endpoints(number)))
    metrics.domains(key, [DomainReport("example.com", NOW, (Finding(Reason.SPF_MISSING, "None.", Severity.WARN),))])
    said = (Condition(kind, Truth.TRUE, Reason.READY, "", NOW, 1, (WARNED,)) for kind in ConditionType)
    metrics.conditions(key, said)
    return key


def operate(metrics: Metrics) -> None:
    """Let each of the operator's own metrics count something."""
    metrics.watch_budgets(lambda: {("", "https://acme.example/directory"): BudgetState(300, 12, 3)})
    metrics.watch_rollouts(lambda: 1, lambda: 2, 2)
    for outcome in ("issued", "failed"):
        metrics.order_ended(outcome, 12.0)
        metrics.rollout_ended(outcome, 3.0)
    for cause in ("failure", "request"):
        metrics.rolled_back(cause)
    for depth in Depth:
        metrics.verified(str(depth), 0.4)
    for backoff in COUNTED:
        metrics.retried(backoff.kind)
    for verb in ("create", "merge", "replace"):
        metrics.written(verb)
    metrics.acme_request("newOrder", 201)
    metrics.clock_skew("acme.example", 0.1)
    metrics.reconciled(0.2)


def series(metrics: Metrics) -> Counter[str]:
    """Count the series of each metric, as Prometheus stores them."""
    families = text_string_to_metric_families(metrics.text().decode())
    return Counter(family.name for family in families for _ in family.samples)


def test_ten_thousand_ports_make_a_known_number_of_series_that_all_go() -> None:
    """Each port and each resource that warns of one thing adds so many, and leaves none when it is gone."""
    metrics = Metrics()
    operate(metrics)
    own = series(metrics).total()
    keys = [report(metrics, number) for number in range(RESOURCES)]
    counted = series(metrics)
    ports = RESOURCES * PODS * len(PORTS)
    assert ports == 10_000
    assert counted["mailtls_endpoint_probe_success"] == ports
    assert own <= OF_OPERATOR
    assert counted.total() - own == ports * OF_PORT + RESOURCES * OF_RESOURCE
    for key in keys:
        metrics.forget(key)
    assert series(metrics).total() == own


def test_no_text_of_a_stranger_is_a_label() -> None:
    """Messages vary with each probe and would make series without end; only reasons from a fixed list are labels."""
    metrics = Metrics()
    key = report(metrics, 1)
    before = series(metrics)
    for each in range(20):
        odd = Finding(Reason.WEAK_CRYPTO, f"Cipher {each}.", Severity.WARN, evidence=f"{each}", subject=f"s{each}")
        ports = [Endpoint(one.target, NOW, (odd,), served_sha256=f"{each}" * 32) for one in endpoints(1)]
        metrics.served(key, ports)
        metrics.conditions(
            key, [Condition(t, Truth.TRUE, Reason.READY, f"{each}", NOW, 1, (odd,)) for t in ConditionType]
        )
    assert series(metrics) == before
    assert "Cipher" not in metrics.text().decode()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: the metrics were not checked")
def test_promtool_finds_nothing_to_say() -> None:
    """Names, units, types and help texts are as Prometheus recommends, with every metric in use."""
    metrics = Metrics()
    operate(metrics)
    report(metrics, 1)
    done = subprocess.run(["promtool", "check", "metrics"], input=metrics.text(), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
