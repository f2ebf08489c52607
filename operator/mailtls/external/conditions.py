"""What the condition Issued says of a certificate that somebody else keeps."""

from datetime import datetime

from mailtls.api.status import Verdict
from mailtls.context import Context
from mailtls.external.policy import lateness
from mailtls.reasons.reason import Reason
from mailtls.times import format_minute


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
