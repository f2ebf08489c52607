"""Checks on how TLS begins (STARTTLS, implicit TLS, the handshake) and on the dialog inside it.

Faults are distinguished by the phase in which the dialog ended, never by the kind of error.
"""

import re

from mailtls.probe.checks.input import (
    CheckInput,
    ending,
    header_is_taken_for_a_command,
    is_refused,
    list_is_unknown,
    may_do_without_tls,
    proxy_hint,
    refusal_for_now_in_tls,
    speaks_smtp_for_lmtp,
    stop_at,
    wants_tls_before,
)
from mailtls.probe.facts import Fault, Phase, Reply, Stop
from mailtls.probe.target import Protocol
from mailtls.reasons.reason import Finding, Reason, Severity

_ALERTS = (  # what the server's alert means, by OpenSSL's words for it (RFC 8446 section 6.2)
    (("handshake failure", "insufficient security"), "it shares no cipher, curve or key type with clients, or no "),
    (("internal error",), "the server fails by itself, mostly as it cannot use its "),
    (("decode error", "illegal parameter", "unexpected message"), "it does not understand clients of today; or no "),
)
_CLOSING = 421  # RFC 5321 section 3.8: the server ends the connection, whatever was asked
# How a server ends the dialog in clear text where TLS was to begin: IMAP, POP3, ManageSieve, SMTP.
_FAREWELL = re.compile(r"(\* BYE|-ERR|BYE|NO|4\d\d)\b")


def implicit_port_speaks_plaintext(given: CheckInput) -> Finding | None:
    """A port configured as Implicit answers a ClientHello in clear text."""
    stop = stop_at(given, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or not given.implicit:
        return None
    return Finding(
        Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT,
        f"Port {given.port} must begin with TLS but said «{stop.detail}»: "
        f"turn implicit TLS on in the server, or {given.wording.start_tls} ({given.hints.ports}).",
    )


def starttls_is_not_advertised(given: CheckInput) -> Finding | None:
    """The capabilities lack STARTTLS, or the command that asks for them is unknown."""
    stop = stop_at(given, Fault.NOT_OFFERED, Phase.STARTTLS)
    reply = given.facts.reply(Phase.CAPABILITIES)
    is_unknown = reply and (list_is_unknown(reply) or wants_tls_before(reply)) and not speaks_smtp_for_lmtp(given)
    if not stop and (not is_unknown or header_is_taken_for_a_command(given)):
        return None
    said = f"lists only «{stop.detail}»" if stop else f"was answered «{reply.text if reply else ''}»"
    how = f"turn TLS on in the server, with a certificate, and look for a middlebox that strips {given.hints.starts}"
    if not stop:
        how = "the server knows no extensions, or a device on the way hides the command: update it"
    if reply and wants_tls_before(reply):
        how = "the server, or a proxy before it, wants TLS and does not list it: let it answer that command"
    return Finding(
        Reason.STARTTLS_NOT_ADVERTISED,
        f"{given.hints.list_command} {said}, so no client can start TLS: {how}.",
        Severity.WARN if may_do_without_tls(given) else Severity.FAIL,
        evidence=said,
    )


def starttls_is_unavailable(given: CheckInput) -> Finding | None:
    """A refusal for now (4xx) to STARTTLS: the server wants to, but cannot."""
    reply = _starttls_refusal(given)
    if reply is None or not (reply.is_transient or reply.is_parting):
        return None
    if reply.is_parting:
        return Finding(
            Reason.SERVER_BUSY,
            f"{given.hints.starts} is put off ({reply.text}): the server shuts down or starts; the probe is repeated.",
        )
    if reply.names_a_limit or reply.code == _CLOSING:
        return Finding(
            Reason.SERVER_BUSY,
            f"{given.hints.starts} is put off ({reply.text}): a limit of connections or TLS sessions is reached: raise "
            f"it, or exempt {given.wording.prober} from it.",
        )
    return Finding(
        Reason.STARTTLS_UNAVAILABLE,
        f"{given.hints.starts} is offered but fails ({reply.text}): {_no_certificate(given)}.",
    )


def starttls_breaks_down(given: CheckInput) -> Finding | None:
    """The server agrees to start TLS, then finds that it cannot and says so in clear text, as Dovecot does."""
    stop = stop_at(given, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or given.implicit or not _FAREWELL.match(stop.detail):
        return None
    return Finding(
        Reason.STARTTLS_UNAVAILABLE,
        f"{given.hints.starts} is agreed to and then given up («{stop.detail}»): {_no_certificate(given)}.",
    )


def starttls_is_rejected(given: CheckInput) -> Finding | None:
    """A refusal for good (5xx) to STARTTLS."""
    reply = _starttls_refusal(given)
    if reply is None or not reply.is_permanent:
        return None
    return Finding(
        Reason.STARTTLS_REJECTED,
        f"{given.hints.starts} is offered but refused ({reply.text}): turn TLS on in the server, and check that no "
        "proxy answers in its place.",
    )


def plaintext_follows_starttls(given: CheckInput) -> Finding | None:
    """Bytes stand between the word to start and TLS (RFC 3207 section 6, CVE-2011-0411)."""
    stop = stop_at(given, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or given.implicit or _FAREWELL.match(stop.detail):
        return None
    return Finding(
        Reason.PLAINTEXT_AFTER_STARTTLS,
        f"After the server agreed to {given.hints.starts} came plain text «{stop.detail}»: somebody in the "
        "network injects data, or the server or a proxy in front of it has a bug or no TLS at all; update it, or give "
        "it a certificate.",
    )


def handshake_finds_no_version(given: CheckInput) -> Finding | None:
    """The server knows only TLS versions that are deprecated (RFC 8996)."""
    stop = stop_at(given, Fault.NO_SHARED_VERSION, Phase.HANDSHAKE)
    if stop is None:
        return None
    return Finding(
        Reason.NO_SHARED_TLS_VERSION,
        f"The server speaks neither TLS 1.2 nor 1.3 ({stop.detail}): allow TLS 1.2 and newer.",
    )


def handshake_fails(given: CheckInput) -> Finding | None:
    """TLS was agreed on but does not come about: reset, end, alert or silence."""
    stop = given.facts.stopped(Phase.HANDSHAKE)
    if not stop or stop.fault in {Fault.NOT_TLS, Fault.NO_SHARED_VERSION}:
        return None
    return Finding(
        Reason.TLS_HANDSHAKE_FAILED,
        f"The TLS handshake failed ({ending(stop)}): {_why_no_handshake(given, stop)}. See the server's log.",
    )


def _why_no_handshake(given: CheckInput, stop: Stop) -> str:
    """What the alert means; without one, what servers do that cannot go on."""
    if "unrecognized name" in stop.detail:
        return f"the server has no certificate for {given.target.server_name}, and no default one"
    if "no application protocol" in stop.detail:
        return "a web server or a load balancer for HTTP answers in the mail server's place"
    for marks, words in _ALERTS:
        if any(mark in stop.detail for mark in marks):
            return f"{words}certificate or key file is loaded: {given.wording.key_files}"
    if stop.fault is Fault.TIMED_OUT:
        hint = f", {proxy_hint(given)}" if given.implicit else ""
        return f"the server hangs, or a firewall drops the ClientHello{hint}"
    cause = f"it cannot read its certificate or key file (then {given.wording.key_files})"
    return f"{cause}, a proxy has no server behind it, {proxy_hint(given)}" if given.implicit else cause


def _no_certificate(given: CheckInput) -> str:
    """What keeps a server from TLS that wants to begin it."""
    return (
        "it cannot load its certificate or key: a file is missing, they do not belong together, or the server's user "
        f"may not read them (then {given.wording.key_files}); its log says which"
    )


def _starttls_refusal(given: CheckInput) -> Reply | None:
    stop = stop_at(given, Fault.UNEXPECTED_REPLY, Phase.STARTTLS)
    return given.facts.reply(Phase.STARTTLS) if stop else None


def ehlo_in_tls_fails(given: CheckInput) -> Finding | None:
    """TLS stands, but the server does not speak inside it (RFC 3207 section 4.2)."""
    stop = given.facts.stopped(Phase.CAPABILITIES_IN_TLS, Phase.GREETING)
    if stop is None or not given.facts.session or _has_other_check(given, stop) or speaks_smtp_for_lmtp(given):
        return None
    return Finding(
        Reason.EHLO_AFTER_TLS_FAILED,
        f"TLS works but {given.hints.phase(stop.phase)} failed ({ending(stop)}): {_why_no_list(given, stop)}.",
    )


def _why_no_list(given: CheckInput, stop: Stop) -> str:
    is_silent = stop.fault is Fault.TIMED_OUT and not stop.detail
    if given.target.port.protocol is Protocol.SIEVE and not given.implicit and is_silent:
        return (
            "the server must list its capabilities by itself once TLS stands (RFC 5804 section 2.2), and clients wait "
            "for that: update the server"
        )
    return (
        "see the server's log; a client certificate may be demanded, a process may be at its limit, or the backend "
        "behind a TLS proxy is down"
    )


def starttls_is_offered_in_tls(given: CheckInput) -> Finding | None:
    """STARTTLS is listed again inside TLS (RFC 3207 section 4.2 forbids it)."""
    if given.keyword(Phase.CAPABILITIES_IN_TLS, "STARTTLS") is None:
        return None
    return Finding(
        Reason.STARTTLS_READVERTISED,
        f"{given.hints.starts} is listed again inside TLS: a TLS proxy may stand in front of a server that does "
        "not know it.",
        Severity.WARN,
        evidence=_listed(given, Phase.CAPABILITIES_IN_TLS),
    )


def auth_is_offered_before_tls(given: CheckInput) -> Finding | None:
    """Passwords may travel in clear text where TLS is enforced (RFC 4954 section 4, RFC 8314 section 3)."""
    reply = given.facts.reply(Phase.CAPABILITIES)
    methods = reply.logins if reply else None
    if methods is None or not given.enforced:
        return None
    return Finding(
        Reason.AUTH_OFFERED_BEFORE_TLS,
        f"Login by {methods or 'AUTH'} is offered before TLS: offer logins inside TLS alone, so that no "
        "password travels in clear text.",
        Severity.WARN,
        evidence=_listed(given, Phase.CAPABILITIES),
    )


def auth_is_lost_in_tls(given: CheckInput) -> Finding | None:
    """Logins were offered before TLS, or one is to be tried, and there are none inside it: nobody can log in safely."""
    if not _lacks_logins(given) or not (_offers_logins_in_clear(given) or given.expected.login):
        return None
    said = "Logins are offered in clear text but not inside TLS"
    return Finding(
        Reason.AUTH_MISSING,
        f"{said if _offers_logins_in_clear(given) else 'No login is offered inside TLS'}: "
        "turn logins on for the TLS service too.",
        evidence=_listed(given, Phase.CAPABILITIES_IN_TLS),
    )


def auth_is_never_offered(given: CheckInput) -> Finding | None:
    """No login is offered where users log in; a relay that takes mail by its clients' addresses may mean it so."""
    if not _lacks_logins(given) or not given.target.port.has_to_offer_logins:
        return None
    if _offers_logins_in_clear(given) or given.expected.login:
        return None
    return Finding(
        Reason.AUTH_MISSING,
        "No login is offered inside TLS, where users would log in: turn logins on for this port, unless clients "
        "are known by their addresses here.",
        Severity.WARN,
        evidence=_listed(given, Phase.CAPABILITIES_IN_TLS),
    )


def _has_other_check(given: CheckInput, stop: Stop) -> bool:
    """Whether a check of its own names the fault: silence or a refusal for a greeting, or that the server is busy."""
    if refusal_for_now_in_tls(given) is not None:
        return True
    refused = stop.fault is Fault.UNEXPECTED_REPLY and is_refused(given, stop)
    return stop.phase is Phase.GREETING and (refused or stop.fault in {Fault.TIMED_OUT, Fault.CLOSED})


def _lacks_logins(given: CheckInput) -> bool:
    """Whether users cannot log in: the list inside TLS has come, and offers no login (RFC 4954 section 3)."""
    reply = given.facts.reply(Phase.CAPABILITIES_IN_TLS)
    if reply is None or reply.is_refusal or reply.logins is not None or not given.target.port.is_for_users:
        return False
    is_blind_to_tls = reply.keyword("STARTTLS") is not None  # and may hide its logins for that: another check says so
    return _offers_logins_in_clear(given) or not is_blind_to_tls


def _offers_logins_in_clear(given: CheckInput) -> bool:
    before = given.facts.reply(Phase.CAPABILITIES)
    return before is not None and before.logins is not None


def _listed(given: CheckInput, phase: Phase) -> str:
    reply = given.facts.reply(phase)
    return reply.text if reply else ""
