"""From when on a certificate may be renewed because of its age, and what is said of one that is due at once."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.contexts import a_context, next_step, wanting
from builders.stories import DAY, NOW, attempts, certificate, desired, schedule, secret, staged
from mailtls.api.spec import Renewal
from mailtls.api.status import HistoryEntry, Schedule, Status
from mailtls.context import Context
from mailtls.issuance import storage as store
from mailtls.issuance.conditions import issued
from mailtls.issuance.decide import CloseOrder, ResumeOrder, StageKey
from mailtls.issuance.order_state import RenewalWindow
from mailtls.issuance.policy import is_held_back, issuance_is_due
from mailtls.issuance.schedule import floor_of, renewal_due_at, renewal_schedule, scheduled
from mailtls.kube.snapshot import ServingSecret
from mailtls.net.backoff import ISSUANCE
from mailtls.pki.certificate import Certificate
from mailtls.reasons.reason import Reason
from mailtls.step import Rest

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
PAST = schedule(renewal_at=NOW - 2 * HOUR, window_start=NOW - 3 * HOUR, window_end=NOW - HOUR)


def issued_at(at: datetime, serial_number: str = "0a") -> Status:
    """A history that tells when the certificate was stored."""
    return Status(history=(HistoryEntry(at, Reason.ISSUED, "Stored.", serial_number),))


def living(lifetime: timedelta, age: timedelta = timedelta()) -> Certificate:
    """A certificate of a lifetime and an age."""
    return certificate(not_before=NOW - age, not_after=NOW - age + lifetime)


@pytest.mark.parametrize(
    ("lifetime", "floor"),
    [(90 * DAY, 9 * DAY), (6 * DAY, 14.4 * HOUR), (5 * HOUR, HOUR), (90 * timedelta(minutes=1), 0.75 * HOUR)],
)
def test_floor_is_an_hour_or_a_tenth_of_the_life_and_at_most_half(lifetime: timedelta, floor: timedelta) -> None:
    """A tenth for most, an hour for those of hours, and half of the life of what lives shorter than two hours."""
    assert floor_of(living(lifetime), a_context(), NOW) == NOW + floor


def test_time_of_storing_counts_where_it_is_later() -> None:
    """CAs back-date by an hour, which is all that the floor of a short certificate has."""
    young = living(5 * HOUR, age=HOUR)
    assert floor_of(young, a_context(status=issued_at(NOW)), NOW) == NOW + HOUR
    assert floor_of(young, a_context(status=issued_at(NOW, "0b")), NOW) == NOW
    assert floor_of(young, a_context(status=issued_at(NOW + DAY)), NOW) == NOW, "a clock that was ahead then"


def test_young_certificate_is_not_renewed_whatever_the_authority_suggests() -> None:
    """The pass wakes at the floor, and then it is due."""
    young = living(90 * DAY, age=HOUR)
    have = a_context(secret=secret(certificate=young), schedule=PAST)
    floor = young.not_before + 9 * DAY
    assert issuance_is_due(have, NOW) is None
    assert next_step(have, NOW) == Rest(floor)
    assert issuance_is_due(have, floor - SECOND) is None
    due = issuance_is_due(have, floor)
    assert due is not None
    assert due.reason is Reason.RENEWAL_DUE


@pytest.mark.parametrize("earlier", [None, schedule(renewal_at=NOW + DAY)], ids=["none", "put off by a rollback"])
def test_renewal_that_is_due_by_a_time_unreported_is_reported_before_its_order(earlier: Schedule | None) -> None:
    """A process that dies after it has ordered leaves one behind that finds its order wanted, and does not close it."""
    drawn = schedule(renewal_at=NOW - HOUR)
    have = a_context(schedule=drawn, reported=Status(schedule=earlier))
    step = next_step(have, NOW)
    assert isinstance(step, StageKey)
    assert step.is_reported_before(have, timedelta())
    known = have.reported({}, Status(schedule=drawn))
    assert not step.is_reported_before(known, timedelta()), "one report is enough"
    ordered = staged(order_url="https://ca.test/order/1")
    assert isinstance(next_step(a_context(schedule=known.snapshot.status.schedule, staged=ordered), NOW), ResumeOrder)
    assert isinstance(next_step(a_context(schedule=earlier, staged=ordered), NOW), CloseOrder), "what it would do else"


def test_person_may_renew_what_is_young() -> None:
    """The annotation asks, and nothing holds it back."""
    have = a_context(secret=secret(certificate=living(90 * DAY)), schedule=PAST)
    due = issuance_is_due(wanting(desired(renew_requested="1"), have), NOW)
    assert due is not None
    assert due.reason is Reason.RENEWAL_REQUESTED


def test_schedule_is_put_off_to_the_floor() -> None:
    """Nobody is alarmed about a renewal that is overdue on purpose."""
    young = living(90 * DAY)
    have = a_context(secret=secret(certificate=young))
    found = scheduled(PAST, have, NOW, 0.0).issuance.schedule
    assert found is not None
    assert found.renewal_at == young.not_before + 9 * DAY


def test_issued_and_due_at_once_is_a_failed_attempt() -> None:
    """It is counted on from the one before, and the certificate's condition says why and until when."""
    young = living(90 * DAY)
    new = a_context(secret=secret(certificate=young), schedule=None)
    first = scheduled(PAST, new, NOW, 0.0)
    assert first.snapshot.status.attempts is not None
    assert (first.snapshot.status.attempts.failed, first.snapshot.status.attempts.reason) == (
        1,
        Reason.CERTIFICATE_DUE_AT_ONCE,
    )
    stored = store.noted(first.with_issuance(schedule=None), NOW)
    second = scheduled(PAST, stored, NOW, 0.0)
    assert second.snapshot.status.attempts is not None
    assert second.snapshot.status.attempts.next_attempt_at == NOW + ISSUANCE.after(2)
    said = issued(second, NOW)
    assert said.reason is Reason.ISSUED
    assert "the CA suggests to renew it from 2026-05-01 09:00 UTC" in said.message
    assert "before 2026-05-10 12:00 UTC, unless mailtls.dev/renew requests it" in said.message


@pytest.mark.parametrize("lifetime", [2 * HOUR, 6 * HOUR, 24 * HOUR, 6 * DAY])
def test_back_off_of_what_is_due_at_once_lets_no_certificate_expire(lifetime: timedelta) -> None:
    """A CA whose windows are all in the past has its certificates renewed seldom, and still before they expire."""
    young = living(lifetime)
    failed = attempts(reason=Reason.CERTIFICATE_DUE_AT_ONCE, failed=9)
    new = a_context(secret=secret(certificate=young), schedule=None, status=Status(attempts=failed))
    due = scheduled(PAST, new, NOW, 0.9)
    held_until = next(
        at
        for at in (NOW + lifetime * part / 100 for part in range(200))
        if issuance_is_due(due, at) and not is_held_back(due, at)
    )
    assert NOW + lifetime / 10 <= held_until < young.not_after


def test_certificate_that_is_not_due_ends_the_count() -> None:
    """The next one that is due at once begins with a minute again."""
    failed = attempts(reason=Reason.CERTIFICATE_DUE_AT_ONCE)
    new = a_context(schedule=None, status=Status(attempts=failed))
    assert scheduled(schedule(), new, NOW, 0.0).snapshot.status.attempts is None
    other = a_context(schedule=None, status=Status(attempts=attempts()))
    assert scheduled(schedule(), other, NOW, 0.0).snapshot.status.attempts == attempts()


def test_old_certificate_that_is_met_for_the_first_time_has_not_failed() -> None:
    """One that was taken over when its renewal was due is renewed at once, and nothing is counted."""
    old = living(90 * DAY, age=80 * DAY)
    met = scheduled(PAST, a_context(secret=secret(certificate=old), schedule=None), NOW, 0.0)
    assert met.snapshot.status.attempts is None
    assert issuance_is_due(met, NOW) is not None


def test_window_that_moves_later_is_no_failure_but_is_said() -> None:
    """A CA that is about to revoke moves the window: a person decides before the floor."""
    young = living(90 * DAY, age=DAY)
    have = scheduled(PAST, a_context(secret=secret(certificate=young)), NOW, 0.0)
    assert have.snapshot.status.attempts is None
    assert "The CA suggests to renew it from" in issued(have, NOW).message
    later = replace(PAST, window_start=NOW + DAY, window_end=NOW + 2 * DAY)
    assert "suggests" not in issued(have.with_issuance(schedule=later), NOW).message


def test_failure_by_age_holds_back_nothing_but_renewals() -> None:
    """A Secret that somebody deleted is made again at once."""
    failed = attempts(reason=Reason.CERTIFICATE_DUE_AT_ONCE)
    gone = a_context(secret=ServingSecret(exists=False), status=Status(attempts=failed))
    assert not is_held_back(gone, NOW)
    assert issued(gone, NOW).reason is Reason.ISSUING
    aged = living(90 * DAY, age=80 * DAY)
    old = a_context(secret=secret(certificate=aged), status=Status(attempts=failed), schedule=PAST)
    assert is_held_back(old, NOW)
    assert "Its replacement fails (CertificateDueAtOnce)" in issued(old, NOW).message
    assert "Its replacement is on the way." in issued(old, NOW + HOUR).message
    assert not is_held_back(old, NOW + HOUR)


@given(
    lifetime=st.timedeltas(timedelta(minutes=10), 400 * DAY),
    backdated=st.timedeltas(timedelta(), 2 * HOUR),
    ahead=st.floats(0, 0.99),
    window=st.none() | st.tuples(st.timedeltas(-500 * DAY, 500 * DAY), st.timedeltas(SECOND, 10 * DAY)),
)
def test_orders_never_follow_each_other_at_once(
    lifetime: timedelta, backdated: timedelta, ahead: float, window: tuple[timedelta, timedelta] | None
) -> None:
    """Whatever the CA suggests and the clock says: between two orders lies an hour, or a third of what was left."""
    clock_is_ahead = lifetime * ahead
    have, now, orders = a_context(schedule=None), NOW, []
    for serial in range(8):
        begun_at = now - clock_is_ahead - backdated
        fresh = certificate(
            not_before=begun_at, not_after=begun_at + lifetime, serial_number=str(serial), sha256=f"{serial:064}"
        )
        if fresh.not_after <= now:
            return  # no such certificate is stored
        have = store.noted(have.with_snapshot(secret=secret(certificate=fresh)), now)
        suggested = RenewalWindow(now + window[0], now + sum(window, timedelta()), now) if window else None
        picked = renewal_schedule(fresh, Renewal(), suggested, have.issuance.schedule, 0.5)
        have = scheduled(picked, have, now, 0.0)
        orders.append(now)
        left = fresh.not_after - now
        now = _next_order(have, now)
        assert now - orders[-1] >= min(HOUR, left / 3) - SECOND


def _next_order(have: Context, now: datetime) -> datetime:
    """When the next order is placed, as plan and back-off have it."""
    certificate = have.snapshot.secret.certificate
    assert certificate is not None
    due = renewal_due_at(certificate, have, now)
    failed = have.snapshot.status.attempts
    return max(due, failed.next_attempt_at) if failed is not None and failed.next_attempt_at is not None else due
