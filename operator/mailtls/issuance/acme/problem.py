"""Whatever goes wrong between this client and a CA, as one exception that a reconcile can act on."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import requests

from mailtls.issuance.acme.breaker import LeftAlone
from mailtls.issuance.acme.problem_document import Problem, Stage, judge
from mailtls.issuance.acme.transport import NotAdmitted, NotHttps, Unfit
from mailtls.pki.roots import missing_roots
from mailtls.reasons.quoting import printable, shorten
from mailtls.reasons.reason import Finding, Reason

# The longest that a CA's Retry-After holds anything back: CAs ask for a day though an order is ready in seconds, and
# one answer of a server in trouble must not stop all certificates for a week.
LONGEST_POLL_WAIT = timedelta(minutes=5)
LONGEST_REFUSAL_WAIT = timedelta(hours=1)
NEW_ACCOUNT = "Use another account key, so that a new account is made"
# `Account is not valid, has status "deactivated"` and its like; authorizations and orders can be deactivated too.
_GONE = re.compile(r"(?i)\baccount\b.{0,60}\b(deactivated|revoked|suspended|closed)\b|\bdeactivated account\b")
_LONGEST_MESSAGE = 1024  # as long as an Event's may be
_MOST_DIGITS = 9  # of seconds; int() refuses thousands of them with an exception


class AcmeProblem(Exception):
    """The CA, or the way to it, stands between a resource and its certificate.

    `retry_at` is what the CA asked for (None: the caller's own backoff). `transient`: an open order lives on, do not
    count a failed attempt against it. `needs_person`: trying again by itself changes nothing.
    """

    def __init__(
        self,
        finding: Finding,
        *,
        retry_at: datetime | None = None,
        transient: bool = False,
        needs_person: bool = False,
    ) -> None:
        # Names, URLs and statuses in it may be a CA's words.
        self.finding = replace(finding, message=shorten(printable(finding.message), _LONGEST_MESSAGE))
        super().__init__(self.finding.message)
        self.retry_at = retry_at
        self.transient, self.needs_person = transient, needs_person


class OrderGone(AcmeProblem):
    """The CA does not know the order, or not as this account's: forget its URL and order anew."""

    def __init__(self, url: str) -> None:
        message = f"The CA no longer knows the order {url}; a new one follows."
        super().__init__(Finding(Reason.ORDER_FAILED, message))


class Refused(Exception):
    """The CA answered a request with an error; carries the response, for its headers (RFC 8555 section 6.7)."""

    def __init__(self, problem: Problem, response: requests.Response) -> None:
        super().__init__(f"{response.status_code} {problem.type}: {problem.detail}")
        self.problem, self.response = problem, response

    @property
    def is_server_error(self) -> bool:
        """Whether the CA itself failed, so that the same request may succeed later."""
        return self.response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR


def retry_after(response: requests.Response, now: datetime, most: timedelta) -> datetime | None:
    """Return the time that Retry-After names (RFC 9110 section 10.2.3), `most` from now at the latest."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    named = now + timedelta(seconds=_whole(value)) if value.isdecimal() else http_date(value)
    return None if named is None else min(named, now + most)


def _whole(digits: str) -> int:
    return int(digits[-_MOST_DIGITS:]) if len(digits.lstrip("0")) <= _MOST_DIGITS else 10**_MOST_DIGITS


def http_date(value: str) -> datetime | None:
    """Read an HTTP date (RFC 9110 section 5.6.7), None where it is none."""
    try:
        named = parsedate_to_datetime(value)
        return named.replace(tzinfo=UTC) if named.tzinfo is None else named.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, LookupError):
        return None


def from_refusal(refused: Refused, stage: Stage, now: datetime, new_account: str = NEW_ACCOUNT) -> AcmeProblem:
    """Translate an error answer; what the CA wrote stands in the message.

    `new_account` says how another account is made, for when this one was deactivated.
    """
    if is_account_gone(refused):
        words = refused.problem.detail.strip().rstrip(".") or refused.problem.code
        message = f"{new_account}: the CA no longer takes this one ({shorten(printable(words), 400)})."
        # Without a problem document it may be the word of something before the CA, which passes.
        return AcmeProblem(Finding(Reason.ACCOUNT_REJECTED, message), needs_person=bool(refused.problem.type))
    verdict = judge(refused.problem, stage)
    finding, transient = verdict.finding, verdict.transient
    if refused.is_server_error and not transient:
        transient = True
        finding = Finding(
            Reason.ACME_UNREACHABLE,
            f"The CA has trouble of its own, the operator tries again: {refused.response.status_code}"
            f" {refused.problem.detail or refused.problem.code}.",
        )
    return AcmeProblem(
        finding,
        retry_at=retry_after(refused.response, now, LONGEST_REFUSAL_WAIT),
        transient=transient,
        needs_person=verdict.needs_person and not transient,
    )


def is_account_gone(refused: Refused) -> bool:
    """Whether the CA refuses whatever this account asks: with 401 (RFC 8555 section 7.3.6), or in its own words."""
    if refused.response.status_code == HTTPStatus.UNAUTHORIZED:
        return True
    problem = refused.problem
    return problem.code in {"unauthorized", "malformed", ""} and _GONE.search(problem.detail) is not None


def from_broken_connection(error: requests.RequestException, url: str, roots_pem: str = "") -> AcmeProblem:
    """Translate a connection that could not be made or broke; the order lives on (RFC 8555 has no say in it).

    `roots_pem` is the bundle that was trusted; without one it is said when the system has no roots to trust.
    """
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        missing = missing_roots() if not roots_pem.strip() and lacks_roots(error) else ""
        if missing:
            message = f"{missing} Until then {url} is not trusted, unless spec.acme.caBundle names its root."
            return AcmeProblem(Finding(Reason.ACME_TLS_UNTRUSTED, message), transient=True, needs_person=True)
        message = f"Put the root that signed {url} into spec.acme.caBundle: its certificate is not trusted here."
        return AcmeProblem(Finding(Reason.ACME_TLS_UNTRUSTED, message), transient=True, needs_person=True)
    if isinstance(error, NotAdmitted):
        message = (
            f"Let {url} be at an address that the operator may connect to, or have the installation list its network in"
            f" connections.allowedNetworks: {error}."
        )
        return AcmeProblem(Finding(Reason.ADDRESS_REFUSED, message), transient=True, needs_person=True)
    if isinstance(error, NotHttps):
        message = f"Ask the operator of the ACME server for https everywhere (RFC 8555 section 6.1): {error}."
        return AcmeProblem(Finding(Reason.ACME_INSECURE, message))
    if isinstance(error, LeftAlone):
        message = f"Let the operator reach {url}: {error}, or when a renewal is requested."
        return AcmeProblem(Finding(Reason.ACME_UNREACHABLE, message), retry_at=error.next_try_at, transient=True)
    message = f"Let the operator reach {url}: {cause_of(error)}."
    return AcmeProblem(Finding(Reason.ACME_UNREACHABLE, message), transient=True)


def busy(url: str) -> AcmeProblem:
    """Say that another resource asks the same of the CA at this moment, and has no answer yet."""
    message = f"Waits for {url}, which another resource has asked and which has not answered yet."
    return AcmeProblem(Finding(Reason.ACME_UNREACHABLE, message), transient=True)


def lacks_roots(error: Exception) -> bool:
    """Whether a certificate was refused for its chain alone: other roots than ours might do."""
    return any(sign in str(error) for sign in ("unable to get", "unable to verify", "certificate in certificate chain"))


def not_acme(url: str) -> AcmeProblem:
    """Say that something other than an ACME server answered, such as a proxy's page."""
    message = f"Check that {url} is an ACME directory and no proxy stands before it: the answer is not ACME's."
    return AcmeProblem(Finding(Reason.ACME_UNREACHABLE, message), transient=True)


def cause_of(error: requests.RequestException) -> str:
    """Say in a few words why there was no answer."""
    if isinstance(error, Unfit):
        return str(error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    text = str(error)
    known = {
        "NameResolutionError": "its name does not resolve",
        "Connection refused": "the connection is refused",
        "Network is unreachable": "the network is unreachable",
        "No route to host": "there is no route to it",
    }
    return next((meaning for sign, meaning in known.items() if sign in text), "the connection broke")
