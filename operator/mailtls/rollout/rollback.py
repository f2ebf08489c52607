"""Rollback: whether the pair that served before may serve again, and for how long it is left alone then."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailtls.api.spec import Desired, Place
from mailtls.api.status import HistoryEntry, Schedule
from mailtls.context import Context
from mailtls.kube.snapshot import Hold, ServingSecret
from mailtls.pki.certificate import Certificate
from mailtls.reasons.reason import Finding, Reason
from mailtls.step import Step, objects_in
from mailtls.times import format_minute

LONGEST_HOLD = timedelta(hours=24)
Check = Callable[[Certificate, Context, datetime], str | None]


@dataclass(frozen=True, slots=True)
class RollBack(Step):
    """Exchange the pair in the Secret for the one before it, where that can serve; the request is handled anyway."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace of both Secrets."""
        return (objects_in(desired.key.namespace),)


def roll_back(context: Context, _now: datetime) -> RollBack | None:
    """A request for the pair before is handled before any other certificate is thought of."""
    return RollBack() if rollback_is_requested(context) else None


def rollback_is_requested(context: Context) -> bool:
    """Whether somebody set the rollback annotation to a value that was not acted on yet.

    Without a Secret there is nothing to roll back from: the certificate that is ordered then handles the request.
    """
    request = context.desired.rollback_requested
    return (
        request is not None and context.snapshot.secret.exists and request != context.snapshot.secret.handled_rollback
    )


def it_serves_already(certificate: Certificate, context: Context, _now: datetime) -> str | None:
    """The pair before is the one that serves."""
    serving = context.snapshot.secret.certificate
    is_same = serving is not None and serving.sha256 == certificate.sha256
    return "its certificate is the one that serves" if is_same else None


def it_is_self_signed(certificate: Certificate, _context: Context, _now: datetime) -> str | None:
    """The pair before was a placeholder, made so that a server could start at all."""
    return "its certificate is self-signed, which no client trusts" if certificate.self_signed else None


def chain_is_broken(certificate: Certificate, _context: Context, _now: datetime) -> str | None:
    """A certificate of the chain is not signed by the next one."""
    return None if certificate.chain_is_ordered else "its chain is incomplete or out of order"


def names_are_missing(certificate: Certificate, context: Context, _now: datetime) -> str | None:
    """Clients dial a name that the certificate is not for."""
    missing = sorted(frozenset(context.desired.dns_names) - certificate.names)
    return f"its certificate is not for {', '.join(missing)}" if missing else None


def it_is_not_valid_now(certificate: Certificate, _context: Context, now: datetime) -> str | None:
    """Its time is over, or has not come."""
    if certificate.not_before <= now < certificate.not_after:
        return None
    first, last = format_minute(certificate.not_before), format_minute(certificate.not_after)
    return f"its certificate is valid from {first} to {last}"


CHECKS: tuple[Check, ...] = (
    it_serves_already,
    it_is_self_signed,
    chain_is_broken,
    names_are_missing,
    it_is_not_valid_now,
)


def fault_of(pair: ServingSecret | None, context: Context, now: datetime) -> Finding | None:
    """Say why the pair cannot take the serving one's place; None: it can."""
    why = _why_not(pair, context, now)
    if why is None:
        return None
    message = f"Nothing was rolled back to Secret {context.desired.secret_name}-previous: {why}."
    return Finding(Reason.ROLLBACK_REFUSED, message)


def _why_not(pair: ServingSecret | None, context: Context, now: datetime) -> str | None:
    if pair is None:
        return "it does not exist"
    if pair.foreign is not None and pair.foreign.reason is Reason.SECRET_REPLACED:
        return "somebody else wrote into it, or an older version of the operator, which seals nothing"
    if pair.foreign is not None:
        return "it is not of this resource"
    certificate = pair.certificate
    if certificate is None or pair.key_spki_sha256 is None:
        return "it holds no readable certificate with its private key"
    if certificate.spki_sha256 != pair.key_spki_sha256:
        return "its private key is not its certificate's"
    return next((why for check in CHECKS if (why := check(certificate, context, now))), None)


def hold_for(certificate: Certificate, desired: Desired, now: datetime) -> Hold:
    """How long no other certificate is ordered: a day, or half of what the certificate has left to live."""
    until = now + min(LONGEST_HOLD, (certificate.not_after - now) / 2)
    return Hold(until.replace(microsecond=0), desired.generation)


def held(picked: Schedule, context: Context) -> Schedule:
    """Put a renewal off to the end of the hold, so that nobody is alarmed about one that is overdue on purpose."""
    hold = context.snapshot.secret.hold
    if hold is None or hold.generation != context.desired.generation:
        return picked
    return replace(picked, renewal_at=max(picked.renewal_at, hold.until))


def noted(context: Context, now: datetime) -> Context:
    """Report the certificate that serves again."""
    certificate, hold = context.snapshot.secret.certificate, context.snapshot.secret.hold
    if certificate is None or hold is None:
        raise AssertionError("a rollback leaves a certificate and its hold")
    message = (
        f"Certificate {certificate.serial_number}, valid until {format_minute(certificate.not_after)}, was put back. "
        f"It is not renewed before {format_minute(hold.until)}, unless mailtls.dev/renew requests it."
    )
    entry = HistoryEntry(now, Reason.ROLLED_BACK, message, certificate.serial_number)
    return context.with_history(entry).with_issuance(issued=entry)


def refused(context: Context, fault: Finding, now: datetime) -> Context:
    """Report that the request could not be carried out."""
    entry = HistoryEntry(now, fault.reason, fault.message)
    return context.with_history(entry).with_issuance(refused=entry)
