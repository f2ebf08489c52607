"""What stands behind a finding of a probe: the server's words or the served certificate, quoted and bounded."""

from dataclasses import replace

from mailtls.lifecycle.seen import Seen
from mailtls.model.facts import Phase, quote, shorten
from mailtls.model.reason import Finding, Reason

_CHAIN = {Reason.UNTRUSTED_ROOT, Reason.INCOMPLETE_CHAIN, Reason.CERTIFICATE_CHAIN_BROKEN, Reason.SELF_SIGNED}
_DATES = {Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_NOT_YET_VALID}
_LEAF = {
    Reason.SERVING_OLD_CERTIFICATE,
    Reason.UNEXPECTED_CERTIFICATE,
    Reason.WRONG_CERTIFICATE_PURPOSE,
    Reason.CERTIFICATE_EXPIRING_SOON,
    Reason.STAGING_CERTIFICATE,
}
_LISTS = {
    Reason.AUTH_OFFERED_BEFORE_TLS: Phase.CAPABILITIES,
    Reason.STARTTLS_READVERTISED: Phase.CAPABILITIES_IN_TLS,
    Reason.AUTH_MISSING: Phase.CAPABILITIES_IN_TLS,
    Reason.TLS_REQUIRED_FOR_AUTH: Phase.CAPABILITIES_IN_TLS,
}


def with_evidence(seen: Seen, finding: Finding) -> Finding:
    """Add what was seen, unless the check said so itself; it stays empty where the server was silent."""
    return replace(finding, evidence=shorten(finding.evidence or _sighting(seen, finding.reason)))


def _sighting(seen: Seen, reason: Reason) -> str:
    if reason in _LISTS:
        reply = seen.facts.reply(_LISTS[reason])
        return reply.text if reply else ""
    if reason is Reason.IMPLICIT_TLS_ON_STARTTLS_PORT:
        return "no greeting, but TLS in answer to a ClientHello"
    return _of_certificate(seen, reason) or _of_talk(seen)


def _of_certificate(seen: Seen, reason: Reason) -> str:
    session = seen.facts.session
    if reason in _CHAIN or (reason in _DATES and session and session.verification.depth):
        return _verification(seen)
    if reason in _LEAF | _DATES:
        return _leaf(seen)
    if reason is Reason.HOSTNAME_MISMATCH and seen.leaf:
        return quote(", ".join(seen.leaf.dns_names).encode()) or "no DNS name"
    if reason is Reason.CHAIN_OUT_OF_ORDER:
        return " / ".join(each.subject for each in seen.chain)
    if reason is Reason.WEAK_CRYPTO and session:
        return f"{session.tls_version}, {session.cipher}; {_leaf(seen)}"
    return ""


def _of_talk(seen: Seen) -> str:
    stop = seen.facts.stop
    reply = seen.facts.reply(stop.phase) if stop else None
    return (stop.detail if stop else "") or (reply.text if reply else "")


def _verification(seen: Seen) -> str:
    if not seen.facts.session:
        return ""
    told = seen.facts.session.verification
    return f"OpenSSL {told.code} at depth {told.depth}: {told.words}; {_leaf(seen)}"


def _leaf(seen: Seen) -> str:
    leaf = seen.leaf
    if leaf is None:
        return "a certificate that cannot be read"
    validity = f"valid {leaf.not_before:%Y-%m-%d %H:%M} to {leaf.not_after:%Y-%m-%d %H:%M} UTC"
    return f"SHA-256 {leaf.sha256}, {validity}, subject {leaf.subject}, issued by {leaf.issuer}"
