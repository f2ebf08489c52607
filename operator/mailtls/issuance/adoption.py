"""Adoption: a Secret that somebody asked us to take over, whose certificate serves on whoever issued it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mailtls.api.spec import Desired, Place
from mailtls.api.status import HistoryEntry
from mailtls.context import Context
from mailtls.issuance.guard import is_replaced
from mailtls.pki.certificate import Certificate
from mailtls.reasons.reason import Reason
from mailtls.step import Step, objects_in
from mailtls.times import format_minute


@dataclass(frozen=True, slots=True)
class AdoptSecret(Step):
    """Take over a Secret that somebody asked us to take, and let its certificate serve on."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace that the Secret is written to."""
        return (objects_in(desired.key.namespace),)


def adopt(context: Context, now: datetime) -> AdoptSecret | None:
    """A Secret whose owner asks for it is taken over; where its certificate cannot serve, the next one takes it."""
    return AdoptSecret() if adoption_is_due(context, now) else None


def is_adopted(context: Context) -> bool:
    """Whether the stored certificate is the one that was in the Secret when it was taken over."""
    certificate = context.snapshot.secret.certificate
    return certificate is not None and certificate.sha256 == context.snapshot.secret.adopted


def adoption_is_due(context: Context, now: datetime) -> bool:
    """Whether a Secret is to be taken over as it is: asked for, not stored by us, and with a good certificate in it."""
    secret = context.snapshot.secret
    if (secret.is_ours and not is_replaced(context)) or not secret.is_requested or secret.certificate is None:
        return False
    is_whole = secret.certificate.spki_sha256 == secret.key_spki_sha256
    return is_whole and _is_good(secret.certificate, context.desired, now)


def _is_good(certificate: Certificate, desired: Desired, now: datetime) -> bool:
    """Whether clients accept it, as far as that can be known without connecting: a placeholder is not adopted."""
    is_valid = certificate.not_before <= now < certificate.not_after
    is_for_the_names = certificate.names >= frozenset(desired.dns_names)
    return is_valid and is_for_the_names and certificate.chain_is_ordered and not certificate.self_signed


def noted(context: Context, now: datetime) -> Context:
    """Report the Secret that was taken over."""
    certificate = context.snapshot.secret.certificate
    if certificate is None:
        raise AssertionError("only a Secret with a certificate is taken over as it is")
    message = (
        f"The Secret was taken over as requested. Its certificate {certificate.serial_number} of {certificate.issuer} "
        f"stays in service, until {format_minute(certificate.not_after)} at most."
    )
    entry = HistoryEntry(now, Reason.SECRET_ADOPTED, message, certificate.serial_number)
    return context.with_history(entry).with_issuance(issued=entry)
