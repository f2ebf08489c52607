"""Reads a TSIG key (RFC 8945) out of a Secret: bare base64, or the file that `tsig-keygen` writes."""

import base64
import binascii
import re
from typing import Final

import dns.name
import dns.tsig

from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import Rfc2136
from mailtls.world.challenges.proofs import ProofProblem

# key "mailtls." { algorithm hmac-sha256; secret "..."; };
_FILE: Final = re.compile(r'\s*key\s+"?(?P<name>[^"\s{]+)"?\s*\{(?P<body>[^}]*)\}\s*;?\s*', re.ASCII)
_SECRET: Final = re.compile(r'\bsecret\s+"?(?P<secret>[A-Za-z0-9+/=]+)"?\s*;', re.ASCII)
_ALGORITHM: Final = re.compile(r'\balgorithm\s+"?(?P<algorithm>[A-Za-z0-9-]+)"?\s*;', re.ASCII)


class HiddenKey(dns.tsig.Key):
    """A key that does not show its secret when it is printed, as the library's does."""

    def __repr__(self) -> str:
        return f"<TSIG key {self.name}, {self.algorithm}>"


def tsig_key(settings: Rfc2136, content: bytes) -> dns.tsig.Key:
    """Return the key that `settings` names, with `content` as its secret; no part of it is ever in a message.

    Raises `ProofProblem` (CredentialsMissing) that says how the Secret must be written.
    """
    try:
        text = content.decode("ascii")
        if "{" in text:
            text = _from_file(text, settings)
        secret = base64.b64decode("".join(text.split()), validate=True)
    except (UnicodeDecodeError, binascii.Error):
        raise _unusable(settings, "holds no base64; write what tsig-keygen prints between the quotes") from None
    if not secret:
        raise _unusable(settings, "is empty; write what tsig-keygen prints between the quotes")
    return HiddenKey(_absolute(settings.tsig_key_name), secret, _absolute(settings.tsig_algorithm))


def _from_file(text: str, settings: Rfc2136) -> str:
    file = _FILE.fullmatch(text)
    found = _SECRET.search(file["body"]) if file else None
    if file is None or found is None:
        raise _unusable(settings, "is no key file of BIND; write the base64 of the key alone")
    _must_agree("tsigKeyName", settings.tsig_key_name, file["name"], settings)
    algorithm = _ALGORITHM.search(file["body"])
    _must_agree("tsigAlgorithm", settings.tsig_algorithm, algorithm and algorithm["algorithm"], settings)
    return found["secret"]


def _must_agree(field: str, wanted: str, written: str | None, settings: Rfc2136) -> None:
    if written is not None and _absolute(written) != _absolute(wanted):
        raise _unusable(settings, f"is the key file of {written}, but {field} is {wanted}; make them agree")


def _absolute(text: str) -> dns.name.Name:
    return dns.name.from_text(text)  # relative to the root, and compared without case


def _unusable(settings: Rfc2136, fault: str) -> ProofProblem:
    ref = settings.tsig_secret
    message = f"The entry {ref.key} of the {ref.kind} {ref.namespace}/{ref.name} {fault}."
    return ProofProblem(Finding(Reason.CREDENTIALS_MISSING, message), transient=True)  # until a person mends it
