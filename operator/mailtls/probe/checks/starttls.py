"""Checks on how TLS begins (STARTTLS, implicit TLS, the handshake) and on the dialog inside it.

Faults are distinguished by the phase in which the dialog ended, never by the kind of error.
"""

import re

from mailtls.model.reason import Finding, Reason, Severity
from mailtls.probe.checks.input import (
    Seen,
    fix,
    is_refused,
    list_is_unknown,
    proxy_hint,
    speaks_smtp_for_lmtp,
    stop_at,
    told,
    unwanted,
)
from mailtls.probe.replies import Fault, Phase, Reply, Stop

# How a server takes its leave in clear text where TLS was to begin: IMAP, POP3, ManageSieve, SMTP.
_FAREWELL = re.compile(r"(\* BYE|-ERR|BYE|NO|4\d\d)\b")


def implicit_port_speaks_plaintext(seen: Seen) -> Finding | None:
    """A port configured as Implicit answers a ClientHello in clear text."""
    stop = stop_at(seen, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or not seen.implicit:
        return None
    return Finding(
        Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT,
        f"Port {seen.port} must begin with TLS but said «{stop.detail}»: "
        f"{fix(seen, Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT)}, or {seen.terms.start_tls} ({seen.idiom.ports}).",
    )


def starttls_is_not_advertised(seen: Seen) -> Finding | None:
    """The capabilities lack STARTTLS, or the command that asks for them is unknown."""
    stop = stop_at(seen, Fault.NOT_OFFERED, Phase.STARTTLS)
    reply = seen.facts.reply(Phase.CAPABILITIES)
    if not stop and not (reply and list_is_unknown(reply) and not speaks_smtp_for_lmtp(seen)):
        return None
    said = f"lists only «{stop.detail}»" if stop else f"was answered «{reply.text if reply else ''}»"
    return Finding(
        Reason.STARTTLS_NOT_ADVERTISED,
        f"{seen.idiom.asks} {said}, so no client can start TLS: {'' if stop else unwanted(seen)}"
        f"{fix(seen, Reason.STARTTLS_NOT_ADVERTISED)}, and look for a middlebox that strips {seen.idiom.starts}.",
        Severity.WARN if _may_do_without_tls(seen) else Severity.FAIL,
        evidence=said,
    )


def starttls_is_unavailable(seen: Seen) -> Finding | None:
    """A refusal for now (4xx) to STARTTLS: the server wants to, but cannot."""
    reply = _starttls_refusal(seen)
    if reply is None or not reply.is_transient:
        return None
    return Finding(
        Reason.STARTTLS_UNAVAILABLE,
        f"{seen.idiom.starts} is offered but fails ({reply.text}): {fix(seen, Reason.STARTTLS_UNAVAILABLE)}.",
    )


def starttls_breaks_down(seen: Seen) -> Finding | None:
    """The server agrees to start TLS, then finds that it cannot and takes its leave in clear text, as Dovecot does."""
    stop = stop_at(seen, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or seen.implicit or not _FAREWELL.match(stop.detail):
        return None
    return Finding(
        Reason.STARTTLS_UNAVAILABLE,
        f"{seen.idiom.starts} is agreed to and then given up («{stop.detail}»): "
        f"{fix(seen, Reason.STARTTLS_UNAVAILABLE)}.",
    )


def starttls_is_rejected(seen: Seen) -> Finding | None:
    """A refusal for good (5xx) to STARTTLS."""
    reply = _starttls_refusal(seen)
    if reply is None or not reply.is_permanent:
        return None
    return Finding(
        Reason.STARTTLS_REJECTED,
        f"{seen.idiom.starts} is offered but refused ({reply.text}): {fix(seen, Reason.STARTTLS_REJECTED)}.",
    )


def plaintext_follows_starttls(seen: Seen) -> Finding | None:
    """Bytes stand between the word to start and TLS (RFC 3207 section 6, CVE-2011-0411)."""
    stop = stop_at(seen, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or seen.implicit or _FAREWELL.match(stop.detail):
        return None
    return Finding(
        Reason.PLAINTEXT_AFTER_STARTTLS,
        f"After the server agreed to {seen.idiom.starts} came plain text «{stop.detail}»: somebody injects data on the "
        "way, or the server or a proxy before it has a bug; update it.",
    )


def handshake_finds_no_version(seen: Seen) -> Finding | None:
    """The server knows only TLS versions that are given up (RFC 8996)."""
    stop = stop_at(seen, Fault.NO_SHARED_VERSION, Phase.HANDSHAKE)
    if stop is None:
        return None
    return Finding(
        Reason.NO_SHARED_TLS_VERSION,
        f"The server speaks neither TLS 1.2 nor 1.3 ({stop.detail}): {fix(seen, Reason.NO_SHARED_TLS_VERSION)}.",
    )


def handshake_fails(seen: Seen) -> Finding | None:
    """TLS was agreed on but does not come about: reset, end, alert or silence."""
    stop = seen.facts.stopped(Phase.HANDSHAKE)
    if not stop or stop.fault in {Fault.NOT_TLS, Fault.NO_SHARED_VERSION}:
        return None
    return Finding(
        Reason.TLS_HANDSHAKE_FAILED,
        f"The TLS handshake failed ({told(stop)}): see the server's log; often the certificate or key file cannot be "
        f"read, {f'no cipher is shared, {proxy_hint(seen)}' if seen.implicit else 'or no cipher is shared'}.",
    )


def _starttls_refusal(seen: Seen) -> Reply | None:
    stop = stop_at(seen, Fault.UNEXPECTED_REPLY, Phase.STARTTLS)
    return seen.facts.reply(Phase.STARTTLS) if stop else None


def _may_do_without_tls(seen: Seen) -> bool:
    """Whether strangers may come in clear (RFC 3207 section 4), and no stored certificate promises TLS."""
    return not seen.enforced and seen.expected.leaf_sha256 is None


def ehlo_in_tls_fails(seen: Seen) -> Finding | None:
    """TLS stands, but the server does not speak inside it (RFC 3207 section 4.2)."""
    stop = seen.facts.stopped(Phase.CAPABILITIES_IN_TLS, Phase.GREETING)
    if stop is None or not seen.facts.session or _has_other_check(seen, stop) or speaks_smtp_for_lmtp(seen):
        return None
    return Finding(
        Reason.EHLO_AFTER_TLS_FAILED,
        f"TLS works but {seen.idiom.phase(stop.phase)} failed ({told(stop)}): see the server's log; "
        f"{fix(seen, Reason.EHLO_AFTER_TLS_FAILED)}, or the backend behind a TLS proxy is down.",
    )


def starttls_is_offered_in_tls(seen: Seen) -> Finding | None:
    """STARTTLS is listed again inside TLS (RFC 3207 section 4.2 forbids it)."""
    if seen.keyword(Phase.CAPABILITIES_IN_TLS, "STARTTLS") is None:
        return None
    return Finding(
        Reason.STARTTLS_READVERTISED,
        f"{seen.idiom.starts} is listed again inside TLS: a TLS proxy may stand before a server that does not know it.",
        Severity.WARN,
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def auth_is_offered_before_tls(seen: Seen) -> Finding | None:
    """Passwords may travel in clear text where TLS is enforced (RFC 4954 section 4, RFC 8314 section 3)."""
    heard = seen.facts.reply(Phase.CAPABILITIES)
    methods = heard.logins if heard else None
    if methods is None or not seen.enforced:
        return None
    return Finding(
        Reason.AUTH_OFFERED_BEFORE_TLS,
        f"Login by {methods or 'AUTH'} is offered before TLS: {fix(seen, Reason.AUTH_OFFERED_BEFORE_TLS)}, so that no "
        "password travels in clear text.",
        Severity.WARN,
        evidence=_listed(seen, Phase.CAPABILITIES),
    )


def auth_is_lost_in_tls(seen: Seen) -> Finding | None:
    """Logins were offered before TLS, or one is to be tried, and there are none inside it: nobody can log in safely."""
    if not _lacks_logins(seen) or not (_offers_logins_in_clear(seen) or seen.expected.login):
        return None
    said = "Logins are offered in clear text but not inside TLS"
    return Finding(
        Reason.AUTH_MISSING,
        f"{said if _offers_logins_in_clear(seen) else 'No login is offered inside TLS'}: "
        f"{fix(seen, Reason.AUTH_MISSING)}.",
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def auth_is_never_offered(seen: Seen) -> Finding | None:
    """No login is offered where users log in; a relay that takes mail by its clients' addresses may mean it so."""
    if not _lacks_logins(seen) or not seen.target.port.has_to_offer_logins:
        return None
    if _offers_logins_in_clear(seen) or seen.expected.login:
        return None
    return Finding(
        Reason.AUTH_MISSING,
        f"No login is offered inside TLS, where users would log in: {fix(seen, Reason.AUTH_MISSING)}, unless clients "
        "are known by their addresses here.",
        Severity.WARN,
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def _has_other_check(seen: Seen, stop: Stop) -> bool:
    """Whether a fault of the greeting inside TLS is named by a check of its own: silence or a refusal."""
    refused = stop.fault is Fault.UNEXPECTED_REPLY and is_refused(seen, stop)
    return stop.phase is Phase.GREETING and (refused or stop.fault in {Fault.TIMED_OUT, Fault.CLOSED})


def _lacks_logins(seen: Seen) -> bool:
    """Whether users cannot log in: the list inside TLS was heard, and holds no way to (RFC 4954 section 3)."""
    heard = seen.facts.reply(Phase.CAPABILITIES_IN_TLS)
    if heard is None or heard.is_refusal or heard.logins is not None or not seen.target.port.is_for_users:
        return False
    is_blind_to_tls = heard.keyword("STARTTLS") is not None  # and may hide its logins for that: said elsewhere
    return _offers_logins_in_clear(seen) or not is_blind_to_tls


def _offers_logins_in_clear(seen: Seen) -> bool:
    before = seen.facts.reply(Phase.CAPABILITIES)
    return before is not None and before.logins is not None


def _listed(seen: Seen, phase: Phase) -> str:
    reply = seen.facts.reply(phase)
    return reply.text if reply else ""
