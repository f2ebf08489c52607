"""TSIG keys (RFC 8945), and in a postmaster's words why a DNS server refused an update (RFC 2136 section 2.2).

A key is read out of a Secret: bare base64, or the file that `tsig-keygen` writes.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.name
import dns.rcode
import dns.tsig

from mailtls.api.spec import DataRef
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.propagation import Location
from mailtls.reasons.reason import Finding, Reason

_BUSY: Final = frozenset({dns.rcode.SERVFAIL})
# key "mailtls." { algorithm hmac-sha256; secret "..."; };
_FILE: Final = re.compile(r'\s*key\s+"?(?P<name>[^"\s{]+)"?\s*\{(?P<body>[^}]*)\}\s*;?\s*', re.ASCII)
_SECRET: Final = re.compile(r'\bsecret\s+"?(?P<secret>[A-Za-z0-9+/=]+)"?\s*;', re.ASCII)
_ALGORITHM: Final = re.compile(r'\balgorithm\s+"?(?P<algorithm>[A-Za-z0-9-]+)"?\s*;', re.ASCII)


@dataclass(frozen=True, slots=True)
class Rfc2136:
    """A DNS server that takes dynamic updates (RFC 2136) signed with TSIG (RFC 8945).

    `server` is host or host:port (default 53). `zone` None: found by walking the SOA records.
    """

    server: str
    tsig_key_name: str
    tsig_secret: DataRef
    tsig_algorithm: str = "hmac-sha256"
    zone: str | None = None
    ttl: int = 60  # seconds

    name = "rfc2136"

    @property
    def references(self) -> tuple[DataRef, ...]:
        """The Secret of the key."""
        return (self.tsig_secret,)


class HiddenKey(dns.tsig.Key):
    """A key that does not show its secret when it is printed, as the library's does."""

    def __repr__(self) -> str:
        return f"<TSIG key {self.name}, {self.algorithm}>"


def tsig_key(settings: Rfc2136, content: bytes) -> dns.tsig.Key:
    """Return the key that `settings` names, with `content` as its secret; no part of it is ever in a message.

    Raises `ChallengeProblem` (CredentialsMissing) that says how the Secret must be written.
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


def _unusable(settings: Rfc2136, fault: str) -> ChallengeProblem:
    ref = settings.tsig_secret
    message = f"The entry {ref.key} of the {ref.kind} {ref.namespace}/{ref.name} {fault}."
    return ChallengeProblem(Finding(Reason.CREDENTIALS_MISSING, message), transient=True)  # until a person corrects it


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused update: who was asked with which key, and where the record should have gone."""

    settings: Rfc2136
    location: Location

    def by_rcode(self, rcode: dns.rcode.Rcode) -> ChallengeProblem:
        """Translate the answer's code."""
        if rcode in _BUSY:
            cause = f"Look into the log of the DNS server {self.settings.server}: it failed to update zone {self._zone}"
            return ChallengeProblem(Finding(Reason.DNS_UNREACHABLE, f"{cause}."), transient=True)
        return self._refused(f"{self._fix(rcode)} (the server answered {dns.rcode.to_text(rcode)})")

    def by_signature(self, error: dns.exception.DNSException) -> ChallengeProblem:
        """Translate what TSIG says; a wrong key and a wrong algorithm look alike to a server."""
        match error:
            case dns.tsig.PeerBadKey() | dns.tsig.BadKey() | dns.tsig.BadAlgorithm():
                fix = f"no key {self._key} with algorithm {self.settings.tsig_algorithm} is known there (BADKEY)"
                return self._refused(f"Make tsigKeyName and tsigAlgorithm those of {self.settings.server}: {fix}")
            case dns.tsig.PeerBadTime() | dns.tsig.BadTime():
                fix = f"set the clocks of this cluster's nodes and of {self.settings.server}"
                return self._refused(f"The times differ by more than five minutes, so {fix} (BADTIME)")
        ref = self.settings.tsig_secret
        fix = f"put the secret that {self.settings.server} has for the key {self._key} into"
        code = "BADTRUNC" if isinstance(error, dns.tsig.PeerBadTruncation) else "BADSIG"
        return self._refused(
            f"The signature does not match, so {fix} the {ref.kind} {ref.name}, entry {ref.key} ({code})"
        )

    def unsigned(self) -> ChallengeProblem:
        """Translate a success that nobody signed: anybody on the way can have sent it."""
        return self._refused(
            f"Let {self.settings.server} verify the key {self._key}: it answered without a signature,"
            " so nothing shows that the update was made"
        )

    def _fix(self, rcode: dns.rcode.Rcode) -> str:
        owner, zone, server = self.location.owner, self._zone, self.settings.server
        match rcode:
            case dns.rcode.NOTAUTH:
                return f"Name a primary DNS server of the zone {zone}: {server} says it is none"
            case dns.rcode.NOTZONE:
                return f"Name the zone that holds {owner}: {server} says it is not {zone}"
            case dns.rcode.NOTIMP | dns.rcode.FORMERR:
                return f"Use a DNS server that takes dynamic updates (RFC 2136): {server} does not"
        policy = f"update-policy {{ grant {self._key} name {owner} TXT; }};"
        return f"Let the key {self._key} change the TXT records of {owner} in the zone {zone} on {server}: {policy}"

    @property
    def _key(self) -> str:
        return self.settings.tsig_key_name

    @property
    def _zone(self) -> str:
        return self.location.zone.to_text(omit_final_dot=True)

    @staticmethod
    def _refused(message: str) -> ChallengeProblem:
        return ChallengeProblem(Finding(Reason.DNS_UPDATE_REFUSED, f"{message}."), transient=False)
