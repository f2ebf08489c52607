"""Reads what an authority says of itself before any account is made (RFC 8555 section 7.1.1)."""

from dataclasses import dataclass
from typing import Any, Final

import requests

from mailtls.issuance.acme.messages import json_of
from mailtls.issuance.acme.problem import lacks_roots
from mailtls.issuance.acme.transport import Transport, Unfit
from mailtls.pki.roots import missing_roots
from mailtls.reasons.quoting import printable, shorten

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
