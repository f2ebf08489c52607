"""What the condition Verified says, and how many endpoints serve the stored certificate."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from mailtls.api.status import ServedCount, Truth, Verdict
from mailtls.api.workload import UpdateStrategy
from mailtls.context import Context
from mailtls.kube.bounds import excess
from mailtls.probe.checks.comparison import differences
from mailtls.probe.target import Endpoint, Target
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.conditions import NO_CERTIFICATE, NOT_PROBED
from mailtls.rollout.decide import held
from mailtls.verification.decide import probe_routes
from mailtls.verification.evidence import AWAITED, resting, targets
from mailtls.verification.routes import are_awaited
from mailtls.verification.schedule import targets_to_probe


def while_held(context: Context, now: datetime) -> Context:
    """Let a port that only has not got the certificate yet warn of that and not fail, while its turn has to wait."""
    waiting = held(context, now)
    if waiting is None:
        return context
    states = context.snapshot.workloads or ()
    theirs = {str(each.workload) for each in states if each.workload.update_strategy is not UpdateStrategy.NONE}
    message = f"Another certificate is served until the pod's turn comes, which has to wait: {waiting.finding.reason}."
    endpoints = (
        _warned(each, message) if each.target.workload in theirs else each for each in context.verification.endpoints
    )
    return context.with_verification(endpoints=tuple(endpoints))


def _warned(endpoint: Endpoint, message: str) -> Endpoint:
    awaited = [found for found in endpoint.failures if found.reason in AWAITED]
    others = (found for found in endpoint.findings if found not in awaited)
    warnings = (replace(found, severity=Severity.WARN, message=message) for found in awaited)
    return replace(endpoint, findings=(*warnings, *others))


def _waits(endpoint: Endpoint) -> bool:
    """Whether `while_held` says so of the endpoint."""
    return any(found.reason in AWAITED and found.severity is Severity.WARN for found in endpoint.findings)


def verified(context: Context, now: datetime) -> Verdict:
    """True when every port of every pod was seen to serve the stored certificate as clients want it."""
    if not context.desired.workloads:
        return Verdict.true(Reason.NO_WORKLOADS, "No workloads are named, so nothing has to be verified.")
    if context.snapshot.workloads is None:
        secret = context.snapshot.secret
        return Verdict.pending(NO_CERTIFICATE if secret.certificate is None or secret.is_placeholder else NOT_PROBED)
    if (beyond := excess(context.snapshot.workloads)) is not None:
        return Verdict.false(beyond)
    if not targets(context.snapshot.workloads, context.desired.server_name):
        return Verdict.pending("No pod is ready to be asked.")
    if targets_to_probe(context, now) or probe_routes(context):
        return Verdict(Truth.UNKNOWN, Reason.PROBING, "The pods are being asked.")
    return _proven(context, len(endpoints_wanted(context)), is_held=held(context, now) is not None)


def _proven(context: Context, total: int, *, is_held: bool) -> Verdict:
    failing = [endpoint for endpoint in context.verification.endpoints if endpoint.failure]
    if failing:
        return Verdict.false(_worst(failing, total))
    if are_awaited(context) and not is_held:
        message = "The pods serve it; Services and the public name are asked once every pod has the certificate."
        return Verdict(Truth.UNKNOWN, Reason.PROBING, message)
    message = " ".join((_good(context, total), *_remarks(context)))
    return Verdict.true(Reason.VERIFIED, message, differences(_alike(context)))


def _good(context: Context, total: int) -> str:
    unknown = sum(endpoint.is_unknown for endpoint in context.verification.endpoints)
    waiting = sum(map(_waits, context.verification.endpoints))
    others = f", and {waiting} another one that clients accept, until their pods' turn comes" if waiting else ""
    down = len(_resting(context))
    unready = f", and {down} at pods that are not ready were not probed" if down else ""
    return f"{total - unknown - waiting} of {total + down} endpoints serve the stored certificate{others}{unready}."


def _remarks(context: Context) -> Iterator[str]:
    """What is worth a word though nothing fails: what could not be looked at, pods that differ, and trials."""
    verification = context.verification
    unknown = next((endpoint for endpoint in verification.endpoints if endpoint.is_unknown), None)
    if unknown is not None:
        yield f"{unknown.target.where}: {unknown.findings[0].reason}: {unknown.findings[0].message}"
    found = (*differences(_alike(context))[:1], *_trials(verification.endpoints)[:1])
    yield from (each.message for each in found)


def _alike(context: Context) -> Iterator[Endpoint]:
    return (endpoint for endpoint in context.verification.endpoints if not _waits(endpoint))


def _trials(endpoints: Iterable[Endpoint]) -> list[Finding]:
    """What must not be overlooked although the probe is content: clients do not trust what is served."""
    findings = (finding for endpoint in endpoints for finding in endpoint.findings)
    return [finding for finding in findings if finding.reason is Reason.STAGING_CERTIFICATE]


def _worst(failing: list[Endpoint], total: int) -> Finding:
    first = failing[0]
    if first.failure is None:
        raise AssertionError("only failing endpoints come here")
    others = f" ({len(failing)} of {total} endpoints fail)" if len(failing) > 1 else ""
    return Finding(first.failure.reason, f"{first.target.where}: {first.failure.message}{others}")


def served(context: Context) -> ServedCount | None:
    """How many endpoints serve the stored certificate, of how many; None while the workloads are not known."""
    if context.snapshot.workloads is None:
        return None
    every = endpoints_wanted(context)
    endpoints = context.verification.endpoints
    proven = (each for each in endpoints if not each.failure and not each.is_unknown and not _waits(each))
    right = sum(1 for endpoint in proven if endpoint.target in every)
    return ServedCount(right, len(every) + len(_resting(context)))


def _resting(context: Context) -> tuple[Target, ...]:
    return resting(context.snapshot.workloads or (), context.desired.server_name)


def endpoints_wanted(context: Context) -> frozenset[Target]:
    """All that must be proven: the pods' ports, and the routes to them once these are known."""
    return frozenset(
        (*targets(context.snapshot.workloads or (), context.desired.server_name), *(context.verification.routes or ()))
    )
