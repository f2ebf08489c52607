"""What lies between a probe and the pods, where it comes by a Service or from outside."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

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
from mailtls.probe.replies import Fault, Phase, Reply
from mailtls.probe.target import Target, Way

_PREAUTHENTICATED = "PREAUTH"


def connection_is_refused(seen: Seen) -> Finding | None:
    """Nothing listens (TCP reset)."""
    stop = stop_at(seen, Fault.REFUSED, Phase.CONNECT)
    if stop is None:
        return None
    return Finding(
        Reason.CONNECTION_REFUSED,
        f"Nothing listens on port {seen.port}: start the listener ({fix(seen, Reason.CONNECTION_REFUSED)}) or "
        "correct the port.",
    )


def connection_times_out(seen: Seen) -> Finding | None:
    """Packets vanish on the way."""
    stop = stop_at(seen, Fault.TIMED_OUT, Phase.CONNECT)
    if stop is None or seen.target.way is Way.PUBLIC:  # from outside it says less: `port_is_blocked`
        return None
    return Finding(
        Reason.CONNECT_TIMEOUT,
        f"Port {seen.port} does not answer at all: {seen.terms.silence}.",
    )


def network_is_unreachable(seen: Seen) -> Finding | None:
    """There is no route to the address, or a filter on the way says so (RFC 1812 section 5.2.7.1)."""
    stop = stop_at(seen, Fault.UNREACHABLE, Phase.CONNECT)
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


def probe_is_denied(seen: Seen) -> Finding | None:
    """A refusal for good (5xx) instead of a welcome; only a warning once the certificate is proven."""
    reply = _refusal(seen)
    if reply is None or not reply.is_permanent or list_is_unknown(reply) or reply.word == _PREAUTHENTICATED:
        return None
    return Finding(
        Reason.PROBE_DENIED,
        f"The server turns the prober away ({reply.text}): allow {seen.terms.prober} "
        f"({fix(seen, Reason.PROBE_DENIED)}).",
        _unless_proven(seen),
    )


def port_wants_tls_first(seen: Seen) -> Finding | None:
    """A port configured as StartTLS is silent until a ClientHello comes."""
    return (
        Finding(
            Reason.IMPLICIT_TLS_ON_STARTTLS_PORT,
            f"Port {seen.port} sends no greeting but answers TLS at once: {seen.terms.implicit}, or "
            f"{fix(seen, Reason.IMPLICIT_TLS_ON_STARTTLS_PORT)} ({seen.idiom.ports}, RFC 8314).",
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
            f"Port {seen.port} does not finish its greeting ({told(stop)}): a tarpit or an "
            "overloaded server keeps the prober waiting; allow the prober's address there.",
            evidence=stop.detail,
        )
    return Finding(
        Reason.NO_BANNER,
        f"Port {seen.port} accepts connections but sends no greeting ({told(stop)}): the server hangs, is overloaded, "
        f"{proxy_hint(seen)}.",
    )


def session_is_preauthenticated(seen: Seen) -> Finding | None:
    """IMAP greets by PREAUTH, and STARTTLS belongs to the state before authentication (RFC 9051 section 6.2.1)."""
    stop = stop_at(seen, Fault.UNEXPECTED_REPLY, Phase.GREETING)
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
        f"({told(stop)}): list {seen.terms.prober} in smtpd_authorized_xclient_hosts (Postfix), or remove "
        f"{seen.terms.claimed}.",
        _unless_proven(seen),
    )


def port_speaks_smtp_for_lmtp(seen: Seen) -> Finding | None:
    """LHLO is unknown, which every LMTP server knows (RFC 2033 section 4.1)."""
    reply = seen.facts.reply(Phase.CAPABILITIES) or seen.facts.reply(Phase.CAPABILITIES_IN_TLS)
    if reply is None or not speaks_smtp_for_lmtp(seen):
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
        or (stop.fault is Fault.UNEXPECTED_REPLY and not is_refused(seen, stop))
        or (stop.fault in {Fault.TIMED_OUT, Fault.CLOSED} and stop.phase is not Phase.GREETING)
    )
    if not stop or not odd or seen.facts.session:
        return None
    return Finding(
        Reason.PROTOCOL_ERROR,
        f"The talk broke off at {seen.idiom.phase(stop.phase)} ({told(stop)}): {unwanted(seen)}check that "
        f"{seen.idiom.server} listens on port {seen.port} and see its log.",
    )


def _refusal(seen: Seen) -> Reply | None:
    """The reply that turned us away before anything about TLS was asked."""
    stop = seen.facts.stopped(Phase.GREETING, Phase.CAPABILITIES)
    return seen.facts.reply(stop.phase) if stop and stop.fault is Fault.UNEXPECTED_REPLY else None


def _unless_proven(seen: Seen) -> Severity:
    """A refusal fails the probe as long as no certificate was seen: nothing was proven."""
    return Severity.WARN if seen.facts.session else Severity.FAIL


def port_is_blocked(seen: Seen) -> Finding | None:
    """From outside nobody answers: as likely a filter before us as one before the server, so no verdict on it."""
    stop = seen.facts.stopped(Phase.CONNECT)
    if seen.target.way is not Way.PUBLIC or stop is None or stop.fault is not Fault.TIMED_OUT:
        return None
    return Finding(
        Reason.PORT_BLOCKED,
        f"Port {seen.port} of {seen.target.address} does not answer from here: many providers block outgoing port 25, "
        "or a firewall drops the packets, or the address leads nowhere. Ask from elsewhere by `mailtls probe "
        f"{seen.target.pod}`.",
        Severity.WARN,
    )


def with_directions(target: Target, finding: Finding) -> Finding:
    """Say what else than the pod may be at fault."""
    if finding.severity is Severity.WARN or target.way not in _DIRECTIONS:
        return finding
    return replace(finding, message=f"{finding.message} {_DIRECTIONS[target.way](target)}")


def _by_service(target: Target) -> str:
    return (
        f"The Service {target.pod} leads there: see that its selector and targetPort match pods of {target.workload} "
        "only, and that these are ready."
    )


def _from_outside(target: Target) -> str:
    return (
        f"This answers at {target.address}, the public address of {target.pod}: a balancer, proxy or middlebox before "
        "the pods may do other than they, or the DNS record is wrong."
    )


_DIRECTIONS: Final[Mapping[Way, Callable[[Target], str]]] = MappingProxyType(
    {Way.SERVICE: _by_service, Way.PUBLIC: _from_outside}
)
