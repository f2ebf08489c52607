"""Checks on what the user demands beyond the RFCs; silent where nothing is demanded."""

from collections.abc import Iterator, Mapping
from typing import Final

from mailtls.lifecycle.probe.inspected import by_key_type
from mailtls.lifecycle.probe.seen import Seen
from mailtls.model.probe.inspection import Inspection, Question
from mailtls.model.probe.served import ServedCertificate
from mailtls.model.probe.threshold import TlsVersion
from mailtls.model.reason import Finding, Reason

_OLDER: Final[Mapping[TlsVersion, tuple[Question, ...]]] = {
    TlsVersion.TLS_1_2: (Question.TLS_1_0, Question.TLS_1_1),
    TlsVersion.TLS_1_3: (Question.TLS_1_0, Question.TLS_1_1, Question.TLS_1_2),
}
_NAMES: Final = {Question.TLS_1_0: "TLSv1", Question.TLS_1_1: "TLSv1.1", Question.TLS_1_2: "TLSv1.2"}


def tls_is_below_minimum(seen: Seen) -> Finding | None:
    """The server takes a version of TLS that is older than the oldest one allowed."""
    minimum = seen.thresholds.minimum_tls
    taken = dict(_taken(seen, _OLDER[minimum])) if minimum else {}
    if not taken:
        return None
    return Finding(
        Reason.TLS_BELOW_MINIMUM,
        f"The server accepts {' and '.join(taken)}, while TLS {minimum} is the oldest version allowed: set it as the "
        "oldest in the server too, or lower the threshold.",
        evidence="; ".join(f"{name} with {cipher}" for name, cipher in taken.items()),
    )


def key_is_below_minimum(seen: Seen) -> Finding | None:
    """The RSA key of a served leaf is smaller than allowed; those of its authority are not the user's to choose."""
    least = seen.thresholds.minimum_rsa_bits
    small = [leaf for leaf in _leaves(seen) if leaf.key_kind == "RSA" and leaf.key_bits < least] if least else []
    if not small:
        return None
    return Finding(
        Reason.KEY_BELOW_MINIMUM,
        f"The served certificate has an RSA key of {small[0].key_bits} bits, while {least} are the fewest allowed: "
        "renew it with a larger key or an ECDSA one, or lower the threshold.",
        evidence=f"RSA {small[0].key_bits}, SHA-256 {small[0].sha256}",
    )


def _taken(seen: Seen, older: tuple[Question, ...]) -> Iterator[tuple[str, str]]:
    """The versions that were taken when nothing newer was offered, or chosen although there was; with their cipher."""
    inspection, chosen = seen.facts.inspection or Inspection(), seen.facts.session
    for question in older:
        asked = inspection.session(question)
        session = asked or (chosen if chosen and chosen.tls_version == _NAMES[question] else None)
        if session:
            yield question.removesuffix(" only"), session.cipher


def _leaves(seen: Seen) -> Iterator[ServedCertificate]:
    if seen.leaf:
        yield seen.leaf
    yield from (leaf for _, leaf in by_key_type(seen))
