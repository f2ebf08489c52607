"""When certificates are renewed and failed attempts made again. The caller draws the random numbers."""

from dataclasses import replace
from datetime import datetime, timedelta

from mailtls.api.spec import Desired, Renewal
from mailtls.api.status import Attempts, Schedule
from mailtls.context import Context
from mailtls.issuance.order_state import RenewalWindow
from mailtls.net.backoff import ISSUANCE
from mailtls.pki.certificate import Certificate
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import format_minute


def renewal_schedule(
    certificate: Certificate, policy: Renewal, window: RenewalWindow | None, kept: Schedule | None, draw: float
) -> Schedule:
    """When to renew; `draw` is uniform in [0, 1).

    An ARI window that starts no later than the certificate itself is ignored: it would renew for ever (RFC 9773
    section 4.2 leaves that to the client). A time drawn before is kept while it lies inside the window.
    """
    if window and window.end > window.start > certificate.not_before:
        at = _kept_or_drawn(certificate, kept, window.start, window.end, draw)
        return Schedule(certificate.sha256, at, window.start, window.end, window.explanation_url)
    latest = _latest_without_window(certificate, policy)
    earliest = latest - (certificate.not_after - certificate.not_before) / 50
    return Schedule(certificate.sha256, _kept_or_drawn(certificate, kept, earliest, latest, draw))


def _kept_or_drawn(
    certificate: Certificate, kept: Schedule | None, earliest: datetime, latest: datetime, draw: float
) -> datetime:
    if kept and kept.sha256 == certificate.sha256 and earliest <= kept.renewal_at <= latest:
        return kept.renewal_at
    return earliest + (latest - earliest) * draw


def _latest_without_window(certificate: Certificate, policy: Renewal) -> datetime:
    """`before` expiry where that leaves a tenth of the lifetime to live, else at 2/3 of the lifetime."""
    lifetime = certificate.not_after - certificate.not_before
    return certificate.not_after - (policy.before if policy.before and policy.before < lifetime * 0.9 else lifetime / 3)


def renews_in_its_window(context: Context, now: datetime) -> bool:
    """Whether an order now is one that the CA itself suggested (RFC 9773 section 5), which CAs exempt from limits.

    It names the certificate that it replaces, comes within the window, and shares a name with it.
    """
    desired = context.desired
    certificate, schedule = context.snapshot.secret.certificate, context.issuance.schedule
    if certificate is None or schedule is None or schedule.sha256 != certificate.sha256:
        return False
    if not desired.renewal.ari or context.snapshot.secret.acme_server != desired.acme.server:
        return False
    window = (schedule.window_start, schedule.window_end)
    is_inside = window[0] is not None and window[1] is not None and window[0] <= now <= window[1]
    return is_inside and bool(certificate.names & frozenset(desired.dns_names))


SHORTEST_FLOOR = timedelta(hours=1)


def floor_of(certificate: Certificate, context: Context, now: datetime) -> datetime:
    """The earliest time of a renewal: max(1 h, a tenth of the lifetime) of age, but at most half of what is left.

    The age counts from notBefore, or from when the certificate was stored where that is known and later: CAs back-date,
    and a clock that is ahead takes a new certificate for an old one. A time of storing in the future is not believed.
    """
    lifetime = certificate.not_after - certificate.not_before
    begun_at = max(certificate.not_before, _stored_at(certificate, context, now) or certificate.not_before)
    age = min(max(SHORTEST_FLOOR, lifetime / 10), (certificate.not_after - begun_at) / 2)
    return begun_at + age


def _stored_at(certificate: Certificate, context: Context, now: datetime) -> datetime | None:
    mine = (each for each in context.snapshot.status.history if each.event is Reason.ISSUED)
    times = (each.at for each in mine if each.serial_number == certificate.serial_number and each.at <= now)
    return max(times, default=None)


def renewal_due_at(certificate: Certificate, context: Context, now: datetime) -> datetime:
    """When the renewal is due: as scheduled, with a twentieth of the lifetime left at last, never below the floor.

    A CA's window after that counts no more; a time drawn for another certificate does not count at all.
    """
    return max(_wanted_at(certificate, context.issuance.schedule), floor_of(certificate, context, now))


def _wanted_at(certificate: Certificate, schedule: Schedule | None) -> datetime:
    last_call = _last_call(certificate)
    is_its_own = schedule is not None and schedule.sha256 == certificate.sha256
    return min(schedule.renewal_at, last_call) if schedule is not None and is_its_own else last_call


def _last_call(certificate: Certificate) -> datetime:
    return certificate.not_after - (certificate.not_after - certificate.not_before) / 20


def scheduled(picked: Schedule, context: Context, now: datetime, draw: float) -> Context:
    """Take a schedule over, with its time put off to the floor; a new certificate that is due at once has failed.

    It counts as a failed attempt with the growing back-off, so that whatever the cause is, orders become fewer.
    """
    certificate = context.snapshot.secret.certificate
    if certificate is None:
        raise AssertionError("only a stored certificate is scheduled")
    is_new = context.issuance.schedule is None or context.issuance.schedule.sha256 != certificate.sha256
    is_early = _wanted_at(certificate, picked) <= now
    floor = floor_of(certificate, context, now)
    found = context.with_issuance(schedule=replace(picked, renewal_at=max(picked.renewal_at, floor)))
    if not is_new:
        return found
    attempts = _failed(found, now, draw) if is_early and now < floor else _forgotten(context.snapshot.status.attempts)
    return found.with_snapshot(status=replace(found.snapshot.status, attempts=attempts))


def after_storing(attempts: Attempts | None) -> Attempts | None:
    """What is remembered of failures once a certificate is stored: nothing, unless that very thing may be the failure.

    Whether the new one is due at once as well is known when it has been scheduled.
    """
    return attempts if attempts is not None and attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE else None


def _forgotten(attempts: Attempts | None) -> Attempts | None:
    return None if attempts is not None and attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE else attempts


def _failed(context: Context, now: datetime, draw: float) -> Attempts:
    failed = failures_in_a_row(context)
    retry_at = now + ISSUANCE.after(failed, draw)
    certificate = context.snapshot.secret.certificate
    if certificate is not None and _last_call(certificate) > floor_of(certificate, context, now):
        retry_at = min(retry_at, _last_call(certificate))  # what lives shorter than the back-off must not expire by it
    return failed_attempt(context.desired, failed, _due_at_once(context), now, retry_at)


def failures_in_a_row(context: Context) -> int:
    """Count one more failed attempt; those for another spec do not count."""
    before = context.snapshot.status.attempts
    is_same = before is not None and before.observed_generation == context.desired.generation
    return before.failed + 1 if before is not None and is_same else 1


def failed_attempt(
    desired: Desired, failed: int, finding: Finding, now: datetime, retry_at: datetime | None
) -> Attempts:
    """What is remembered of the `failed`-th attempt in a row; `retry_at` None: a person is needed."""
    return Attempts(
        failed=failed,
        reason=finding.reason,
        message=finding.message,
        last_failure_at=now,
        next_attempt_at=retry_at,
        observed_generation=desired.generation,
        observed_renew=desired.renew_requested,
    )


def _due_at_once(context: Context) -> Finding:
    schedule = context.issuance.schedule
    if schedule is not None and schedule.window_start is not None:
        why = f"the CA suggests to renew it from {format_minute(schedule.window_start)}{_explained(schedule)}"
    else:
        why = "most of its lifetime is over by the clock here; check the clocks of the cluster's nodes and of the CA"
    return Finding(Reason.CERTIFICATE_DUE_AT_ONCE, f"The certificate was due for renewal when it was issued: {why}.")


def held_by_its_age(context: Context, now: datetime) -> str:
    """What to say of a certificate that would be renewed by now if it were older; empty where there is nothing to say.

    An ARI window that has begun may mean that the CA is about to revoke it (RFC 9773 section 4.2): a person decides.
    """
    certificate, schedule = context.snapshot.secret.certificate, context.issuance.schedule
    if certificate is None or schedule is None or schedule.sha256 != certificate.sha256:
        return ""
    floor = floor_of(certificate, context, now)
    until = f"It is too young to be renewed before {format_minute(floor)}, unless mailtls.dev/renew requests it."
    attempts = context.snapshot.status.attempts
    if now < floor and attempts is not None and attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE:
        return f"{attempts.reason}: {attempts.message} {until}"
    if schedule.window_start is None or not schedule.window_start <= now < floor:
        return ""
    return f"The CA suggests to renew it from {format_minute(schedule.window_start)}{_explained(schedule)}. {until}"


def _explained(schedule: Schedule) -> str:
    return f" (it explains at {schedule.explanation_url})" if schedule.explanation_url else ""
