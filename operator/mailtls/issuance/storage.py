"""Store: a certificate is written only when every check lets it through.

Adoption: a Secret that somebody asked us to take over, whose certificate serves on whoever issued it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from mailtls.api.spec import Desired, Place
from mailtls.api.status import HistoryEntry
from mailtls.context import Context
from mailtls.issuance.guard import is_replaced
from mailtls.issuance.schedule import after_storing
from mailtls.pki.certificate import Certificate
from mailtls.reasons.quoting import quote_all, shorten
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.step import Step, objects_in
from mailtls.times import CLOCK_SKEW, format_minute


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that wants into the Secret, with the public half of the key it would be stored with."""

    certificate: Certificate
    key_spki_sha256: str


Check = Callable[[Candidate, Context, datetime], Finding | None]


def key_is_not_its_own(new: Candidate, _context: Context, _now: datetime) -> Finding | None:
    """The certificate is for another key."""
    if new.certificate.spki_sha256 == new.key_spki_sha256:
        return None
    return Finding(Reason.CERTIFICATE_KEY_MISMATCH, "The CA returned a certificate for another key; it was not stored.")


def names_are_missing(new: Candidate, context: Context, _now: datetime) -> Finding | None:
    """A wanted name is not in the certificate; names that the CA added are no harm."""
    missing = frozenset(context.desired.dns_names) - new.certificate.names
    if not missing:
        return None
    given = quote_all(sorted(new.certificate.names)) or "no name"
    message = f"The certificate lacks {', '.join(sorted(missing))}; it is for {given}, and was not stored."
    return Finding(Reason.CERTIFICATE_NAMES_MISMATCH, message)


def chain_is_broken(new: Candidate, _context: Context, _now: datetime) -> Finding | None:
    """A certificate is not signed by the next one, or there is a leaf alone that leads to no root that is trusted here.

    Private authorities of one tier issue from their root: then the leaf alone is the whole chain.
    """
    certificate = new.certificate
    is_whole = not certificate.is_leaf_alone or certificate.self_signed or certificate.is_anchored
    if certificate.chain_is_ordered and is_whole:
        return None
    return Finding(
        Reason.CERTIFICATE_CHAIN_BROKEN,
        "The CA returned a chain that is incomplete or out of order; it was not stored.",
    )


def dates_are_wrong(new: Candidate, _context: Context, now: datetime) -> Finding | None:
    """The certificate is not valid now."""
    if new.certificate.not_before - CLOCK_SKEW <= now < new.certificate.not_after:
        return None
    return Finding(
        Reason.CERTIFICATE_DATES_WRONG,
        f"The certificate is valid from {format_minute(new.certificate.not_before)} to"
        f" {format_minute(new.certificate.not_after)}, not now; check the clocks of the cluster.",
    )


def is_worse(new: Candidate, context: Context, _now: datetime) -> Finding | None:
    """The stored certificate is as good, and was issued later: an order that a crash left behind came in late.

    A shorter life alone is no reason: a CA that shortens its lifetimes, or revokes, wants the new one to be served.
    """
    old = context.snapshot.secret.certificate
    if (
        old is None
        or is_replaced(context)
        or not _is_wanted(old, context)
        or old.not_before <= new.certificate.not_before
    ):
        return None
    if old.not_after < new.certificate.not_after:
        return None
    return Finding(
        Reason.CERTIFICATE_WORSE,
        f"The stored certificate was issued later and is valid until {format_minute(old.not_after)}; it was kept.",
    )


def _is_wanted(old: Certificate, context: Context) -> bool:
    desired, secret = context.desired, context.snapshot.secret
    return (
        old.spki_sha256 == secret.key_spki_sha256
        and (secret.acme_server, secret.profile) == (desired.acme.server, desired.acme.profile)
        and old.names >= frozenset(desired.dns_names)
        and (old.key_algorithm, old.key_size) == (desired.private_key.algorithm, desired.private_key.size)
    )


CHECKS: tuple[Check, ...] = (key_is_not_its_own, names_are_missing, chain_is_broken, dates_are_wrong, is_worse)


def fault_of(new: Candidate, context: Context, now: datetime) -> Finding | None:
    """Run the chain; None means that the certificate may be stored."""
    return next((found for check in CHECKS if (found := check(new, context, now))), None)


def chain_leads_elsewhere(context: Context) -> Finding | None:
    """The stored chain does not lead to the root that the spec prefers: worth saying, and no reason to go without."""
    certificate, wanted = context.snapshot.secret.certificate, context.desired.acme.preferred_chain
    if certificate is None or wanted is None or certificate.root == wanted:
        return None
    if context.snapshot.secret.acme_server != context.desired.acme.server:
        return None  # the CA of the spec was not asked yet
    if not certificate.roots_offered or wanted in certificate.roots_offered:
        message = f"The chain leads to {certificate.root}; the next renewal asks for the one to {wanted}."
    else:
        offered = ", ".join(certificate.roots_offered)
        message = f"Set acme.preferredChain to a root that the CA offers ({offered}), or remove it: {wanted} is none."
    return Finding(Reason.CHAIN_UNAVAILABLE, message, Severity.WARN)


def names_were_added(context: Context) -> Finding | None:
    """The CA put more names into the certificate than were ordered: worth saying, and no reason to go without."""
    certificate = context.snapshot.secret.certificate
    if certificate is None or certificate.names_asked != frozenset(context.desired.dns_names):
        return None
    added = certificate.names - certificate.names_asked
    if not added:
        return None
    message = f"The CA added {quote_all(sorted(added))}, which nobody requested; the certificate is used all the same."
    return Finding(Reason.CERTIFICATE_NAMES_ADDED, message, Severity.WARN)


def warnings(context: Context) -> tuple[Finding, ...]:
    """What is worth a word of the stored certificate though it may serve."""
    return tuple(filter(None, (chain_leads_elsewhere(context), names_were_added(context))))


def noted(context: Context, now: datetime) -> Context:
    """Report the stored certificate once, also where the process that stored it died before it could."""
    certificate = context.snapshot.secret.certificate
    if certificate is None or certificate.serial_number in {
        entry.serial_number for entry in context.snapshot.status.history
    }:
        return context
    names = shorten(", ".join(sorted(certificate.names)[:3]))
    message = f"Certificate {certificate.serial_number} for {names} was issued and stored."
    entry = HistoryEntry(now, Reason.ISSUED, message, certificate.serial_number)
    status = context.snapshot.status
    status = replace(status, attempts=after_storing(status.attempts))
    return context.with_snapshot(status=status).with_history(entry).with_issuance(issued=entry)


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


def adoption_noted(context: Context, now: datetime) -> Context:
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
