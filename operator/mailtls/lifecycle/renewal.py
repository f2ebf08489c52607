"""Renewal: from when on a certificate may be replaced because of its age, and what is said where that comes too early.

A certificate has a floor: nothing younger is renewed unless a person asks. Without one, a CA that suggests a time in
the past, or a clock that is far ahead, has orders placed one after the other until the CA's rate limits end it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from mailtls.lifecycle.schedule import next_attempt_after
from mailtls.model.certificate import Certificate
from mailtls.model.observed import Observed
from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import Desired
from mailtls.model.status import Attempts, Schedule

SHORTEST_FLOOR = timedelta(hours=1)


def floor_of(certificate: Certificate, seen: Observed, now: datetime) -> datetime:
    """The earliest time of a renewal: max(1 h, a tenth of the lifetime) of age, but at most half of what is left.

    The age counts from notBefore, or from when the certificate was stored where that is known and later: CAs back-date,
    and a clock that is ahead takes a new certificate for an old one. A time of storing in the future is not believed.
    """
    lifetime = certificate.not_after - certificate.not_before
    begun_at = max(certificate.not_before, _stored_at(certificate, seen, now) or certificate.not_before)
    age = min(max(SHORTEST_FLOOR, lifetime / 10), (certificate.not_after - begun_at) / 2)
    return begun_at + age


def _stored_at(certificate: Certificate, seen: Observed, now: datetime) -> datetime | None:
    mine = (each for each in seen.status.history if each.event is Reason.ISSUED)
    times = (each.at for each in mine if each.serial_number == certificate.serial_number and each.at <= now)
    return max(times, default=None)


def renewal_due_at(certificate: Certificate, seen: Observed, now: datetime) -> datetime:
    """When the renewal is due: as scheduled, with a twentieth of the lifetime left at last, never below the floor.

    A CA's window after that counts no more; a time drawn for another certificate does not count at all.
    """
    return max(_wanted_at(certificate, seen.schedule), floor_of(certificate, seen, now))


def _wanted_at(certificate: Certificate, schedule: Schedule | None) -> datetime:
    last_call = _last_call(certificate)
    is_its_own = schedule is not None and schedule.sha256 == certificate.sha256
    return min(schedule.renewal_at, last_call) if schedule is not None and is_its_own else last_call


def _last_call(certificate: Certificate) -> datetime:
    return certificate.not_after - (certificate.not_after - certificate.not_before) / 20


def scheduled(picked: Schedule, desired: Desired, seen: Observed, now: datetime, draw: float) -> Observed:
    """Take a schedule over, with its time put off to the floor; a new certificate that is due at once has failed.

    It counts as a failed attempt with the growing back-off, so that whatever the cause is, orders become fewer.
    """
    certificate = seen.secret.certificate
    if certificate is None:
        raise AssertionError("only a stored certificate is scheduled")
    is_new = seen.schedule is None or seen.schedule.sha256 != certificate.sha256
    is_early = _wanted_at(certificate, picked) <= now
    floor = floor_of(certificate, seen, now)
    found = replace(seen, schedule=replace(picked, renewal_at=max(picked.renewal_at, floor)))
    if not is_new:
        return found
    attempts = _failed(desired, found, now, draw) if is_early and now < floor else _forgotten(seen.status.attempts)
    return replace(found, status=replace(found.status, attempts=attempts))


def after_storing(attempts: Attempts | None) -> Attempts | None:
    """What is remembered of failures once a certificate is stored: nothing, unless that very thing may be the failure.

    Whether the new one is due at once as well is known when it has been scheduled.
    """
    return attempts if attempts is not None and attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE else None


def _forgotten(attempts: Attempts | None) -> Attempts | None:
    return None if attempts is not None and attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE else attempts


def _failed(desired: Desired, seen: Observed, now: datetime, draw: float) -> Attempts:
    before = seen.status.attempts
    is_same = before is not None and before.observed_generation == desired.generation
    failed = before.failed + 1 if before and is_same else 1
    finding = _due_at_once(seen)
    retry_at = now + next_attempt_after(failed, draw)
    certificate = seen.secret.certificate
    if certificate is not None and _last_call(certificate) > floor_of(certificate, seen, now):
        retry_at = min(retry_at, _last_call(certificate))  # what lives shorter than the back-off must not expire by it
    return Attempts(
        failed=failed,
        reason=finding.reason,
        message=finding.message,
        last_failure_at=now,
        next_attempt_at=retry_at,
        observed_generation=desired.generation,
        observed_renew=desired.renew_requested,
    )


def _due_at_once(seen: Observed) -> Finding:
    schedule = seen.schedule
    if schedule is not None and schedule.window_start is not None:
        why = f"the CA suggests to renew it from {_minute(schedule.window_start)}{_explained(schedule)}"
    else:
        why = "most of its lifetime is over by the clock here; check the clocks of the cluster's nodes and of the CA"
    return Finding(Reason.CERTIFICATE_DUE_AT_ONCE, f"The certificate was due for renewal when it was issued: {why}.")


def held_by_its_age(seen: Observed, now: datetime) -> str:
    """What to say of a certificate that would be renewed by now if it were older; empty where there is nothing to say.

    An ARI window that has begun may mean that the CA is about to revoke it (RFC 9773 section 4.2): a person decides.
    """
    certificate, schedule = seen.secret.certificate, seen.schedule
    if certificate is None or schedule is None or schedule.sha256 != certificate.sha256:
        return ""
    floor = floor_of(certificate, seen, now)
    until = f"It is too young to be renewed before {_minute(floor)}, unless mailtls.dev/renew requests it."
    attempts = seen.status.attempts
    if now < floor and attempts is not None and attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE:
        return f"{attempts.reason}: {attempts.message} {until}"
    if schedule.window_start is None or not schedule.window_start <= now < floor:
        return ""
    return f"The CA suggests to renew it from {_minute(schedule.window_start)}{_explained(schedule)}. {until}"


def _explained(schedule: Schedule) -> str:
    return f" (it explains at {schedule.explanation_url})" if schedule.explanation_url else ""


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
