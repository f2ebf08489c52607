"""Builders for the rollout tests: a workload, its pods and what they are seen to serve."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.workload import PodState, Reader, WorkloadState
from mailtls.probe.target import Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.steps import RollProgress
from mailtls.verification.evidence import Evidence, gather

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OLD, NEW = "0" * 64, "1" * 64
SMTP = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
SMTPS = Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED)


def workload(
    strategy: UpdateStrategy = UpdateStrategy.RELOAD, name: str = "postfix", ports: tuple[Port, ...] = (SMTP, SMTPS)
) -> Workload:
    """Make a StatefulSet's place in a spec."""
    command = ("postfix", "reload") if strategy is UpdateStrategy.RELOAD else ()
    return Workload(WorkloadKind.STATEFUL_SET, name, strategy, (Daemon("postfix", ports, command),))


def pod(name: str, *, told: str | None = None, ready: bool = True, ready_at: datetime | None = None) -> PodState:
    """Make a pod that mounts the certificate."""
    return PodState(
        name=name,
        uid=f"uid-of-{name}",
        addresses=("198.18.1.7",),
        ready=ready,
        reloaded_sha256=told,
        readers=(Reader("postfix", "/tls/tls.crt"),),
        ready_at=ready_at,
    )


def state(
    *pods: PodState,
    of: Workload | None = None,
    finding: Finding | None = None,
    template: str | None = None,
    rolled: bool = True,
    wanted: int | None = None,
) -> WorkloadState:
    """Make a workload with these pods, as many as it should have unless told otherwise."""
    if template is not None and rolled:  # then its pods were made from this template
        pods = tuple(replace(each, template_sha256=template) for each in pods)
    return WorkloadState(of or workload(), finding, template, pods, rolled, len(pods) if wanted is None else wanted)


def seen(
    pod_name: str,
    port: Port,
    served: str | None,
    reason: Reason | None = None,
    severity: Severity = Severity.FAIL,
) -> Endpoint:
    """Make the probe's verdict; a served leaf that is not NEW fails as the old certificate unless told otherwise."""
    if reason is None and served != NEW:
        reason = Reason.SERVING_OLD_CERTIFICATE
    findings = (Finding(reason, f"Saw {reason}.", severity),) if reason else ()
    target = Target("198.18.1.7", port, "mx.example.com", pod=pod_name, workload="StatefulSet/postfix")
    return Endpoint(target, NOW, findings, served)


def all_serve(served: str | None, *names: str, reason: Reason | None = None) -> list[Endpoint]:
    """Make the verdicts for both ports of several pods."""
    return [seen(name, port, served, reason) for name in names for port in (SMTP, SMTPS)]


def evidence(*groups: Iterable[Endpoint]) -> Evidence:
    """Gather verdicts as reconcile does."""
    return gather((endpoint for group in groups for endpoint in group), NEW)


def progress(*, retry: bool = False, started: timedelta = timedelta(0)) -> RollProgress:
    """Begin an attempt `started` before NOW, with ten minutes of time."""
    return RollProgress(NOW - started, timedelta(minutes=10), retry=retry)
