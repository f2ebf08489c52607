"""Evidence: which endpoints need to be asked now, and when all of them are asked again."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from mailtls.api.spec import Desired
from mailtls.issuance.schedule import next_knock_after, next_probe_after
from mailtls.observed import Observed
from mailtls.probe.target import Depth, Endpoint, Target
from mailtls.reasons.reason import FOUND_BY_DEEP_PROBES, Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import RolledOut
from mailtls.times import next_turn
from mailtls.verification.evidence import Evidence, gather, targets

DEEP_REQUEST: Final = "deep"  # how the value of the annotation mailtls.dev/probe begins that asks for a deep probe


def evidence(seen: Observed) -> Evidence:
    """What is known of each pod's ports, held against the stored certificate."""
    certificate = seen.secret.certificate
    return gather(seen.endpoints, certificate.sha256 if certificate else "")


def targets_to_probe(desired: Desired, seen: Observed, now: datetime) -> tuple[Target, ...]:
    """All targets when a sweep is due, else those of which nothing is known (new pods, moved addresses, failures)."""
    if seen.workloads is None:
        return ()
    every = targets(seen.workloads, desired.server_name)
    if sweep_is_due(desired, seen, now):
        return every
    known = {endpoint.target for endpoint in seen.endpoints}
    return tuple(target for target in every if target not in known)


def targets_to_confirm(desired: Desired, seen: Observed, now: datetime) -> tuple[Target, ...]:
    """Those of them that are ready again and run as before: a glance is enough, unless all are looked into anyway."""
    if sweep_is_due(desired, seen, now):
        return ()
    learned = {endpoint.target for endpoint in seen.set_aside}
    return tuple(target for target in targets_to_probe(desired, seen, now) if target in learned)


def confirmed(learned: Endpoint, glance: Endpoint) -> Endpoint | None:
    """What stands when a glance at the same run shows nothing new: all that a longer look found; else None."""
    is_known = {found.reason for found in glance.findings} <= {found.reason for found in learned.findings}
    if not is_known or glance.served_sha256 != learned.served_sha256:
        return None
    return replace(learned, checked_at=glance.checked_at)


def sweep_is_due(desired: Desired, seen: Observed, now: datetime) -> bool:
    """Whether everything is to be asked again: by the interval, by annotation, or once to look deeper."""
    if desired.probe_requested is not None and desired.probe_requested != seen.handled_probe:
        return True
    is_due = seen.probed_at is None or now >= swept_again_at(desired, seen.probed_at)
    is_due = is_due or has_expired_since_probed(seen, now)
    return is_due or is_too_shallow(desired, seen, now) or deep_probe_is_due(desired, seen, now)


def has_expired_since_probed(seen: Observed, now: datetime) -> bool:
    """Whether the stored certificate expired after the last sweep, which found it valid: that proves nothing now."""
    certificate, probed_at = seen.secret.certificate, seen.probed_at
    return certificate is not None and probed_at is not None and probed_at < certificate.not_after <= now


def is_too_shallow(desired: Desired, seen: Observed, now: datetime) -> bool:
    """Whether all is rolled out, and nobody has looked as deep yet as the spec wants."""
    return not seen.probed_depth.reaches(desired.probe.depth) and has_rolled_out(seen, now)


def deep_probe_is_due(desired: Desired, seen: Observed, now: datetime) -> bool:
    """Whether a person asks for a deep probe, or all is rolled out and its own interval is over."""
    asked = desired.probe_requested
    if asked is not None and asked != seen.handled_probe and asked.startswith(DEEP_REQUEST):
        return True
    if desired.probe.deep_interval is None:
        return False
    due_at = next_deep_probe_at(desired, seen)
    return (due_at is None or due_at <= now) and has_rolled_out(seen, now)


def depth_to_probe(desired: Desired, seen: Observed, now: datetime) -> Depth:
    """How deep to look: what is still on its way into the pods is not worth more than a glance."""
    if deep_probe_is_due(desired, seen, now):
        return Depth.DEEP
    if seen.probed_depth.reaches(desired.probe.depth) or has_rolled_out(seen, now):
        return desired.probe.depth
    return Depth.QUICK


def has_rolled_out(seen: Observed, now: datetime) -> bool:
    """Whether the evidence proves that every pod has the stored certificate."""
    certificate = seen.secret.certificate
    if certificate is None or seen.workloads is None or seen.progress is None:
        return False
    return isinstance(next_roll(seen.workloads, evidence(seen), certificate.sha256, seen.progress, now), RolledOut)


def next_probe_at(desired: Desired, seen: Observed) -> datetime | None:
    """When pods are asked again: all by the interval, those that fail much sooner; None before the first sweep."""
    if seen.probed_at is None:
        return None
    return min([swept_again_at(desired, seen.probed_at), *retries_at(seen)])


def swept_again_at(desired: Desired, probed_at: datetime) -> datetime:
    """When all is asked again after a sweep: within the interval, at a time that is the resource's own."""
    return next_turn(desired.uid, probed_at, desired.probe.interval)


def retries_at(seen: Observed) -> Iterator[datetime]:
    """When each endpoint that fails is probed again."""
    return (_next_retry_at(seen, endpoint) for endpoint in seen.endpoints if not stands(endpoint))


def _next_retry_at(seen: Observed, endpoint: Endpoint) -> datetime:
    failing_for = endpoint.checked_at - _failing_since(seen, endpoint)
    is_refused = endpoint.failure is not None and endpoint.failure.reason is Reason.CONNECTION_REFUSED
    return endpoint.checked_at + (next_knock_after if is_refused else next_probe_after)(failing_for)


def with_answers(seen: Observed, asked: Iterable[Endpoint]) -> Observed:
    """Know of each target what was answered last, the pods first."""
    every = {endpoint.target: endpoint for endpoint in (*seen.endpoints, *asked)}
    return replace(seen, endpoints=tuple(sorted(every.values(), key=_place)))


def still_failing(before: Observed) -> Mapping[Target, datetime]:
    """Since when each endpoint fails that does; a target belongs to one run of its pod, so a new run starts afresh."""
    return {each.target: _failing_since(before, each) for each in before.endpoints if not stands(each)}


def _failing_since(seen: Observed, endpoint: Endpoint) -> datetime:
    return seen.failing_since.get(endpoint.target, endpoint.checked_at)


def _place(endpoint: Endpoint) -> tuple[str, ...]:
    target = endpoint.target
    return target.way, target.workload, target.pod, f"{target.port.port:05}"


def next_deep_probe_at(desired: Desired, seen: Observed) -> datetime | None:
    """When the next deep probe is due by its interval; None before the first."""
    if desired.probe.deep_interval is None or seen.deep_probed_at is None:
        return None
    return seen.deep_probed_at + desired.probe.deep_interval


def stands(endpoint: Endpoint) -> bool:
    """Whether what was seen is trusted until the interval is over; what failed is asked again much sooner.

    But for a login that failed, as a server may lock out who tries too often, and for what only a deep probe asks.
    """
    lasting = {Reason.AUTH_FAILED, *FOUND_BY_DEEP_PROBES}
    return endpoint.failure is None or endpoint.failure.reason in lasting


def with_deep_findings(asked: Iterable[Endpoint], before: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Add what a deep probe of the same server found `before`: a shallower one, which did not ask, is no rebuttal."""
    known = {
        endpoint.target: tuple(found for found in endpoint.findings if found.reason in FOUND_BY_DEEP_PROBES)
        for endpoint in before
    }
    return tuple(replace(each, findings=(*each.findings, *known.get(each.target, ()))) for each in asked)
