"""What stands behind a finding of a probe, quoted and bounded part by part, so that a long name hides no other.

A check says itself what was seen; where it does not, the last words of the talk are what was seen.
"""

from dataclasses import replace
from typing import Final

from mailtls.lifecycle.probe.seen import Seen
from mailtls.model.probe.served import ServedCertificate
from mailtls.model.quoting import shorten
from mailtls.model.reason import Finding

EVIDENCE_LIMIT: Final = 1000  # characters of all parts; each of them has its own


def with_evidence(seen: Seen, finding: Finding) -> Finding:
    """Add what was seen; it stays empty where the server was silent."""
    return replace(finding, evidence=shorten(finding.evidence or _last_words(seen), EVIDENCE_LIMIT))


def certificate(served: ServedCertificate | None) -> str:
    """A portrait of the leaf."""
    if served is None:
        return "a certificate that cannot be read"
    validity = f"valid {served.not_before:%Y-%m-%d %H:%M} to {served.not_after:%Y-%m-%d %H:%M} UTC"
    return f"SHA-256 {served.sha256}, {validity}, subject {served.subject}, issued by {served.issuer}"


def chain(seen: Seen) -> str:
    """What OpenSSL says of the chain, and its leaf."""
    if not seen.facts.session:
        return ""
    told = seen.facts.session.verification
    return f"OpenSSL {told.code} at depth {told.depth}: {told.words}; {certificate(seen.leaf)}"


def _last_words(seen: Seen) -> str:
    stop = seen.facts.stop
    reply = seen.facts.reply(stop.phase) if stop else None
    return (stop.detail if stop else "") or (reply.text if reply else "")
