"""Evidence: which endpoints need to be asked now, and when all of them are asked again."""

from datetime import datetime

from mailtls.lifecycle.proof import Evidence, gather, targets
from mailtls.lifecycle.roll import next_roll
from mailtls.lifecycle.schedule import next_probe_after
from mailtls.model.depth import Depth
from mailtls.model.endpoint import Endpoint, Target
from mailtls.model.observed import Observed
from mailtls.model.reason import Reason
from mailtls.model.roll import RolledOut
from mailtls.model.spec import Desired


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


def sweep_is_due(desired: Desired, seen: Observed, now: datetime) -> bool:
    """Whether everything is to be asked again: by the interval, by annotation, or once to look deeper."""
    if desired.probe_requested is not None and desired.probe_requested != seen.handled_probe:
        return True
    is_due = seen.probed_at is None or now >= seen.probed_at + desired.probe.interval
    return is_due or is_too_shallow(desired, seen, now)


def is_too_shallow(desired: Desired, seen: Observed, now: datetime) -> bool:
    """Whether all is rolled out, and nobody has looked as deep yet as the spec wants."""
    return not seen.probed_depth.reaches(desired.probe.depth) and has_rolled_out(seen, now)


def depth_to_probe(desired: Desired, seen: Observed, now: datetime) -> Depth:
    """How deep to look: what is still on its way into the pods is not worth more than a glance."""
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
    swept_at = seen.probed_at + desired.probe.interval
    if all(stands(endpoint) for endpoint in seen.endpoints):
        return swept_at
    asked_at = max(seen.probed_at, seen.retried_at or seen.probed_at)
    return min(asked_at + next_probe_after(seen.probes_failed, 0.0), swept_at)


def stands(endpoint: Endpoint) -> bool:
    """Whether what was seen is trusted until the interval is over; what failed is asked again much sooner.

    But for a login that failed: a server may lock out who tries too often.
    """
    return endpoint.failure is None or endpoint.failure.reason is Reason.AUTH_FAILED
