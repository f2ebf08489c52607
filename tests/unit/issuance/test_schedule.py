"""When certificates are renewed and failures tried again."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.contexts import a_context, wanting
from builders.stories import DAY, NOW, certificate, desired, schedule, secret
from mailtls.api.spec import Desired, Renewal
from mailtls.context import Context
from mailtls.issuance.order_state import RenewalWindow
from mailtls.issuance.schedule import renewal_schedule, renews_in_its_window
from mailtls.kube.snapshot import ServingSecret
from mailtls.net.backoff import CHALLENGE, ISSUANCE

WINDOW = RenewalWindow(NOW + 40 * DAY, NOW + 42 * DAY, NOW + DAY, "https://ca.test/why")
draws = st.floats(0, 1, exclude_max=True)


@given(draws)
def test_window_of_the_ca_holds_the_drawn_time(draw: float) -> None:
    """RFC 9773: a uniform time within the window."""
    picked = renewal_schedule(certificate(), Renewal(), WINDOW, None, draw)
    assert WINDOW.start <= picked.renewal_at <= WINDOW.end
    assert picked.explanation_url == "https://ca.test/why"


def test_drawn_time_inside_the_window_is_kept() -> None:
    """A second look at the same window draws no second time."""
    kept = renewal_schedule(certificate(), Renewal(), WINDOW, None, 0.25)
    assert renewal_schedule(certificate(), Renewal(), WINDOW, kept, 0.75) == kept


def test_window_that_moved_draws_anew() -> None:
    """A CA that must revoke moves the window, and the client follows."""
    kept = renewal_schedule(certificate(), Renewal(), WINDOW, None, 0.25)
    moved = RenewalWindow(NOW - 2 * DAY, NOW - DAY, NOW + DAY)
    assert renewal_schedule(certificate(), Renewal(), moved, kept, 0.5).renewal_at < NOW


def test_window_before_the_certificate_is_ignored() -> None:
    """A window that starts with the certificate would renew for ever."""
    absurd = RenewalWindow(NOW - 20 * DAY, NOW - 15 * DAY, NOW + DAY)
    picked = renewal_schedule(certificate(), Renewal(), absurd, None, 0.5)
    assert picked.window_start is None
    assert picked.renewal_at > NOW


@given(draws)
def test_without_window_two_thirds_decide(draw: float) -> None:
    """90 days: renewed 30 days before the end, up to 1/50 of the lifetime earlier."""
    left = certificate().not_after - renewal_schedule(certificate(), Renewal(), None, None, draw).renewal_at
    assert 30 * DAY <= left <= 32 * DAY


def test_before_of_the_user_decides() -> None:
    """`before` is obeyed where it leaves room."""
    picked = renewal_schedule(certificate(), Renewal(before=10 * DAY), None, None, 0.0)
    assert 10 * DAY <= certificate().not_after - picked.renewal_at <= 12 * DAY


def test_before_longer_than_the_lifetime_falls_back() -> None:
    """`before: 2160h` on a 90-day certificate would renew it at once, for ever."""
    picked = renewal_schedule(certificate(), Renewal(before=90 * DAY), None, None, 0.0)
    assert 30 * DAY <= certificate().not_after - picked.renewal_at <= 32 * DAY


def test_time_for_another_certificate_is_not_kept() -> None:
    """Each certificate has a time of its own."""
    kept = schedule(sha256="00" * 32, renewal_at=NOW)
    assert renewal_schedule(certificate(), Renewal(), None, kept, 0.0).renewal_at != NOW


@given(st.integers(0, 50), draws)
def test_refused_proofs_are_tried_again_much_sooner(failed: int, draw: float) -> None:
    """Half a minute, doubling to ten: the CA hears nothing of it."""
    delay = CHALLENGE.after(failed, draw)
    assert timedelta(seconds=30) <= delay <= timedelta(minutes=12)
    assert delay <= CHALLENGE.after(failed + 1, draw) <= max(2 * delay, timedelta(minutes=12))


SUGGESTED = schedule(window_start=NOW - DAY, window_end=NOW + DAY)


@pytest.mark.parametrize(
    ("have", "wanted", "is_exempt"),
    [
        (a_context(schedule=SUGGESTED), desired(), True),
        (a_context(schedule=schedule(window_start=NOW + DAY, window_end=NOW + 2 * DAY)), desired(), False),
        (a_context(schedule=schedule(window_start=NOW - 2 * DAY, window_end=NOW - DAY)), desired(), False),
        (a_context(), desired(), False),
        (a_context(schedule=None), desired(), False),
        (a_context(schedule=replace(SUGGESTED, sha256="00" * 32)), desired(), False),
        (a_context(schedule=SUGGESTED), desired(renewal=Renewal(ari=False)), False),
        (a_context(schedule=SUGGESTED, secret=secret(acme_server="https://other.test")), desired(), False),
        (a_context(schedule=SUGGESTED), desired(dns_names=("new.example.test",)), False),
        (a_context(schedule=SUGGESTED), desired(dns_names=("new.example.test", "mx.example.test")), True),
        (a_context(schedule=SUGGESTED, secret=ServingSecret(exists=False)), desired(), False),
    ],
)
def test_only_renewals_that_the_authority_suggested_are_exempt(have: Context, wanted: Desired, is_exempt: bool) -> None:
    """The window is of this certificate, of this authority, and now; and a name stays."""
    assert renews_in_its_window(wanting(wanted, have), NOW) is is_exempt


@given(st.integers(0, 50), draws)
def test_attempts_grow_to_a_day(failed: int, draw: float) -> None:
    """1, 10, 100, 1000 minutes, then daily, jittered by up to a fifth."""
    delay = ISSUANCE.after(failed, draw)
    assert timedelta(minutes=1) <= delay <= timedelta(days=1.2)
    assert delay <= ISSUANCE.after(failed + 1, draw)
