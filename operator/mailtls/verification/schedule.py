"""Evidence: which endpoints need to be asked now, and when all of them are asked again."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from mailtls.api.resource import DEEP_REQUEST
from mailtls.api.spec import Desired
from mailtls.api.workload import UpdateStrategy
from mailtls.context import Context
from mailtls.kube.workload import WorkloadState
from mailtls.net.backoff import PROBE, REFUSED_PORT, Backoff
from mailtls.probe.target import Depth, Endpoint, Target
from mailtls.reasons.reason import FOUND_BY_DEEP_PROBES, Reason
from mailtls.rollout.decide import held
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import RolledOut
from mailtls.rollout.view import View
from mailtls.rollout.waves import reloading
from mailtls.times import next_turn
from mailtls.verification.evidence import AWAITED, evidence, targets
from mailtls.verification.state import stands


def targets_to_probe(context: Context, now: datetime) -> tuple[Target, ...]:
    """All targets when a sweep is due, else those of which nothing is known (new pods, moved addresses, failures)."""
    if context.snapshot.workloads is None:
        return ()
    every = targets(context.snapshot.workloads, context.desired.server_name)
    if sweep_is_due(context, now):
        return every
    known = {endpoint.target for endpoint in context.verification.endpoints}
    return tuple(target for target in every if target not in known)


def targets_to_confirm(context: Context, now: datetime) -> tuple[Target, ...]:
    """Those of them that are ready again and run as before: a brief probe is enough, unless a sweep is due."""
    if sweep_is_due(context, now):
        return ()
    learned = {endpoint.target for endpoint in context.verification.set_aside}
    return tuple(target for target in targets_to_probe(context, now) if target in learned)


def confirmed(learned: Endpoint, brief: Endpoint) -> Endpoint | None:
    """What stands when a brief probe of the same run shows nothing new: all that a longer one found; else None."""
    is_known = {found.reason for found in brief.findings} <= {found.reason for found in learned.findings}
    if not is_known or brief.served_sha256 != learned.served_sha256:
        return None
    return replace(learned, checked_at=brief.checked_at)


def sweep_is_due(context: Context, now: datetime) -> bool:
    """Whether everything is to be asked again: by the interval, by annotation, or once to look deeper."""
    desired, verification = context.desired, context.verification
    if desired.probe_requested is not None and desired.probe_requested != verification.handled_probe:
        return True
    is_due = verification.probed_at is None or now >= swept_again_at(desired, verification.probed_at)
    is_due = is_due or has_expired_since_probed(context, now)
    return is_due or is_too_shallow(context, now) or deep_probe_is_due(context, now)


def has_expired_since_probed(context: Context, now: datetime) -> bool:
    """Whether the stored certificate expired after the last sweep, which found it valid: that proves nothing now."""
    certificate, probed_at = context.snapshot.secret.certificate, context.verification.probed_at
    return certificate is not None and probed_at is not None and probed_at < certificate.not_after <= now


def is_too_shallow(context: Context, now: datetime) -> bool:
    """Whether all is rolled out, and nobody has looked as deep yet as the spec wants."""
    return not context.verification.probed_depth.reaches(context.desired.probe.depth) and has_rolled_out(context, now)


def deep_probe_is_due(context: Context, now: datetime) -> bool:
    """Whether a person asks for a deep probe, or all is rolled out and its own interval is over."""
    asked = context.desired.probe_requested
    if asked is not None and asked != context.verification.handled_probe and asked.startswith(DEEP_REQUEST):
        return True
    if context.desired.probe.deep_interval is None:
        return False
    due_at = next_deep_probe_at(context)
    return (due_at is None or due_at <= now) and has_rolled_out(context, now)


def depth_to_probe(context: Context, now: datetime) -> Depth:
    """How deep to look: what is still on its way into the pods is not worth more than a brief."""
    if deep_probe_is_due(context, now):
        return Depth.DEEP
    if context.verification.probed_depth.reaches(context.desired.probe.depth) or has_rolled_out(context, now):
        return context.desired.probe.depth
    return Depth.QUICK


def has_rolled_out(context: Context, now: datetime) -> bool:
    """Whether the evidence proves that every pod has the stored certificate."""
    leaf = context.leaf
    if leaf is None or context.snapshot.workloads is None or context.rollout.progress is None:
        return False
    return isinstance(
        next_roll(context.snapshot.workloads, evidence(context), leaf.sha256, context.rollout.progress, now),
        RolledOut,
    )


def next_probe_at(context: Context, now: datetime) -> datetime | None:
    """When pods are asked again: all by the interval, those that fail much sooner; None before the first sweep."""
    if context.verification.probed_at is None:
        return None
    return min([swept_again_at(context.desired, context.verification.probed_at), *retries_at(context, now)])


def swept_again_at(desired: Desired, probed_at: datetime) -> datetime:
    """When all is asked again after a sweep: within the interval, at a time that is the resource's own."""
    return next_turn(desired.uid, probed_at, desired.probe.interval)


def retries_at(context: Context, now: datetime) -> Iterator[datetime]:
    """When each endpoint that fails is probed again; not before the next sweep where its pod's turn has to wait."""
    failing = [endpoint for endpoint in context.verification.endpoints if not stands(endpoint)]
    if failing and held(context, now) is not None:
        failing = [each for each in failing if any(found.reason not in AWAITED for found in each.failures)]
    return (_next_retry_at(context, endpoint) for endpoint in failing)


def waiting_for_their_turn(context: Context, now: datetime) -> frozenset[Target]:
    """Which endpoints need no probe with each step, while other pods of their workload are on their way.

    They only lack the certificate, as nobody has reloaded their pods yet. They are probed in their own time, and
    with the next attempt where this one fails.
    """
    progress, leaf = context.rollout.progress, context.leaf
    if progress is None or leaf is None or context.rollout.failure is not None:
        return frozenset()
    view = View(context.snapshot.workloads or (), evidence(context), leaf.sha256, progress, now)
    names = {name for state in view.states for name in _not_begun(view, state)}
    return frozenset(
        each.target
        for each in context.verification.endpoints
        if (each.target.workload, each.target.pod) in names
        and {found.reason for found in each.failures} <= AWAITED
        and now < _next_retry_at(context, each)
    )


def _not_begun(view: View, state: WorkloadState) -> Iterator[tuple[str, str]]:
    """Name the pods that wait behind those that were reloaded."""
    if state.workload.update_strategy is UpdateStrategy.RELOAD and reloading(view, state):
        yield from ((str(state.workload), pod.name) for pod in state.living_pods if not view.was_reloaded(pod))


def _next_retry_at(context: Context, endpoint: Endpoint) -> datetime:
    failing_for = endpoint.checked_at - context.verification.failing_since_of(endpoint)
    return endpoint.checked_at + _backoff_of(endpoint).after_failing_for(failing_for)


def _backoff_of(endpoint: Endpoint) -> Backoff:
    is_refused = endpoint.failure is not None and endpoint.failure.reason is Reason.CONNECTION_REFUSED
    return REFUSED_PORT if is_refused else PROBE


def retried(context: Context, targets: Iterable[Target]) -> Iterator[Backoff]:
    """By which policy each of these targets is probed again that has failed before."""
    asked = frozenset(targets)
    failed = (each for each in context.verification.endpoints if not stands(each))
    return (_backoff_of(each) for each in failed if each.target in asked)


def next_deep_probe_at(context: Context) -> datetime | None:
    """When the next deep probe is due by its interval; None before the first."""
    if context.desired.probe.deep_interval is None or context.verification.deep_probed_at is None:
        return None
    return context.verification.deep_probed_at + context.desired.probe.deep_interval


def with_deep_findings(asked: Iterable[Endpoint], before: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Add what a deep probe of the same server found `before`: a shallower one, which did not ask, is no rebuttal."""
    known = {
        endpoint.target: tuple(found for found in endpoint.findings if found.reason in FOUND_BY_DEEP_PROBES)
        for endpoint in before
    }
    return tuple(replace(each, findings=(*each.findings, *known.get(each.target, ()))) for each in asked)
