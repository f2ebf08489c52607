"""What the conditions Issued and Stored say. Every message says what is, or what to do."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from mailtls.api.status import SUSPENDED, Verdict
from mailtls.context import Context
from mailtls.external.decide import from_elsewhere
from mailtls.issuance.guard import is_replaced, not_restored
from mailtls.issuance.policy import (
    are_over,
    is_held_back,
    issuance_is_due,
    placeholder,
    renewal_is_held,
    stored_is_expired,
    usable,
)
from mailtls.issuance.schedule import held_by_its_age
from mailtls.issuance.storage import warnings
from mailtls.reasons.reason import Finding, Reason
from mailtls.reasons.recovery import RECOVERIES, Recovery
from mailtls.times import format_minute, format_second

RENEWALS: Final = frozenset({Reason.RENEWAL_DUE, Reason.RENEWAL_REQUESTED})
"""Due, but what is stored is what the spec wants."""
ORDERS_UNTIL_STALLED: Final = 3
"""Orders that fail in a row for one reason, and could succeed: about ten minutes."""


def issued(context: Context, now: datetime) -> Verdict:
    """True while the stored pair is what the spec wants and can serve, even when its renewal is due or failing."""
    if (obstacle := _obstacle(context)) is not None:
        return Verdict.false(obstacle)
    return from_elsewhere(context, now) if context.desired.is_external else _ordered(context, now)


def _ordered(context: Context, now: datetime) -> Verdict:
    due, trouble = issuance_is_due(context, now), _trouble(context, now)
    certificate = context.snapshot.secret.certificate
    is_wanted = due is None or due.reason in RENEWALS  # not a placeholder, nor what an earlier spec asked for
    if certificate is not None and is_wanted and usable(context, now):
        until = f"Certificate {certificate.serial_number} is valid until {format_minute(certificate.not_after)}."
        words = [until, _renewal_trouble(context, trouble) if due else _hold(context, now)]
        words += [held_by_its_age(context, now), *(warning.message for warning in warnings(context))]
        failing = (trouble,) if due and trouble else ()
        return Verdict.true(Reason.ISSUED, " ".join(filter(None, words)), (*warnings(context), *failing))
    if (expired := stored_is_expired(context, now)) is not None and not context.snapshot.secret.is_placeholder:
        after = SUSPENDED if context.desired.suspend else _renewal_trouble(context, trouble)
        return Verdict.false(Finding(expired.reason, f"{expired.message} {after}"), _recovery(context, trouble))
    if trouble is not None:
        return Verdict.false(_until_then(context, trouble), _recovery(context, trouble))
    if context.desired.suspend:
        return Verdict.false(Finding(Reason.SUSPENDED, f"{due.message if due else ''} {SUSPENDED}".strip()))
    return Verdict.false(Finding(Reason.ISSUING, f"{due.message if due else ''} {_at_work(context)}".strip()))


def _until_then(context: Context, trouble: Finding) -> Finding:
    """Say what pods serve while the first certificate has trouble, where that is a placeholder."""
    if not context.snapshot.secret.is_placeholder:
        return trouble
    return replace(trouble, message=f"{trouble.message} {placeholder(context).message}")


def _recovery(context: Context, trouble: Finding | None) -> Recovery:
    """What brings a certificate: time, or a person where the CA refuses for good, or order after order has failed."""
    attempts = context.snapshot.status.attempts
    if trouble is None:
        return Recovery.AUTOMATIC
    if attempts is None or attempts.reason is not trouble.reason or trouble.reason is Reason.RATE_LIMITED:
        return RECOVERIES[trouble.reason]
    is_given_up = attempts.next_attempt_at is None or attempts.failed >= ORDERS_UNTIL_STALLED
    return Recovery.MANUAL if is_given_up else RECOVERIES[trouble.reason]


def _at_work(context: Context) -> str:
    if context.issuance.presenting_since is None:
        return f"A certificate is being issued.{_next_poll(context)}"
    return "Challenge responses are published, but not visible here yet; with selfCheck: false the CA is asked at once."


def _next_poll(context: Context) -> str:
    until = context.issuance.order.waits_until if context.issuance.order is not None else None
    return f" The CA asks to wait; next poll at {format_second(until)}." if until else ""


def _obstacle(context: Context) -> Finding | None:
    if context.snapshot.holder is not None and context.snapshot.holder != context.desired.key:
        return Finding(
            Reason.SECRET_CLAIMED,
            f"Secret {context.desired.secret_name} belongs to the older MailServerTLS {context.snapshot.holder.name}, "
            "as secretName or with -next or -previous behind it; give this one another secretName.",
        )
    return context.snapshot.secret.foreign


def _trouble(context: Context, now: datetime) -> Finding | None:
    """The failure of this reconcile, else the one that is remembered, for as long as it holds anything back."""
    issuance = context.issuance
    if issuance.failure is not None:
        return issuance.failure.finding
    if issuance.hidden_by is not None:
        return issuance.hidden_by
    attempts = context.snapshot.status.attempts
    if attempts is None or not attempts.failed or are_over(attempts, context.desired):
        return None
    if attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE and not is_held_back(context, now):
        return None  # it was about the certificate before: the next one is on its way
    return Finding(attempts.reason, attempts.message)


def _hold(context: Context, now: datetime) -> str:
    hold = context.snapshot.secret.hold
    if hold is None or not renewal_is_held(context, now):
        return ""
    return (
        f"It was rolled back to, and is not renewed before {format_minute(hold.until)}, unless mailtls.dev/renew "
        "requests it."
    )


def _renewal_trouble(context: Context, trouble: Finding | None) -> str:
    if trouble is None:
        return f"Its replacement is on the way.{_next_poll(context)}"
    return f"Its replacement fails ({trouble.reason}): {trouble.message}"


def stored(context: Context) -> Verdict:
    """True when the Secret holds a certificate with its own key."""
    certificate = context.snapshot.secret.certificate
    if is_replaced(context):
        return Verdict.false(not_restored(context, SUSPENDED))
    if certificate is None:
        return Verdict.pending("There is no certificate to store yet.")
    if context.snapshot.secret.is_placeholder:
        return Verdict.false(placeholder(context))
    if certificate.spki_sha256 != context.snapshot.secret.key_spki_sha256:
        return Verdict.false(
            Finding(Reason.KEY_MISMATCH, f"Secret {context.desired.secret_name} holds a key of another certificate.")
        )
    return Verdict.true(Reason.STORED, f"Secret {context.desired.secret_name} holds leaf {certificate.sha256}.")
