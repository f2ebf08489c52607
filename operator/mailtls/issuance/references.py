"""Dependencies: what the resource refers to may be put right by a person while an attempt is held back, unwatched.

Only Secrets with our label are watched, so the objects referred to are looked at now and then, and only for as long as
a failure holds an attempt back that another content of theirs could end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from mailtls.api.solvers import references_of
from mailtls.api.spec import DataRef, Desired
from mailtls.context import Context
from mailtls.issuance.policy import is_held_back, issuance_is_due
from mailtls.kube.snapshot import ObjectVersion
from mailtls.reasons.reason import Reason
from mailtls.step import Step

DEPENDENCY_FAILURES = frozenset(
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


@dataclass(frozen=True, slots=True)
class RecheckDependencies(Step):
    """Check whether a Secret or ConfigMap that the resource refers to was changed since an attempt failed."""


def recheck_dependencies(context: Context, now: datetime) -> RecheckDependencies | None:
    """What holds an attempt back may have been put right meanwhile, and no watch reports it."""
    due_at = context.issuance.dependencies_due_at
    is_due = due_at is None or due_at <= now
    is_to_see = bool(references(context.desired)) or needs_new_account(context)
    return RecheckDependencies() if is_due and may_lie_with_dependencies(context, now) and is_to_see else None


def dependencies_due_at(context: Context, now: datetime) -> Iterable[datetime | None]:
    """When dependencies are checked again."""
    yield context.issuance.dependencies_due_at if may_lie_with_dependencies(context, now) else None


def references(desired: Desired) -> tuple[DataRef, ...]:
    """All that an issuance reads besides the resource, each object's entry once."""
    acme = desired.acme
    binding = acme.external_account_binding
    found = [acme.account_key, acme.ca_bundle, binding.hmac_key if binding else None]
    return tuple(dict.fromkeys(each for each in (*found, *references_of(acme)) if each is not None))


def may_lie_with_dependencies(context: Context, now: datetime) -> bool:
    """Whether an attempt is held back, for more than a moment, by what an object referred to may be the cause of."""
    if issuance_is_due(context, now) is None or not is_held_back(context, now):
        return False
    failure, attempts = context.issuance.failure, context.snapshot.status.attempts
    if failure is not None:
        return (failure.is_final or failure.lasts) and failure.finding.reason in DEPENDENCY_FAILURES
    return attempts is not None and attempts.reason in DEPENDENCY_FAILURES


def needs_new_account(context: Context) -> bool:
    """Whether the CA takes the account no more whose key the operator keeps: a person may delete its Secret."""
    failure, attempts = context.issuance.failure, context.snapshot.status.attempts
    reason = failure.finding.reason if failure else attempts.reason if attempts else None
    return context.desired.acme.account_key is None and reason is Reason.ACCOUNT_REJECTED


def dependencies_changed(context: Context, versions: Iterable[ObjectVersion]) -> bool:
    """Whether an object was changed since it was last looked at; at the first look, since the attempt that failed."""
    if context.issuance.dependencies is not None:
        return {(each.path, each.version) for each in versions} != {
            (each.path, each.version) for each in context.issuance.dependencies
        }
    attempts = context.snapshot.status.attempts
    if attempts is None:
        return False
    return any(each.changed_since(attempts.last_failure_at) for each in versions)


def lifted(context: Context, now: datetime) -> Context:
    """Let the attempt be made at once; failures before it still count when it fails too."""
    attempts = context.snapshot.status.attempts
    status = replace(context.snapshot.status, attempts=replace(attempts, next_attempt_at=now) if attempts else None)
    return context.with_snapshot(status=status).with_issuance(failure=None)
