"""Mend: what the resource refers to may be put right by a person while an attempt is held back, and nobody tells.

Only Secrets with our label are watched, so the objects referred to are looked at now and then, and only for as long as
a failure holds an attempt back that they could mend. So are the roots to trust, while a served chain is not trusted.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from mailtls.api.spec import DataRef, Desired
from mailtls.issuance.policy import is_held_back, issuance_is_due
from mailtls.issuance.solvers.policy import references_of
from mailtls.observed import Observed, Sight
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Reason

MENDABLE = frozenset(
    {
        Reason.ACCOUNT_REJECTED,
        Reason.ACME_TLS_UNTRUSTED,
        Reason.CREDENTIALS_MISSING,
        Reason.DNS_UPDATE_REFUSED,
        Reason.EXTERNAL_ACCOUNT_REQUIRED,
        Reason.ZONE_NOT_FOUND,
    }
)
"""Failures that another content of a Secret or ConfigMap may end."""
UNTRUSTED = frozenset({Reason.INCOMPLETE_CHAIN, Reason.SELF_SIGNED, Reason.UNTRUSTED_ROOT})
"""Failures of an endpoint that other roots in the bundle of spec.probe.trust may end."""


def references(desired: Desired) -> tuple[DataRef, ...]:
    """All that an issuance reads besides the resource, each object's entry once."""
    acme = desired.acme
    binding = acme.external_account_binding
    found = [acme.account_key, acme.ca_bundle, binding.hmac_key if binding else None]
    return tuple(dict.fromkeys(each for each in (*found, *references_of(acme)) if each is not None))


def is_mendable(desired: Desired, seen: Observed, now: datetime) -> bool:
    """Whether an attempt is held back, for more than a moment, by what an object referred to could mend."""
    if issuance_is_due(desired, seen, now) is None or not is_held_back(desired, seen, now):
        return False
    failure, attempts = seen.issue_failure, seen.status.attempts
    if failure is not None:
        return (failure.is_final or failure.lasts) and failure.finding.reason in MENDABLE
    return attempts is not None and attempts.reason in MENDABLE


def needs_new_account(desired: Desired, seen: Observed) -> bool:
    """Whether the CA takes the account no more whose key the operator keeps: a person may delete its Secret."""
    failure, attempts = seen.issue_failure, seen.status.attempts
    reason = failure.finding.reason if failure else attempts.reason if attempts else None
    return desired.acme.account_key is None and reason is Reason.ACCOUNT_REJECTED


def is_mended(seen: Observed, sights: Iterable[Sight]) -> bool:
    """Whether an object was changed since it was last looked at; at the first look, since the attempt that failed."""
    if seen.sights is not None:
        return {(each.path, each.version) for each in sights} != {(each.path, each.version) for each in seen.sights}
    attempts = seen.status.attempts
    if attempts is None:
        return False
    return any(_changed_since(each, attempts.last_failure_at) for each in sights)


def _changed_since(sight: Sight, at: datetime) -> bool:
    """Kubernetes tells whole seconds: a change within that very second may have come after it, so it counts."""
    return sight.changed_at is not None and sight.changed_at >= at.replace(microsecond=0)


def lifted(seen: Observed, now: datetime) -> Observed:
    """Let the attempt be made at once; failures before it still count when it fails too."""
    attempts = seen.status.attempts
    status = replace(seen.status, attempts=replace(attempts, next_attempt_at=now) if attempts else None)
    return replace(seen, status=status, issue_failure=None)


def roots_are_in_doubt(desired: Desired, seen: Observed) -> bool:
    """Whether a chain that pods serve is not trusted, and the resource names roots that may lack one."""
    return desired.probe.trust is not None and (seen.roots is not None or any(map(_is_untrusted, seen.endpoints)))


def roots_still_in_doubt(before: Observed) -> Sight | None:
    """What to compare the next look with: the last one, for as long as a chain is not trusted."""
    return before.roots if any(map(_is_untrusted, before.endpoints)) else None


def roots_changed(seen: Observed, sight: Sight) -> bool:
    """Whether the bundle was changed since it was last looked at; at the first look, since a chain was not trusted."""
    if seen.roots is not None:
        return (sight.path, sight.version) != (seen.roots.path, seen.roots.version)
    return any(_changed_since(sight, each.checked_at) for each in seen.endpoints if _is_untrusted(each))


def judged_anew(seen: Observed) -> Observed:
    """Let all pods be asked at once, and a rollout go on that has failed: what was trusted may not be any more."""
    progress = None if seen.roll_failure is not None else seen.progress
    return replace(seen, probed_at=None, workloads=None, progress=progress, roll_failure=None, roots=None)


def _is_untrusted(endpoint: Endpoint) -> bool:
    return endpoint.failure is not None and endpoint.failure.reason in UNTRUSTED
