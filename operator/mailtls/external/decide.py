"""Decides when what somebody else wrote is examined, and what the condition Issued says of it.

Each version of the Secret is examined once, and again when time may change the verdict.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mailtls.api.spec import Desired, Place
from mailtls.api.status import Stored, Verdict
from mailtls.context import Context
from mailtls.external.policy import late_at, lateness
from mailtls.reasons.reason import Reason
from mailtls.step import Step, objects_in
from mailtls.times import format_minute


@dataclass(frozen=True, slots=True)
class Examine(Step):
    """Ask the gate whether what is in the Secret may go to pods."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace that roots are read from."""
        return (objects_in(desired.key.namespace),)


def examine(context: Context, now: datetime) -> Examine | None:
    """A version of the Secret that was not examined yet, or that time may have made another."""
    state = context.external
    is_due = state.examined_at is None or (state.again_at is not None and state.again_at <= now)
    return Examine() if context.desired.is_external and is_due else None


def accepted(context: Context) -> Stored | None:
    """Return what the status keeps: what has passed the gate last."""
    secret, state = context.snapshot.secret, context.external
    certificate = secret.certificate
    if certificate is None or state.examined_at is None or state.refusal is not None:
        return context.snapshot.status.stored
    dates = certificate.not_before, certificate.not_after
    return Stored(secret.name, secret.uid, certificate.sha256, *dates, is_trial=state.is_trial)


def examine_due_at(context: Context, _now: datetime) -> Iterable[datetime | None]:
    """When the gate is asked again, and when the issuer is late."""
    certificate = context.snapshot.secret.certificate
    if context.desired.is_external:
        yield context.external.again_at
        yield late_at(certificate, context.desired) if certificate is not None else None


def from_elsewhere(context: Context, now: datetime) -> Verdict:
    """True while what somebody else wrote may serve, even when its renewal is late."""
    certificate, source = context.snapshot.secret.certificate, context.snapshot.secret.source
    if context.external.refusal is not None:
        return Verdict.false(context.external.refusal)
    if certificate is None or context.external.examined_at is None:
        return Verdict.pending("What is in the Secret was not checked yet.")
    until = f"Certificate {certificate.serial_number}, written by {source.words}, is valid until"
    message = f"{until} {format_minute(certificate.not_after)}."
    late = lateness(certificate, source, context.desired, now)
    if late is not None:
        return Verdict.true(late.reason, f"{message} {late.message}", (late,))
    return Verdict.true(Reason.ISSUED, message)
