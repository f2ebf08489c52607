"""Checks on the talk with the server: from the first packet to the capabilities inside TLS.

Each names one fault. Faults are told apart by the phase in which the talk ended, never by the kind of error.
"""

import re

from mailtls.lifecycle.probe.seen import Seen
from mailtls.model.probe.talk import Fault, Phase, Reply, Stop
from mailtls.model.probe.way import Way
from mailtls.model.reason import Finding, Reason, Severity
from mailtls.model.spec import Protocol, ProxyProtocol

_PREAUTHENTICATED = "PREAUTH"
# How a server takes its leave in clear text where TLS was to begin: IMAP, POP3, ManageSieve, SMTP.
_FAREWELL = re.compile(r"(\* BYE|-ERR|BYE|NO|4\d\d)\b")


def connection_is_refused(seen: Seen) -> Finding | None:
    """Nothing listens (TCP reset)."""
    stop = _stop(seen, Fault.REFUSED, Phase.CONNECT)
    if stop is None:
        return None
    return Finding(
        Reason.CONNECTION_REFUSED,
        f"Nothing listens on port {seen.port}: start the listener ({_fix(seen, Reason.CONNECTION_REFUSED)}) or "
        "correct the port.",
    )


def connection_times_out(seen: Seen) -> Finding | None:
    """Packets vanish on the way."""
    stop = _stop(seen, Fault.TIMED_OUT, Phase.CONNECT)
    if stop is None or seen.target.way is Way.PUBLIC:  # from outside it says less: `port_is_blocked`
        return None
    return Finding(
        Reason.CONNECT_TIMEOUT,
        f"Port {seen.port} does not answer at all: {seen.terms.silence}.",
    )


def network_is_unreachable(seen: Seen) -> Finding | None:
    """There is no route to the address, or a filter on the way says so (RFC 1812 section 5.2.7.1)."""
    stop = _stop(seen, Fault.UNREACHABLE, Phase.CONNECT)
    if stop is None:
        return None
    return Finding(
        Reason.NETWORK_UNREACHABLE,
        f"{seen.target.address} cannot be reached ({stop.detail}): a firewall may reject the packets, or no route "
        f"leads there: check {seen.terms.network}.",
    )


def server_is_busy(seen: Seen) -> Finding | None:
    """A refusal for now (4xx) instead of a welcome; only a warning once the certificate is proven."""
    reply = _refusal(seen)
    if reply is None or not reply.is_transient:
        return None
    return Finding(
        Reason.SERVER_BUSY,
        f"The server asks to come back later ({reply.text}): it is overloaded, starting or limits connections; "
        "the probe is repeated.",
        _unless_proven(seen),
    )


def probe_is_rejected(seen: Seen) -> Finding | None:
    """A refusal for good (5xx) instead of a welcome; only a warning once the certificate is proven."""
    reply = _refusal(seen)
    if reply is None or not reply.is_permanent or _list_is_unknown(reply) or reply.word == _PREAUTHENTICATED:
        return None
    return Finding(
        Reason.PROBE_REJECTED,
        f"The server turns the prober away ({reply.text}): allow {seen.terms.prober} "
        f"({_fix(seen, Reason.PROBE_REJECTED)}).",
        _unless_proven(seen),
    )


def port_wants_tls_first(seen: Seen) -> Finding | None:
    """A port configured as StartTLS is silent until a ClientHello comes."""
    return (
        Finding(
            Reason.IMPLICIT_TLS_ON_STARTTLS_PORT,
            f"Port {seen.port} sends no greeting but answers TLS at once: {seen.terms.implicit}, or "
            f"{_fix(seen, Reason.IMPLICIT_TLS_ON_STARTTLS_PORT)} ({seen.idiom.ports}, RFC 8314).",
            evidence="no greeting, but TLS in answer to a ClientHello",
        )
        if seen.facts.tls_first
        else None
    )


def greeting_is_missing(seen: Seen) -> Finding | None:
    """The connection stands, but nobody greets, or never to the end (RFC 5321 section 4.2.1: `220-`)."""
    stop = seen.facts.stopped(Phase.GREETING)
    if not stop or stop.fault not in {Fault.TIMED_OUT, Fault.CLOSED} or seen.facts.tls_first:
        return None
    if stop.detail and stop.fault is Fault.TIMED_OUT:
        return Finding(
            Reason.NO_BANNER,
            f"Port {seen.port} does not finish its greeting ({_told(stop)}): a tarpit or an "
            "overloaded server keeps the prober waiting; allow the prober's address there.",
            evidence=stop.detail,
        )
    return Finding(
        Reason.NO_BANNER,
        f"Port {seen.port} accepts connections but sends no greeting ({_told(stop)}): the server hangs, is overloaded, "
        f"{_proxy_hint(seen)}.",
    )


def session_is_preauthenticated(seen: Seen) -> Finding | None:
    """IMAP greets by PREAUTH, and STARTTLS belongs to the state before authentication (RFC 9051 section 6.2.1)."""
    stop = _stop(seen, Fault.UNEXPECTED_REPLY, Phase.GREETING)
    reply = seen.facts.reply(Phase.GREETING)
    if not stop or not reply or reply.word != _PREAUTHENTICATED:
        return None
    return Finding(
        Reason.IMAP_PREAUTH_BLOCKS_STARTTLS,
        f"Port {seen.port} greets with PREAUTH ({reply.text}), after which no client may start TLS: let the server ask "
        "for a login on this port; if it does, somebody on the way forges the greeting.",
    )


def claimed_address_is_refused(seen: Seen) -> Finding | None:
    """XCLIENT is not listed, or not answered by a new greeting (Postfix XCLIENT_README)."""
    stop = seen.facts.stopped(Phase.XCLIENT)
    if stop is None:
        return None
    return Finding(
        Reason.XCLIENT_REFUSED,
        f"The server does not take {seen.target.port.xclient_address} as the client's address by XCLIENT "
        f"({_told(stop)}): list {seen.terms.prober} in smtpd_authorized_xclient_hosts (Postfix), or remove "
        f"{seen.terms.claimed}.",
        _unless_proven(seen),
    )


def port_speaks_smtp_for_lmtp(seen: Seen) -> Finding | None:
    """LHLO is unknown, which every LMTP server knows (RFC 2033 section 4.1)."""
    reply = seen.facts.reply(Phase.CAPABILITIES) or seen.facts.reply(Phase.CAPABILITIES_IN_TLS)
    if reply is None or not _speaks_smtp_for_lmtp(seen):
        return None
    return Finding(
        Reason.PROTOCOL_ERROR,
        f"Port {seen.port} does not know LHLO ({reply.text}), so it speaks SMTP and not LMTP: correct the port or its "
        "`protocol`.",
        evidence=reply.text,
    )


def server_speaks_another_protocol(seen: Seen) -> Finding | None:
    """What came back is not the protocol, or came out of turn."""
    stop = seen.facts.stopped(Phase.GREETING, Phase.CAPABILITIES, Phase.STARTTLS)
    odd = stop and (
        stop.fault is Fault.GARBLED
        or (stop.fault is Fault.UNEXPECTED_REPLY and not _is_refused(seen, stop))
        or (stop.fault in {Fault.TIMED_OUT, Fault.CLOSED} and stop.phase is not Phase.GREETING)
    )
    if not stop or not odd or seen.facts.session:
        return None
    return Finding(
        Reason.PROTOCOL_ERROR,
        f"The talk broke off at {seen.idiom.phase(stop.phase)} ({_told(stop)}): {_unwanted(seen)}check that "
        f"{seen.idiom.server} listens on port {seen.port} and see its log.",
    )


def implicit_port_speaks_plaintext(seen: Seen) -> Finding | None:
    """A port configured as Implicit answers a ClientHello in clear text."""
    stop = _stop(seen, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or not seen.implicit:
        return None
    return Finding(
        Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT,
        f"Port {seen.port} must begin with TLS but said «{stop.detail}»: "
        f"{_fix(seen, Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT)}, or {seen.terms.start_tls} ({seen.idiom.ports}).",
    )


def starttls_is_not_advertised(seen: Seen) -> Finding | None:
    """The capabilities lack STARTTLS, or the command that asks for them is unknown."""
    stop = _stop(seen, Fault.NOT_OFFERED, Phase.STARTTLS)
    reply = seen.facts.reply(Phase.CAPABILITIES)
    if not stop and not (reply and _list_is_unknown(reply) and not _speaks_smtp_for_lmtp(seen)):
        return None
    said = f"lists only «{stop.detail}»" if stop else f"was answered «{reply.text if reply else ''}»"
    return Finding(
        Reason.STARTTLS_NOT_ADVERTISED,
        f"{seen.idiom.asks} {said}, so no client can start TLS: {'' if stop else _unwanted(seen)}"
        f"{_fix(seen, Reason.STARTTLS_NOT_ADVERTISED)}, and look for a middlebox that strips {seen.idiom.starts}.",
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
        f"{seen.idiom.starts} is offered but fails ({reply.text}): {_fix(seen, Reason.STARTTLS_UNAVAILABLE)}.",
    )


def starttls_breaks_down(seen: Seen) -> Finding | None:
    """The server agrees to start TLS, then finds that it cannot and takes its leave in clear text, as Dovecot does."""
    stop = _stop(seen, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or seen.implicit or not _FAREWELL.match(stop.detail):
        return None
    return Finding(
        Reason.STARTTLS_UNAVAILABLE,
        f"{seen.idiom.starts} is agreed to and then given up («{stop.detail}»): "
        f"{_fix(seen, Reason.STARTTLS_UNAVAILABLE)}.",
    )


def starttls_is_rejected(seen: Seen) -> Finding | None:
    """A refusal for good (5xx) to STARTTLS."""
    reply = _starttls_refusal(seen)
    if reply is None or not reply.is_permanent:
        return None
    return Finding(
        Reason.STARTTLS_REJECTED,
        f"{seen.idiom.starts} is offered but refused ({reply.text}): {_fix(seen, Reason.STARTTLS_REJECTED)}.",
    )


def plaintext_follows_starttls(seen: Seen) -> Finding | None:
    """Bytes stand between the word to start and TLS (RFC 3207 section 6, CVE-2011-0411)."""
    stop = _stop(seen, Fault.NOT_TLS, Phase.HANDSHAKE)
    if not stop or seen.implicit or _FAREWELL.match(stop.detail):
        return None
    return Finding(
        Reason.PLAINTEXT_AFTER_STARTTLS,
        f"After the server agreed to {seen.idiom.starts} came plain text «{stop.detail}»: somebody injects data on the "
        "way, or the server or a proxy before it has a bug; update it.",
    )


def handshake_finds_no_version(seen: Seen) -> Finding | None:
    """The server knows only TLS versions that are given up (RFC 8996)."""
    stop = _stop(seen, Fault.NO_SHARED_VERSION, Phase.HANDSHAKE)
    if stop is None:
        return None
    return Finding(
        Reason.NO_SHARED_TLS_VERSION,
        f"The server speaks neither TLS 1.2 nor 1.3 ({stop.detail}): {_fix(seen, Reason.NO_SHARED_TLS_VERSION)}.",
    )


def handshake_fails(seen: Seen) -> Finding | None:
    """TLS was agreed on but does not come about: reset, end, alert or silence."""
    stop = seen.facts.stopped(Phase.HANDSHAKE)
    if not stop or stop.fault in {Fault.NOT_TLS, Fault.NO_SHARED_VERSION}:
        return None
    return Finding(
        Reason.TLS_HANDSHAKE_FAILED,
        f"The TLS handshake failed ({_told(stop)}): see the server's log; often the certificate or key file cannot be "
        f"read, {f'no cipher is shared, {_proxy_hint(seen)}' if seen.implicit else 'or no cipher is shared'}.",
    )


def ehlo_in_tls_fails(seen: Seen) -> Finding | None:
    """TLS stands, but the server does not speak inside it (RFC 3207 section 4.2)."""
    stop = seen.facts.stopped(Phase.CAPABILITIES_IN_TLS, Phase.GREETING)
    if stop is None or not seen.facts.session or _has_other_check(seen, stop) or _speaks_smtp_for_lmtp(seen):
        return None
    return Finding(
        Reason.EHLO_AFTER_TLS_FAILED,
        f"TLS works but {seen.idiom.phase(stop.phase)} failed ({_told(stop)}): see the server's log; "
        f"{_fix(seen, Reason.EHLO_AFTER_TLS_FAILED)}, or the backend behind a TLS proxy is down.",
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
        f"Login by {methods or 'AUTH'} is offered before TLS: {_fix(seen, Reason.AUTH_OFFERED_BEFORE_TLS)}, so that no "
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
        f"{_fix(seen, Reason.AUTH_MISSING)}.",
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def auth_is_never_offered(seen: Seen) -> Finding | None:
    """No login is offered where users log in; a relay that takes mail by its clients' addresses may mean it so."""
    if not _lacks_logins(seen) or _offers_logins_in_clear(seen) or seen.expected.login:
        return None
    return Finding(
        Reason.AUTH_MISSING,
        f"No login is offered inside TLS, where users would log in: {_fix(seen, Reason.AUTH_MISSING)}, unless clients "
        "are known by their addresses here.",
        Severity.WARN,
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def _stop(seen: Seen, fault: Fault, phase: Phase) -> Stop | None:
    stop = seen.facts.stopped(phase)
    return stop if stop and stop.fault is fault else None


def _refusal(seen: Seen) -> Reply | None:
    """The reply that turned us away before anything about TLS was asked."""
    stop = seen.facts.stopped(Phase.GREETING, Phase.CAPABILITIES)
    return seen.facts.reply(stop.phase) if stop and stop.fault is Fault.UNEXPECTED_REPLY else None


def _has_other_check(seen: Seen, stop: Stop) -> bool:
    """Whether a fault of the greeting inside TLS is named by a check of its own: silence or a refusal."""
    refused = stop.fault is Fault.UNEXPECTED_REPLY and _is_refused(seen, stop)
    return stop.phase is Phase.GREETING and (refused or stop.fault in {Fault.TIMED_OUT, Fault.CLOSED})


def _starttls_refusal(seen: Seen) -> Reply | None:
    stop = _stop(seen, Fault.UNEXPECTED_REPLY, Phase.STARTTLS)
    return seen.facts.reply(Phase.STARTTLS) if stop else None


def _list_is_unknown(reply: Reply) -> bool:
    """A server without ESMTP has no STARTTLS either (RFC 5321 section 4.2.4: 500 and 502 mean not implemented).

    Nor has one that does not know CAPA (RFC 2595 section 4) or CAPABILITY.
    """
    unknown = reply.code in {500, 502} or (reply.word in {"-ERR", "BAD", "NO"} and not reply.is_transient)
    return reply.phase is Phase.CAPABILITIES and unknown


def _speaks_smtp_for_lmtp(seen: Seen) -> bool:
    reply = seen.facts.reply(Phase.CAPABILITIES) or seen.facts.reply(Phase.CAPABILITIES_IN_TLS)
    return seen.target.port.protocol is Protocol.LMTP and reply is not None and reply.code in {500, 502}


def _is_refused(seen: Seen, stop: Stop) -> bool:
    reply = seen.facts.reply(stop.phase)
    return reply is not None and reply.is_refusal


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


def _may_do_without_tls(seen: Seen) -> bool:
    """Whether strangers may come in clear (RFC 3207 section 4), and no stored certificate promises TLS."""
    return not seen.enforced and seen.expected.leaf_sha256 is None


def _unless_proven(seen: Seen) -> Severity:
    """A refusal fails the probe as long as no certificate was seen: nothing was proven."""
    return Severity.WARN if seen.facts.session else Severity.FAIL


def _fix(seen: Seen, reason: Reason) -> str:
    return seen.idiom.fixes[reason]


def _proxy_hint(seen: Seen) -> str:
    """What else may stand behind silence: a server that waits for a header before all else drops who sends none."""
    version = seen.target.port.proxy_protocol
    if version is ProxyProtocol.NONE:
        return f"or the port wants a header of the PROXY protocol (then set {seen.terms.proxy})"
    return f"or the port wants no PROXY header of {version.lower()} (then drop or change {seen.terms.proxy})"


def _unwanted(seen: Seen) -> str:
    """What to do first where a header was sent to a server that took it for a command."""
    if seen.target.port.proxy_protocol is ProxyProtocol.NONE:
        return ""
    return f"the port does not seem to want a PROXY header, so drop {seen.terms.proxy}, else "


def _listed(seen: Seen, phase: Phase) -> str:
    reply = seen.facts.reply(phase)
    return reply.text if reply else ""


def _told(stop: Stop) -> str:
    return f"{stop.fault}: {stop.detail}" if stop.detail else str(stop.fault)
