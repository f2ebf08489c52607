"""Says in a postmaster's words why a DNS server refused an update (RFC 2136 section 2.2, RFC 8945 section 5.2)."""

from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.rcode
import dns.tsig

from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import Rfc2136
from mailtls.world.challenges.dns_place import Place
from mailtls.world.challenges.proofs import ProofProblem

_BUSY: Final = frozenset({dns.rcode.SERVFAIL})


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused update: who was asked with which key, and where the record should have gone."""

    settings: Rfc2136
    place: Place

    def by_rcode(self, rcode: dns.rcode.Rcode) -> ProofProblem:
        """Translate the answer's code."""
        if rcode in _BUSY:
            cause = f"Look into the log of the DNS server {self.settings.server}: it failed to update zone {self._zone}"
            return ProofProblem(Finding(Reason.DNS_UNREACHABLE, f"{cause}."), transient=True)
        return self._refused(f"{self._fix(rcode)} (the server answered {dns.rcode.to_text(rcode)})")

    def by_signature(self, error: dns.exception.DNSException) -> ProofProblem:
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

    def unsigned(self) -> ProofProblem:
        """Translate a success that nobody signed: anybody on the way can have sent it."""
        return self._refused(
            f"Let {self.settings.server} verify the key {self._key}: it answered without a signature,"
            " so nothing proves that the update was made"
        )

    def _fix(self, rcode: dns.rcode.Rcode) -> str:
        owner, zone, server = self.place.owner, self._zone, self.settings.server
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
        return self.place.zone.to_text(omit_final_dot=True)

    @staticmethod
    def _refused(message: str) -> ProofProblem:
        return ProofProblem(Finding(Reason.DNS_UPDATE_REFUSED, f"{message}."), transient=False)
