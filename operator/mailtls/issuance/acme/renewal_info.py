"""Asks a CA when to renew a certificate (RFC 9773)."""

import base64
from datetime import timedelta

import requests
from cryptography import x509

from mailtls.issuance.acme import messages as acme_messages
from mailtls.issuance.acme import problem as acme_problem
from mailtls.issuance.acme.network import RequestKind
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.acme.session import Session
from mailtls.issuance.acme.transport import NotHttps, require_https
from mailtls.issuance.order_state import RenewalWindow
from mailtls.reasons.quoting import printable, shorten
from mailtls.reasons.reason import Finding, Reason

# It is asked again within these bounds, whatever the CA says (RFC 9773 section 4.3.2).
_SOONEST, _LATEST, _USUAL = timedelta(minutes=1), timedelta(days=1), timedelta(hours=6)
_LONGEST_URL = 300


def certificate_id(leaf: x509.Certificate) -> str | None:
    """Name a certificate as RFC 9773 section 4.1 does, None when it has no Authority Key Identifier."""
    try:
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if authority is None:
        return None
    # DER INTEGER: big endian with a leading zero byte where the first bit is set.
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    return f"{_base64url(authority)}.{_base64url(serial)}"


def renewal_info_url(session: Session, leaf: x509.Certificate) -> str | None:
    """Return where to ask for a certificate, None when the CA has no renewal information."""
    base, name = session.directory().to_partial_json().get("renewalInfo"), certificate_id(leaf)
    return f"{str(base).rstrip('/')}/{name}" if base and name else None


def ask(session: Session, leaf: x509.Certificate) -> RenewalWindow | None:
    """Ask for the window; None when the CA has none, or after expiry (section 4.3).

    Raises a transient `AcmeProblem` for no answer or one that is none; `retry_at` says when to ask again, None by
    the caller's backoff.
    """
    url = renewal_info_url(session, leaf)
    if url is None or leaf.not_valid_after_utc <= session.now():
        return None
    try:
        response = session.get(RequestKind.RENEWAL_INFO, url)
    except AcmeProblem as problem:
        if problem.transient:
            raise
        raise _no_answer(session, problem.finding.message) from problem
    return _read(session, response)


def _read(session: Session, response: requests.Response) -> RenewalWindow:
    try:
        body = acme_messages.json_of(response.text)
        start, end = (acme_messages.read_time(body["suggestedWindow"][side]) for side in ("start", "end"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_answer(session, "it is not what RFC 9773 describes") from error
    if end <= start:
        raise _no_answer(session, "its end is not after its start")
    now = session.now()
    asked = acme_problem.retry_after(response, now, _LATEST) or now + _USUAL
    again_at = min(max(asked, now + _SOONEST), now + _LATEST)
    return RenewalWindow(start, end, again_at, _explanation(body.get("explanationURL")))


def _explanation(url: object) -> str | None:
    """Take a URL that people may follow (RFC 9773 section 4.2); it stands in messages."""
    try:
        require_https(str(url))
    except NotHttps:
        return None
    return shorten(printable(str(url)), _LONGEST_URL)


def _no_answer(session: Session, cause: str) -> AcmeProblem:
    message = f"The CA's renewal window is unusable, renewal goes by the certificate's lifetime: {cause.rstrip('.')}."
    return AcmeProblem(Finding(Reason.ACME_UNREACHABLE, message), retry_at=session.now() + _USUAL, transient=True)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
