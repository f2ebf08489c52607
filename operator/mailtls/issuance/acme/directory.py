"""The directory of a CA (RFC 8555 section 7.1.1): what it says of itself, before any account is made and later."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import requests
from acme import messages

from mailtls.issuance.acme.messages import json_of
from mailtls.issuance.acme.problem import AcmeProblem, lacks_roots
from mailtls.issuance.acme.transport import Transport, Unfit, require_https
from mailtls.pki.roots import missing_roots
from mailtls.reasons.quoting import printable, shorten
from mailtls.reasons.reason import Finding, Reason

# RFC 8555 section 9.7.5, RFC 9773 section 7.3
_RESOURCES: Final = ("newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange", "renewalInfo")
_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity"}
_MOST_NAMES: Final = 20
_LONGEST: Final = 400  # characters of a failure


@dataclass(frozen=True, slots=True)
class Directory:
    """What the directory says; `failure` is why there is none."""

    caa_identities: tuple[str, ...] = ()
    needs_external_account: bool = False
    profiles: tuple[str, ...] = ()
    failure: str = ""


def read_directory(url: str, roots_pem: str = "") -> Directory:
    """Ask for the directory; never raises for what the server does."""
    try:
        transport = Transport(url, roots_pem)
    except ValueError as error:
        return Directory(failure=f"the bundle of roots for it cannot be used: {error}")
    try:
        answer = transport("GET", url, _HEADERS)
        answer.raise_for_status()
    except requests.RequestException as error:
        missing = missing_roots() if not roots_pem.strip() and lacks_roots(error) else ""
        return Directory(failure=shorten(" ".join(filter(None, (_words(error), missing))), _LONGEST))
    finally:
        transport.close()
    body = json_of(answer.text)
    meta = body.get("meta") if isinstance(body, dict) else None
    if not isinstance(body, dict) or "newOrder" not in body:
        return Directory(failure="what it answers is no ACME directory")
    meta = meta if isinstance(meta, dict) else {}
    profiles = meta.get("profiles")
    return Directory(
        caa_identities=tuple(each.lower() for each in _texts(meta.get("caaIdentities"))),
        needs_external_account=meta.get("externalAccountRequired") is True,
        profiles=tuple(_texts(list(profiles))) if isinstance(profiles, dict) else (),
    )


def _texts(value: Any) -> list[str]:
    items = value[:_MOST_NAMES] if isinstance(value, list) else []
    return [shorten(printable(item)) for item in items if isinstance(item, str)]


def _words(error: Exception) -> str:
    match error:
        case Unfit():
            return str(error)
        case requests.exceptions.SSLError():
            return "its certificate is not trusted here"
        case requests.Timeout():
            return "no answer in time"
        case requests.HTTPError(response=requests.Response() as response):
            return f"it answers {response.status_code}"
        case requests.ConnectionError():
            return "no connection"
    return f"an answer that cannot be read ({type(error).__name__})"


def checked_directory(body: dict[str, Any]) -> messages.Directory:
    """Take a directory whose URLs are all of https; raises `NotHttps`, and what odd JSON makes the library raise."""
    for url in (body[name] for name in _RESOURCES if name in body):
        require_https(str(url))
    meta = body.get("meta")
    profiles = meta.get("profiles") if isinstance(meta, dict) else None
    if profiles is not None and not isinstance(profiles, dict):
        raise TypeError("profiles have names and descriptions")
    return messages.Directory.from_json(body)


def refuse_unknown_profile(profile: str | None, offered: Callable[[bool], Collection[str]]) -> None:
    """Raise `AcmeProblem` for a profile that the CA does not offer, be it that its directory is read again (`True`)."""
    if profile is None or profile in offered(False) or profile in offered(True):
        return
    known = ", ".join(sorted(offered(False)))
    advice = f"Set spec.acme.profile to one of {known}" if known else "Remove spec.acme.profile"
    message = f'{advice}: the CA offers no profile "{profile}".'
    raise AcmeProblem(Finding(Reason.PROFILE_UNKNOWN, message), needs_person=True)
