"""Issue: whether a certificate is due, and if so why. An ordered chain of checks; the first finding is the reason."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from mailtls.api.spec import Desired, RotationPolicy
from mailtls.api.status import Attempts, ConditionType, Status
from mailtls.context import Context
from mailtls.issuance.guard import is_replaced, replacement
from mailtls.issuance.schedule import renewal_due_at
from mailtls.issuance.storage import is_adopted
from mailtls.kube.snapshot import Staged
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import format_minute, format_second

Check = Callable[[Context, datetime], Finding | None]


def secret_is_missing(context: Context, _now: datetime) -> Finding | None:
    """The Secret does not exist yet, or somebody deleted it."""
    if context.snapshot.secret.exists:
        return None
    return Finding(Reason.SECRET_MISSING, f"Secret {context.desired.secret_name} does not exist yet.")


def secret_is_unreadable(context: Context, _now: datetime) -> Finding | None:
    """The Secret holds no certificate or no key."""
    if context.snapshot.secret.certificate and context.snapshot.secret.key_spki_sha256:
        return None
    return Finding(
        Reason.SECRET_UNREADABLE,
        f"Secret {context.desired.secret_name} holds no readable certificate with its private key.",
    )


def secret_is_a_placeholder(context: Context, _now: datetime) -> Finding | None:
    """The Secret holds what was made so that servers can start."""
    return placeholder(context) if context.snapshot.secret.is_placeholder else None


def placeholder(context: Context) -> Finding:
    """Say that what the Secret holds is no certificate that any client trusts."""
    message = f"Secret {context.desired.secret_name} holds a self-signed placeholder, which no client trusts."
    return Finding(Reason.SELF_SIGNED_PLACEHOLDER, message)


def key_differs(context: Context, _now: datetime) -> Finding | None:
    """Certificate and key in the Secret do not belong together: no server could start with them."""
    certificate = context.snapshot.secret.certificate
    if certificate is None or certificate.spki_sha256 == context.snapshot.secret.key_spki_sha256:
        return None
    return Finding(
        Reason.KEY_MISMATCH, f"The private key in Secret {context.desired.secret_name} is not the certificate's."
    )


def issuer_differs(context: Context, _now: datetime) -> Finding | None:
    """The certificate came from another CA, or under another profile; one that was adopted may."""
    if is_adopted(context):
        return None
    have, want = (
        (context.snapshot.secret.acme_server, context.snapshot.secret.profile),
        (context.desired.acme.server, context.desired.acme.profile),
    )
    if have == want:
        return None
    before = " profile ".join(each for each in have if each) or "elsewhere"
    after = " profile ".join(each for each in want if each)
    return Finding(Reason.ISSUER_CHANGED, f"The certificate came from {before}; {after} is wanted.")


def names_differ(context: Context, _now: datetime) -> Finding | None:
    """The certificate is for other names than those wanted; the order of names does not matter."""
    certificate, wanted = context.snapshot.secret.certificate, frozenset(context.desired.dns_names)
    if certificate is None or certificate.names == wanted:
        return None
    if certificate.names > wanted and (is_adopted(context) or certificate.names_asked == wanted):
        return None  # whoever issued it put more names in than were asked for, and would do so again
    have = shorten(", ".join(sorted(certificate.names))) or "no name"
    return Finding(Reason.NAMES_CHANGED, f"The certificate is for {have}.")


def key_policy_differs(context: Context, _now: datetime) -> Finding | None:
    """The key is of another algorithm or size than wanted."""
    certificate, policy = context.snapshot.secret.certificate, context.desired.private_key
    if certificate is None or is_adopted(context):
        return None
    if (certificate.key_algorithm, certificate.key_size) == (policy.algorithm, policy.size):
        return None
    have = f"{certificate.key_algorithm or 'unknown'} {certificate.key_size}"
    return Finding(Reason.KEY_POLICY_CHANGED, f"The key is {have}; {policy.algorithm} {policy.size} is wanted.")


def renewal_is_requested(context: Context, _now: datetime) -> Finding | None:
    """Somebody set the renew annotation to a value that was not acted on yet."""
    request = context.desired.renew_requested
    if request is None or request == context.snapshot.secret.handled_renew:
        return None
    return Finding(Reason.RENEWAL_REQUESTED, f"Renewal was requested by annotation ({request[:40]}).")


def renewal_is_due(context: Context, now: datetime) -> Finding | None:
    """The time drawn for the renewal has come, or so little lifetime is left that no window counts any more."""
    certificate = context.snapshot.secret.certificate
    if certificate is None or now < renewal_due_at(certificate, context, now):
        return None
    return Finding(Reason.RENEWAL_DUE, f"The certificate expires at {format_minute(certificate.not_after)}.")


def secret_is_replaced(context: Context, _now: datetime) -> Finding | None:
    """Somebody wrote another pair into the Secret, and no copy of the one stored is left that could be put back."""
    return replacement(context) if is_replaced(context) else None


CHECKS: tuple[Check, ...] = (
    secret_is_missing,
    secret_is_replaced,
    secret_is_a_placeholder,
    secret_is_unreadable,
    key_differs,
    issuer_differs,
    names_differ,
    key_policy_differs,
    renewal_is_requested,
    renewal_is_due,
)
HELD: tuple[Check, ...] = (
    secret_is_missing,
    secret_is_replaced,
    secret_is_unreadable,
    key_differs,
    renewal_is_requested,
)
"""What counts while a rollback holds the renewal: a Secret that nobody can serve, and a request."""


def issuance_is_due(context: Context, now: datetime) -> Finding | None:
    """Run the chain; None means that the stored certificate is the one wanted, or that it is never ordered here."""
    if context.desired.is_external:
        return None
    checks = HELD if renewal_is_held(context, now) else CHECKS
    return next((found for check in checks if (found := check(context, now))), None)


def renewal_is_held(context: Context, now: datetime) -> bool:
    """Whether the pair was rolled back to a short while ago and can serve: what was rolled back from must not return.

    A changed spec ends that, and so does a pair that has expired or lacks a name.
    """
    hold = context.snapshot.secret.hold
    is_on = hold is not None and hold.generation == context.desired.generation and now < hold.until
    return is_on and usable(context, now)


def usable(context: Context, now: datetime) -> bool:
    """Whether the stored pair can serve, due or not: it belongs together, covers the names and has not expired.

    Of one that somebody else wrote the gate has said so.
    """
    certificate = context.snapshot.secret.certificate
    if context.desired.is_external:
        return certificate is not None and context.external.refusal is None and certificate.not_after > now
    return (
        certificate is not None
        and not is_replaced(context)
        and not context.snapshot.secret.is_placeholder
        and certificate.spki_sha256 == context.snapshot.secret.key_spki_sha256
        and certificate.names >= frozenset(context.desired.dns_names)
        and certificate.not_after > now
    )


def is_readable(context: Context) -> bool:
    """Whether the Secret holds a certificate and a key that parse: enough to compare it with what pods serve.

    A placeholder is none.
    """
    secret = context.snapshot.secret
    return secret.certificate is not None and secret.key_spki_sha256 is not None and not secret.is_placeholder


def stored_is_expired(context: Context, now: datetime) -> Finding | None:
    """The stored certificate has expired; the message names no time that passes, so that it is written once."""
    certificate = context.snapshot.secret.certificate
    if certificate is None or certificate.not_after > now:
        return None
    return Finding(
        Reason.CERTIFICATE_EXPIRED, f"The stored certificate expired at {format_minute(certificate.not_after)}."
    )


def fits(staged: Staged, desired: Desired) -> bool:
    """Whether a staged key and its order are for what is wanted now."""
    policy = desired.private_key
    return (frozenset(staged.names), staged.acme_server, staged.profile, staged.key_algorithm, staged.key_size) == (
        frozenset(desired.dns_names),
        desired.acme.server,
        desired.acme.profile,
        policy.algorithm,
        policy.size,
    )


def spoils_a_kept_key(staged: Staged, context: Context) -> bool:
    """Whether a key was staged before the spec asked for the one that serves to be kept: what is pinned must stay."""
    certificate, policy = context.snapshot.secret.certificate, context.desired.private_key
    if policy.rotation_policy is not RotationPolicy.NEVER or certificate is None:
        return False
    if context.snapshot.secret.is_placeholder:
        return False
    is_kept = (certificate.key_algorithm, certificate.key_size) == (policy.algorithm, policy.size)
    return is_kept and certificate.spki_sha256 == context.snapshot.secret.key_spki_sha256 != staged.spki_sha256


def may_have_left_an_order(generation: int, status: Status) -> bool:
    """Whether the spec may have named another Secret when an order was opened, as far as the status shows.

    A spec of the first generation never did, and one that was reported on without an order has left none.
    """
    reported = status.condition(ConditionType.READY)
    is_reported = reported is not None and reported.observed_generation == generation
    return generation > 1 and (status.has_order or not is_reported)


def is_held_back(context: Context, now: datetime) -> bool:
    """Whether earlier failures forbid an attempt now; a changed spec or a new renew annotation lifts that."""
    attempts = context.snapshot.status.attempts
    if context.issuance.failure is not None:
        return True
    if attempts is None or not attempts.failed:
        return False
    if are_over(attempts, context.desired):
        return False
    if attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE and not _is_a_mere_renewal(context, now):
        return False
    return attempts.next_attempt_at is None or now < attempts.next_attempt_at


def are_over(attempts: Attempts, desired: Desired) -> bool:
    """Whether a changed spec, or a new request to renew, starts anew: what failed before holds nothing back."""
    return (attempts.observed_generation, attempts.observed_renew) != (desired.generation, desired.renew_requested)


def _is_a_mere_renewal(context: Context, now: datetime) -> bool:
    due = issuance_is_due(context, now)
    return due is None or due.reason is Reason.RENEWAL_DUE


def with_next_try(finding: Finding, at: datetime | None) -> Finding:
    """Say when what a CA holds back is tried again, where the message does not say so by itself."""
    if at is None or "next try at" in finding.message:
        return finding
    message = f"{finding.message} Next try at {format_second(at)}, or when a renewal is requested."
    return replace(finding, message=message)
