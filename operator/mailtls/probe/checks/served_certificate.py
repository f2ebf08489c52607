"""Checks on the certificate that was served: is it the stored one, and would a client trust it."""

from typing import Final

from mailtls.pki.served_certificate import WITHOUT_ISSUER, KeyBand, ServedCertificate, VerifyError, describe, key_band
from mailtls.probe.checks.input import CheckInput, chain
from mailtls.probe.facts import Verification
from mailtls.reasons.quoting import quote
from mailtls.reasons.reason import Finding, Reason, Severity

NAMES_SHOWN: Final = 5
_WEAK_CIPHERS: Final = ("NULL", "RC4", "DES", "EXP", "MD5", "ADH", "AECDH")
_BUNDLE_UNREADABLE: Final = -1
_STORE_EMPTY: Final = -2
_NAMED: Final = frozenset({0, _BUNDLE_UNREADABLE, _STORE_EMPTY, *VerifyError})
_STAGING: Final = "(STAGING)"  # how all names of Let's Encrypt's staging CA begin


def older_certificate_is_served(given: CheckInput) -> Finding | None:
    """Another leaf for the same name, no newer than the stored one: the server has not read the new file."""
    leaf = given.leaf
    if leaf is None or _matches(given, leaf) or not _is_predecessor(given, leaf):
        return None
    return Finding(
        Reason.SERVING_OLD_CERTIFICATE,
        f"The server still serves an older certificate for {given.target.server_name} ({describe(leaf, digits=16)}): "
        f"reload or restart the server and check that it reads {given.wording.stored}.",
        evidence=describe(leaf),
    )


def foreign_certificate_is_served(given: CheckInput) -> Finding | None:
    """A leaf that never came from this Secret."""
    leaf = given.leaf
    if given.facts.session is None or given.expected.leaf_sha256 is None:
        return None
    if leaf and (_matches(given, leaf) or _is_predecessor(given, leaf)):
        return None
    return Finding(
        Reason.UNEXPECTED_CERTIFICATE,
        f"The server serves another certificate than the stored one ({describe(leaf, digits=16)}): point "
        f"it at {given.wording.stored} and check that the address "
        f"belongs to {given.wording.owner}.",
        evidence=describe(leaf),
    )


def certificate_is_self_signed(given: CheckInput) -> Finding | None:
    """Nobody but its own key vouches for the leaf."""
    return (
        Finding(
            Reason.SELF_SIGNED,
            f"The served certificate is self-signed: let the server use {given.wording.own}, or trust it by "
            f"{given.wording.trust}.",
            evidence=chain(given),
        )
        if verification(given).code == VerifyError.SELF_SIGNED
        else None
    )


def root_is_untrusted(given: CheckInput) -> Finding | None:
    """The chain leads to a root that clients do not know."""
    verdict = verification(given)
    if verdict.code == _BUNDLE_UNREADABLE:
        return Finding(Reason.UNTRUSTED_ROOT, _unusable(given), evidence=describe(given.leaf))
    if verdict.code == _STORE_EMPTY:
        message = f"{verdict.words} A private CA's root can be named by {given.wording.trust}."
        return Finding(Reason.UNTRUSTED_ROOT, message, evidence=describe(given.leaf))
    above = verdict.code in WITHOUT_ISSUER and verdict.depth > 0
    if verdict.code != VerifyError.SELF_SIGNED_IN_CHAIN and not above:
        return None
    last = given.chain[-1] if given.chain else None
    if last and _STAGING in last.issuer:
        return Finding(
            Reason.UNTRUSTED_ROOT,
            f"The chain ends at «{last.issuer}», whose certificates are for trials and which no mail client trusts: "
            f"{_real(given)}.",
            evidence=chain(given),
        )
    return Finding(
        Reason.UNTRUSTED_ROOT,
        f"The chain ends at «{last.issuer if last else 'an unreadable name'}», which neither the system nor "
        f"{given.wording.trust} trusts: name a private CA's root by {given.wording.trust}, or serve the full chain.",
        evidence=chain(given),
    )


def certificate_is_for_trials(given: CheckInput) -> Finding | None:
    """All is well, but for the CA: it is Let's Encrypt's staging one, which is trusted here on request."""
    return (
        Finding(
            Reason.STAGING_CERTIFICATE,
            f"The certificate is of Let's Encrypt's staging CA, which mail clients do not trust: {_real(given)}.",
            Severity.WARN,
            evidence=describe(given.leaf),
        )
        if verification(given).is_trial
        else None
    )


def chain_is_incomplete(given: CheckInput) -> Finding | None:
    """The leaf's issuer was not sent along; browsers may forgive that, mail servers do not."""
    verdict = verification(given)
    if verdict.code not in WITHOUT_ISSUER or verdict.depth > 0:
        return None
    issuer = given.leaf.issuer if given.leaf else "its issuer"
    return Finding(
        Reason.INCOMPLETE_CHAIN,
        f"The certificate of «{issuer}» is not sent along with the leaf: serve the full chain "
        f"({given.wording.chain}), or name that root by {given.wording.trust} if it is a private CA's.",
        evidence=chain(given),
    )


def chain_is_out_of_order(given: CheckInput) -> Finding | None:
    """A certificate does not certify the one before it (RFC 5246 section 7.4.2); many clients forgive that, not all."""
    pairs = zip(given.chain, given.chain[1:], strict=False)
    wrong = next((above for below, above in pairs if below.issuer != above.subject), None)
    if wrong is None:
        return None
    return Finding(
        Reason.CHAIN_OUT_OF_ORDER,
        f"The certificate of «{wrong.subject}» is sent where it does not belong: serve the leaf first and each issuer "
        f"right behind what it signed ({given.wording.chain}).",
        Severity.WARN,
        evidence=" / ".join(each.subject for each in given.chain[:NAMES_SHOWN]),
    )


def chain_is_broken(given: CheckInput) -> Finding | None:
    """OpenSSL refuses the chain for another cause than those with a check of their own."""
    verdict = verification(given)
    if verdict.code in _NAMED:
        return None
    return Finding(
        Reason.CHAIN_INVALID,
        f"The served chain does not verify ({verdict.words} at depth {verdict.depth}): serve the chain as the CA gave "
        "it.",
        evidence=chain(given),
    )


def name_does_not_match(given: CheckInput) -> Finding | None:
    """No DNS-ID of the leaf is the name that clients dial (RFC 9525 section 6)."""
    leaf = given.leaf
    if leaf is None or leaf.names(given.target.server_name):
        return None
    return Finding(
        Reason.HOSTNAME_MISMATCH,
        f"The served certificate is not for {given.target.server_name} but for {_shown(leaf.identities)}: "
        f"{given.wording.add_name} or correct the MX record.",
        evidence=quote(", ".join(leaf.identities).encode()) or "no DNS name",
    )


def purpose_is_wrong(given: CheckInput) -> Finding | None:
    """Extended key usage lists purposes, but not servers'."""
    return (
        Finding(
            Reason.WRONG_CERTIFICATE_PURPOSE,
            "The served certificate is not made for servers (extended key usage lacks serverAuth): reissue it.",
            evidence=describe(given.leaf),
        )
        if given.leaf and not given.leaf.for_servers
        else None
    )


def crypto_is_weak(given: CheckInput) -> Finding | None:
    """Keys, signatures or a cipher that are no longer thought safe (RFC 9325 sections 4 and 5)."""
    if not given.facts.session:
        return None
    weak = [flaw for each in given.chain for flaw in _flaws(each)]
    if any(mark in given.facts.session.cipher for mark in _WEAK_CIPHERS):
        weak.append(f"cipher {given.facts.session.cipher}")
    if not weak:
        return None
    return Finding(
        Reason.WEAK_CRYPTO,
        f"Weak cryptography is in use ({'; '.join(weak[:3])}): use RSA 3072 or ECDSA P-256 keys, SHA-256 and the "
        "server's default ciphers.",
        Severity.WARN,
        evidence=f"{given.facts.session.tls_version}, {given.facts.session.cipher}; {describe(given.leaf)}",
    )


def _flaws(served: ServedCertificate) -> list[str]:
    flaws = []
    if key_band(served.key_kind, served.key_bits) is KeyBand.BAD:
        flaws.append(f"{served.key_kind} key of {served.key_bits} bits in {served.subject}")
    if served.signature_hash in {"sha1", "md5"} and not served.self_issued:  # roots are trusted by key
        flaws.append(f"{served.signature_hash} signature on {served.subject}")
    return flaws


def _unusable(given: CheckInput) -> str:
    return f"The roots of {given.wording.trust} cannot be read ({verification(given).words}): give certificates in PEM."


def _real(given: CheckInput) -> str:
    return f"order from the real one when trials are over ({given.wording.leave_staging})"


def _matches(given: CheckInput, leaf: ServedCertificate) -> bool:
    wanted = given.expected.leaf_sha256
    return wanted is None or leaf.sha256 == wanted.lower()


def _is_predecessor(given: CheckInput, leaf: ServedCertificate) -> bool:
    newest = given.expected.not_before
    return leaf.names(given.target.server_name) and (newest is None or leaf.not_before <= newest)


def verification(given: CheckInput) -> Verification:
    """OpenSSL's word on the chain, which is good where there was no session."""
    return given.facts.session.verification if given.facts.session else Verification()


def _shown(names: tuple[str, ...]) -> str:
    if not names:
        return "no DNS name at all, as a common name does not count"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
