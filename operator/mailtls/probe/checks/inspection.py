"""Checks on what the user demands beyond the RFCs; silent where nothing is demanded."""

from collections.abc import Iterator, Mapping
from typing import Final

from mailtls.pki.served_certificate import ServedCertificate, describe, read_served
from mailtls.probe.checks.input import CheckInput, ending, may_do_without_tls
from mailtls.probe.facts import INJECTED_COMMANDS, Fault, Inspection, Phase, Question, Session, Stop
from mailtls.probe.target import TlsVersion
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.times import format_minute

_LEGACY: Final = {Question.TLS_1_0: "TLS 1.0", Question.TLS_1_1: "TLS 1.1"}
_IN_SESSION: Final = (Phase.HANDSHAKE, Phase.GREETING, Phase.CAPABILITIES_IN_TLS)
_RESUMED: Final = {Question.RESUMED_1_2: "TLS 1.2", Question.RESUMED_1_3: "TLS 1.3"}


def sni_is_required(given: CheckInput) -> Finding | None:
    """Clients without SNI, or with the name of another host, are refused (RFC 7672 section 8.1)."""
    refused = {
        question: stop
        for question in (Question.NO_SNI, Question.UNKNOWN_SNI)
        if (stop := _inspection(given).refusal(question)) is not None
    }
    if not refused:
        return None
    return Finding(
        Reason.SNI_REQUIRED,
        f"The handshake is refused with {' and with '.join(refused)}: let the server fall back to a default "
        "certificate, as many mail servers send no SNI or the name of their MX record.",
        evidence="; ".join(f"{question}: {stop.detail or stop.fault}" for question, stop in refused.items()),
    )


def second_certificate_is_stale(given: CheckInput) -> Finding | None:
    """The server has certificates of two key types, and only one of them is what it should be."""
    second = _second(given)
    flaw, tlsrpt = _flaw_of_second(given, *second) if second else ("", "")
    if not second or not flaw:
        return None
    _, other = second
    return Finding(
        Reason.SECOND_CERTIFICATE_STALE,
        f"Clients that accept {other.key_kind} alone are served another certificate, which {flaw}: renew it together "
        "with the first, or take it out of the server's configuration.",
        evidence=f"{other.key_kind}; {describe(other)}",
        tlsrpt=tlsrpt,
    )


def tls12_is_refused(given: CheckInput) -> Finding | None:
    """TLS 1.2 is what every server must still speak (RFC 9325 section 3.1.1)."""
    stop = _inspection(given).refusal(Question.TLS_1_2)
    if stop is None or given.thresholds.minimum_tls is TlsVersion.TLS_1_3:
        return None
    return Finding(
        Reason.TLS12_UNSUPPORTED,
        "The server refuses TLS 1.2, so senders without TLS 1.3 cannot start TLS: allow TLS 1.2 beside 1.3.",
        evidence=f"TLS 1.2 only: {stop.detail or stop.fault}",
    )


def tls13_is_refused(given: CheckInput) -> Finding | None:
    """TLS 1.3 is what a server should speak (RFC 9325 section 3.1.1)."""
    stop = _inspection(given).refusal(Question.TLS_1_3)
    if stop is None:
        return None
    return Finding(
        Reason.TLS13_UNSUPPORTED,
        "The server refuses TLS 1.3: take the upper bound out of its TLS settings, or update its TLS library.",
        Severity.WARN,
        evidence=f"TLS 1.3 only: {stop.detail or stop.fault}",
    )


def legacy_tls_is_accepted(given: CheckInput) -> Finding | None:
    """TLS 1.0 and 1.1 are deprecated (RFC 8996); where a minimum is set, `tls_is_below_minimum` says so."""
    taken = {
        name: session.cipher
        for question, name in _LEGACY.items()
        if (session := _inspection(given).session(question)) is not None
    }
    if not taken or given.thresholds.minimum_tls:
        return None
    return Finding(
        Reason.LEGACY_TLS_ENABLED,
        f"The server still accepts {' and '.join(taken)}: set the oldest version to TLS 1.2.",
        Severity.WARN,
        evidence="; ".join(f"{name} with {cipher}" for name, cipher in taken.items()),
    )


def resumption_breaks(given: CheckInput) -> Finding | None:
    """A client that comes back with its ticket is refused; ignoring a ticket is fine."""
    broken = {
        name: answer
        for question, name in _RESUMED.items()
        if isinstance(answer := _inspection(given).answers.get(question), Stop) and answer.phase in _IN_SESSION
    }
    if not broken:
        return None
    return Finding(
        Reason.RESUMPTION_FAILED,
        f"Clients that resume a session of {' or '.join(broken)} are cut off, while new sessions work: let all "
        "processes and replicas share their session cache and ticket keys, or turn tickets off.",
        Severity.WARN,
        evidence="; ".join(f"{name}: {stop.detail or stop.fault}" for name, stop in broken.items()),
    )


def weak_ciphers_are_accepted(given: CheckInput) -> Finding | None:
    """Ciphers that anybody can break are taken when a client offers nothing better (RFC 9325 section 4.1)."""
    weak = _inspection(given).weak_ciphers
    if not weak:
        return None
    return Finding(
        Reason.WEAK_CRYPTO,
        f"The server takes weak ciphers when it is offered nothing better ({', '.join(weak)}): exclude them, or use "
        "the server's default cipher list.",
        Severity.WARN,
        evidence=f"ServerHello chose: {', '.join(weak)}",
    )


def command_is_injected(given: CheckInput) -> Finding | None:
    """A command that came in clear, behind STARTTLS, is carried out inside TLS (RFC 3207 section 4.2)."""
    said = _inspection(given).injected
    if not said or not said.upper().startswith(INJECTED_COMMANDS[given.target.port.protocol].answer_prefix.upper()):
        return None
    return Finding(
        Reason.STARTTLS_COMMAND_INJECTION,
        "A command sent in clear text behind STARTTLS is carried out inside TLS, so an attacker in the network can add "
        "commands to a client's session: update the mail server, or the TLS proxy in front of it.",
        evidence=f"inside TLS, unasked: {said}",
    )


def starttls_comes_and_goes(given: CheckInput) -> Finding | None:
    """STARTTLS is listed in the conversation, but not in each connection after it."""
    seen = _inspection(given)
    missing = [
        answer
        for answer in (*seen.answers.values(), *seen.names.values(), seen.cut_short)
        if isinstance(answer, Stop) and answer.phase is Phase.STARTTLS and answer.fault is Fault.NOT_OFFERED
    ]
    if not missing:
        return None
    return Finding(
        Reason.STARTTLS_NOT_ADVERTISED,
        f"{given.hints.starts} is listed in one connection and missing in the next («{missing[0].detail}»): the "
        "address leads to several servers of which one lacks it, or an access rule or a limit hides it: set all of "
        "them up alike.",
        Severity.WARN if may_do_without_tls(given) else Severity.FAIL,
        evidence=missing[0].detail,
    )


def inspection_is_cut_short(given: CheckInput) -> Finding | None:
    """The server turned further connections away, so that not everything was checked."""
    stop = _inspection(given).cut_short
    if stop is None or stop.phase is Phase.STARTTLS:
        return None
    return Finding(
        Reason.SERVER_BUSY,
        f"The server turned the probe's further connections away ({stop.phase}: {ending(stop)}), so that not "
        f"everything was checked: exempt {given.wording.prober} from its limits, or set a shallower depth.",
        Severity.WARN,
        evidence=ending(stop),
    )


def _inspection(given: CheckInput) -> Inspection:
    return given.facts.inspection or Inspection()


def _second(given: CheckInput) -> tuple[Session, ServedCertificate] | None:
    """The certificate beside the right one: right is the stored one, or where nothing is stored, what most get."""
    both = tuple(by_key_type(given))
    right = (given.expected.leaf_sha256 or (given.leaf.sha256 if given.leaf else "")).lower()
    beside = [each for each in both if each[1].sha256 != right]
    return beside[0] if len(both) == 2 and len(beside) == 1 else None  # noqa: PLR2004 - two key types


def by_key_type(given: CheckInput) -> Iterator[tuple[Session, ServedCertificate]]:
    """What clients that accept one type of key alone are served: ECDSA first, then RSA."""
    for question in (Question.ECDSA, Question.RSA):
        session = _inspection(given).session(question)
        leaf = read_served(session.chain[0]) if session else None
        if session and leaf:
            yield session, leaf


def second_to_vouch_for(given: CheckInput) -> str | None:
    """The second certificate, where all that is wrong with it is that it is not the stored one: another may keep it."""
    second = _second(given)
    if second is None or given.expected.leaf_sha256 is None or _what_clients_refuse(given, *second)[0]:
        return None
    return second[1].sha256


def _flaw_of_second(given: CheckInput, session: Session, other: ServedCertificate) -> tuple[str, str]:
    flaw, tlsrpt = _what_clients_refuse(given, session, other)
    is_stored = given.expected.leaf_sha256 is not None
    return flaw or ("is not the stored one" if is_stored else ""), tlsrpt


def _what_clients_refuse(given: CheckInput, session: Session, other: ServedCertificate) -> tuple[str, str]:
    """What is wrong with it for everybody, and the result type under which senders report that (RFC 8460)."""
    if other.not_after < given.now:
        return f"expired at {format_minute(other.not_after)}", "certificate-expired"
    if session.verification.code and not _is_untrusted(given):
        return f"clients do not trust ({session.verification.words})", "certificate-not-trusted"
    if not other.names(given.target.server_name):
        return f"is not for {given.target.server_name}", "certificate-host-mismatch"
    return "", ""


def _is_untrusted(given: CheckInput) -> bool:
    """Whether clients trust the first certificate no more than the second: another check says that."""
    return given.facts.session is None or given.facts.session.verification.code != 0


_OLDER: Final[Mapping[TlsVersion, tuple[Question, ...]]] = {
    TlsVersion.TLS_1_2: (Question.TLS_1_0, Question.TLS_1_1),
    TlsVersion.TLS_1_3: (Question.TLS_1_0, Question.TLS_1_1, Question.TLS_1_2),
}
_VERSION_NAMES: Final = {Question.TLS_1_0: "TLSv1", Question.TLS_1_1: "TLSv1.1", Question.TLS_1_2: "TLSv1.2"}


def tls_is_below_minimum(given: CheckInput) -> Finding | None:
    """The server takes a version of TLS that is older than the oldest one allowed."""
    minimum = given.thresholds.minimum_tls
    taken = dict(_taken(given, _OLDER[minimum])) if minimum else {}
    if not taken:
        return None
    return Finding(
        Reason.TLS_BELOW_MINIMUM,
        f"The server accepts {' and '.join(taken)}, while TLS {minimum} is the oldest version allowed: set it as the "
        "oldest in the server too, or lower the threshold.",
        evidence="; ".join(f"{name} with {cipher}" for name, cipher in taken.items()),
    )


def key_is_below_minimum(given: CheckInput) -> Finding | None:
    """The RSA key of a served leaf is smaller than allowed; those of its CA are not the user's to choose."""
    least = given.thresholds.minimum_rsa_bits
    small = [leaf for leaf in _leaves(given) if leaf.key_kind == "RSA" and leaf.key_bits < least] if least else []
    if not small:
        return None
    return Finding(
        Reason.KEY_BELOW_MINIMUM,
        f"The served certificate has an RSA key of {small[0].key_bits} bits, while {least} are the fewest allowed: "
        "renew it with a larger key or an ECDSA one, or lower the threshold.",
        evidence=f"RSA {small[0].key_bits}; {describe(small[0])}",
    )


def _taken(given: CheckInput, older: tuple[Question, ...]) -> Iterator[tuple[str, str]]:
    """The versions that were taken when nothing newer was offered, or chosen although there was; with their cipher."""
    inspection, chosen = given.facts.inspection or Inspection(), given.facts.session
    for question in older:
        answer = inspection.session(question)
        session = answer or (chosen if chosen and chosen.tls_version == _VERSION_NAMES[question] else None)
        if session:
            yield question.removesuffix(" only"), session.cipher


def _leaves(given: CheckInput) -> Iterator[ServedCertificate]:
    if given.leaf:
        yield given.leaf
    yield from (leaf for _, leaf in by_key_type(given))
