"""Metrics in use: resources whose ports warn of something, and an operator that has done each of its works once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from mailtls.api.spec import Key
from mailtls.api.status import Condition, ConditionType, DomainReport, Truth
from mailtls.issuance.acme.order_rate import BudgetState
from mailtls.metrics import Metrics
from mailtls.net.backoff import COUNTED
from mailtls.probe.target import Depth, Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.resource_metrics import Known, Served, Stored

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=60)
PODS, PORTS = 5, (25, 465, 587, 993)  # of each resource
WARNED = Finding(Reason.WEAK_CRYPTO, "An old cipher is taken.", Severity.WARN)


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
    domain = DomainReport("example.com", NOW, (Finding(Reason.SPF_MISSING, "None.", Severity.WARN),))
    said = [Condition(kind, Truth.TRUE, Reason.READY, "", NOW, 1, (WARNED,)) for kind in ConditionType]
    metrics.update(key, Known(Stored("mx-tls", LATER, NOW), Served(list(endpoints(number))), [domain], said))
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
