"""Schedule: pick times. Randomness comes in as a number drawn by the caller, so that a decision can be repeated."""

from datetime import datetime, timedelta

from mailtls.model.certificate import Certificate
from mailtls.model.observed import Observed
from mailtls.model.order import RenewalWindow
from mailtls.model.spec import Desired, Renewal
from mailtls.model.status import Schedule

MINUTE = timedelta(minutes=1)
RETRIES_AFTER = (MINUTE, 10 * MINUTE, 100 * MINUTE, timedelta(days=1))
PROOF_RETRIES_AFTER = (MINUTE / 2, MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 10 * MINUTE)
ROLL_RETRIES_AFTER = (timedelta(seconds=15), MINUTE, 5 * MINUTE, 30 * MINUTE)
FIRST_PROBE_RETRY, FIRST_KNOCK = timedelta(seconds=5), timedelta(seconds=1)
LONGEST_PROBE_RETRY = 5 * MINUTE


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


def renews_in_its_window(desired: Desired, seen: Observed, now: datetime) -> bool:
    """Whether an order now is one that the CA itself suggested (RFC 9773 section 5), which CAs exempt from limits.

    It names the certificate that it replaces, comes within the window, and shares a name with it.
    """
    certificate, schedule = seen.secret.certificate, seen.schedule
    if certificate is None or schedule is None or schedule.sha256 != certificate.sha256:
        return False
    if not desired.renewal.ari or seen.secret.acme_server != desired.acme.server:
        return False
    window = (schedule.window_start, schedule.window_end)
    is_inside = window[0] is not None and window[1] is not None and window[0] <= now <= window[1]
    return is_inside and bool(certificate.names & frozenset(desired.dns_names))


def next_attempt_after(failed: int, draw: float) -> timedelta:
    """How long to wait after the `failed`-th failure in a row (1 or more): growing, then daily, jittered by 20 %."""
    return _delay(RETRIES_AFTER, failed, draw)


def next_presentation_after(failed: int, draw: float) -> timedelta:
    """How long to wait before a challenge response that was refused is published again: the CA hears nothing of it."""
    return _delay(PROOF_RETRIES_AFTER, failed, draw)


def next_roll_after(failed: int, draw: float) -> timedelta:
    """How long to wait before pods are told again."""
    return _delay(ROLL_RETRIES_AFTER, failed, draw)


def next_probe_after(failing_for: timedelta) -> timedelta:
    """How long to wait before an endpoint that fails for so long is probed again, long before the interval.

    It follows the time that passed and not the number of probes: events of a pod that starts cause many of them.
    """
    return min(max(FIRST_PROBE_RETRY, 2 * failing_for), LONGEST_PROBE_RETRY)


def next_knock_after(refused_for: timedelta) -> timedelta:
    """The same for a port that nobody listens on: asking costs the server nothing, and it may just be starting.

    Whatever time it takes to start, it is found out within half as long again.
    """
    return min(max(FIRST_KNOCK, refused_for / 2), LONGEST_PROBE_RETRY)


def _delay(table: tuple[timedelta, ...], failed: int, draw: float) -> timedelta:
    return table[min(max(failed, 1), len(table)) - 1] * (1 + 0.2 * draw)
