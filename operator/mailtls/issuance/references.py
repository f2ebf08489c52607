"""Mend: what the resource refers to may be put right by a person while an attempt is held back, and nobody tells.

Only Secrets with our label are watched, so the objects referred to are looked at now and then, and only for as long as
a failure holds an attempt back that they could mend. So are the roots to trust, while a served chain is not trusted.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from mailtls.api.spec import DataRef, Desired
from mailtls.context import Context
from mailtls.issuance.policy import is_held_back, issuance_is_due
from mailtls.issuance.solvers.policy import references_of
from mailtls.kube.snapshot import ObjectVersion
from mailtls.reasons.reason import Reason
from mailtls.verification.state import is_untrusted

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


def references(desired: Desired) -> tuple[DataRef, ...]:
    """All that an issuance reads besides the resource, each object's entry once."""
    acme = desired.acme
    binding = acme.external_account_binding
    found = [acme.account_key, acme.ca_bundle, binding.hmac_key if binding else None]
    return tuple(dict.fromkeys(each for each in (*found, *references_of(acme)) if each is not None))


def is_mendable(context: Context, now: datetime) -> bool:
    """Whether an attempt is held back, for more than a moment, by what an object referred to could mend."""
    if issuance_is_due(context, now) is None or not is_held_back(context, now):
        return False
    failure, attempts = context.issuance.failure, context.snapshot.status.attempts
    if failure is not None:
        return (failure.is_final or failure.lasts) and failure.finding.reason in MENDABLE
    return attempts is not None and attempts.reason in MENDABLE


def needs_new_account(context: Context) -> bool:
    """Whether the CA takes the account no more whose key the operator keeps: a person may delete its Secret."""
    failure, attempts = context.issuance.failure, context.snapshot.status.attempts
    reason = failure.finding.reason if failure else attempts.reason if attempts else None
    return context.desired.acme.account_key is None and reason is Reason.ACCOUNT_REJECTED


def is_mended(context: Context, sights: Iterable[ObjectVersion]) -> bool:
    """Whether an object was changed since it was last looked at; at the first look, since the attempt that failed."""
    if context.issuance.dependencies is not None:
        return {(each.path, each.version) for each in sights} != {
            (each.path, each.version) for each in context.issuance.dependencies
        }
    attempts = context.snapshot.status.attempts
    if attempts is None:
        return False
    return any(_changed_since(each, attempts.last_failure_at) for each in sights)


def _changed_since(sight: ObjectVersion, at: datetime) -> bool:
    """Kubernetes tells whole seconds: a change within that very second may have come after it, so it counts."""
    return sight.changed_at is not None and sight.changed_at >= at.replace(microsecond=0)


def lifted(context: Context, now: datetime) -> Context:
    """Let the attempt be made at once; failures before it still count when it fails too."""
    attempts = context.snapshot.status.attempts
    status = replace(context.snapshot.status, attempts=replace(attempts, next_attempt_at=now) if attempts else None)
    return context.with_snapshot(status=status).with_issuance(failure=None)


def roots_are_in_doubt(context: Context) -> bool:
    """Whether a chain that pods serve is not trusted, and the resource names roots that may lack one."""
    return context.desired.probe.trust is not None and (
        context.verification.roots is not None or context.verification.has_untrusted
    )


def roots_changed(context: Context, sight: ObjectVersion) -> bool:
    """Whether the bundle was changed since it was last looked at; at the first look, since a chain was not trusted."""
    verification = context.verification
    if verification.roots is not None:
        return (sight.path, sight.version) != (verification.roots.path, verification.roots.version)
    return any(_changed_since(sight, each.checked_at) for each in verification.endpoints if is_untrusted(each))


def judged_anew(context: Context) -> Context:
    """Let all pods be asked at once, and a rollout go on that has failed: what was trusted may not be any more."""
    changed = context.with_verification(probed_at=None, roots=None).with_snapshot(workloads=None)
    return replace(changed, rollout=context.rollout.tried_anew())
