"""What lies between a probe and the pods, where it comes by a Service or from outside."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from mailtls.probe.checks.causes import wants_pointer
from mailtls.probe.checks.input import (
    CheckInput,
    ending,
    header_is_taken_for_a_command,
    is_for_now,
    is_refused,
    list_is_unknown,
    proxy_hint,
    refusal_for_now_in_tls,
    speaks_smtp_for_lmtp,
    stop_at,
    unwanted,
    wants_tls_before,
)
from mailtls.probe.facts import Fault, Phase, Reply, Stop
from mailtls.probe.target import Route, Target
from mailtls.reasons.reason import Finding, Reason, Severity

_PREAUTHENTICATED = "PREAUTH"
_GREYLISTED: Final = re.compile(r"gr[ea]y-?list", re.IGNORECASE)


def connection_is_refused(given: CheckInput) -> Finding | None:
    """Nothing listens (TCP reset)."""
    stop = stop_at(given, Fault.REFUSED, Phase.CONNECT)
    if stop is None:
        return None
    return Finding(
        Reason.CONNECTION_REFUSED,
        f"Nothing listens on port {given.port}: start the listener or correct the port.",
    )


def connection_times_out(given: CheckInput) -> Finding | None:
    """Packets are dropped."""
    stop = stop_at(given, Fault.TIMED_OUT, Phase.CONNECT)
    if stop is None or given.target.route is Route.PUBLIC:  # from outside it says less: `port_is_blocked`
        return None
    return Finding(
        Reason.CONNECT_TIMEOUT,
        f"Port {given.port} does not answer at all: {given.wording.silence}.",
    )


def network_is_unreachable(given: CheckInput) -> Finding | None:
    """There is no route to the address, or a filter says so (RFC 1812 section 5.2.7.1)."""
    stop = stop_at(given, Fault.UNREACHABLE, Phase.CONNECT)
    if stop is None:
        return None
    return Finding(
        Reason.NETWORK_UNREACHABLE,
        f"{given.target.address} cannot be reached ({stop.detail}): a firewall may reject the packets, or no route "
        f"leads there: check {given.wording.network}.",
    )


def server_is_busy(given: CheckInput) -> Finding | None:
    """A refusal for now (4xx) instead of a welcome, or in TLS; only a warning once the certificate was seen."""
    reply = _refusal(given) or refusal_for_now_in_tls(given)
    if reply is None or not is_for_now(reply) or wants_pointer(reply):
        return None
    return Finding(
        Reason.SERVER_BUSY,
        f"The server says to come back later ({reply.text}): {_why_later(given, reply)}; the probe is repeated.",
        _unless_proven(given),
    )


def _why_later(given: CheckInput, reply: Reply) -> str:
    """The cause that the reply names, else all that there may be."""
    if _GREYLISTED.search(reply.text):
        return f"it keeps unknown clients waiting (greylisting): exempt {given.wording.prober} from it"
    if reply.names_a_limit:
        return f"its limit of connections is reached: raise it, or exempt {given.wording.prober} from it"
    return "it is overloaded, starting or limits connections"


def probe_is_denied(given: CheckInput) -> Finding | None:
    """A refusal for good (5xx) instead of a welcome; only a warning once the certificate was seen."""
    reply = _refusal(given)
    if reply is None or not (_is_for_good(reply) or wants_pointer(reply)):
        return None
    pointer = "give its address a PTR record, and that name the address, or " if wants_pointer(reply) else ""
    return Finding(
        Reason.PROBE_DENIED,
        f"The server refuses the prober ({reply.text}): {pointer}allow {given.wording.prober}.",
        _unless_proven(given),
    )


def _is_for_good(reply: Reply) -> bool:
    is_other = list_is_unknown(reply) or wants_tls_before(reply) or reply.word == _PREAUTHENTICATED
    return reply.is_permanent and not is_for_now(reply) and not is_other


def port_wants_tls_first(given: CheckInput) -> Finding | None:
    """A port configured as StartTLS is silent until a ClientHello comes."""
    return (
        Finding(
            Reason.IMPLICIT_TLS_ON_STARTTLS_PORT,
            f"Port {given.port} sends no greeting but answers TLS at once: {given.wording.implicit}, or "
            f"turn implicit TLS off in the server ({given.hints.ports}, RFC 8314).",
            evidence="no greeting, but TLS in answer to a ClientHello",
        )
        if given.facts.clues.tls_first
        else None
    )


def greeting_is_missing(given: CheckInput) -> Finding | None:
    """The connection stands, but no greeting comes, or it never ends (RFC 5321 section 4.2.1: `220-`)."""
    stop = given.facts.stopped(Phase.GREETING)
    if not stop or stop.fault not in {Fault.TIMED_OUT, Fault.CLOSED} or given.facts.clues.tls_first:
        return None
    if stop.detail and stop.fault is Fault.TIMED_OUT:
        return Finding(
            Reason.NO_BANNER,
            f"Port {given.port} does not finish its greeting ({ending(stop)}): the server keeps strangers waiting, as "
            f"postscreen does, or is overloaded: exempt {given.wording.prober}, or raise {given.wording.timeout}.",
            evidence=stop.detail,
        )
    return Finding(
        Reason.NO_BANNER,
        f"Port {given.port} accepts connections but sends no greeting ({ending(stop)}): {_why_silent(given, stop)}.",
        evidence=f"after a ClientHello: {given.facts.clues.prompted}" if given.facts.clues.prompted else "",
    )


def _why_silent(given: CheckInput, stop: Stop) -> str:
    """What is left when it is neither TLS nor a missing PROXY header that the port waits for."""
    if given.facts.session:
        return "what ends TLS there, such as a proxy, has no mail server behind it that answers"
    if given.facts.clues.prompted:
        said = given.facts.clues.prompted
        return (
            f"it makes clients wait and turns away those who do not («{said}»): exempt {given.wording.prober}, or "
            f"raise {given.wording.timeout}"
        )
    if stop.fault is Fault.CLOSED:
        return (
            "a load balancer has no server behind it, a limit of connections or an access rule turns clients away, the "
            f"server's process dies (see its log), {proxy_hint(given)}"
        )
    return (
        f"the server hangs, is overloaded or makes strangers wait longer (then raise {given.wording.timeout}), "
        f"{proxy_hint(given)}"
    )


def session_is_preauthenticated(given: CheckInput) -> Finding | None:
    """IMAP greets by PREAUTH, and STARTTLS belongs to the state before authentication (RFC 9051 section 6.2.1)."""
    stop = stop_at(given, Fault.UNEXPECTED_REPLY, Phase.GREETING)
    reply = given.facts.reply(Phase.GREETING)
    if not stop or not reply or reply.word != _PREAUTHENTICATED:
        return None
    return Finding(
        Reason.IMAP_PREAUTH_BLOCKS_STARTTLS,
        f"Port {given.port} greets with PREAUTH ({reply.text}), after which no client may start TLS: let the server "
        "require a login on this port; if it does, something between client and server forges the greeting.",
    )


def claimed_address_is_refused(given: CheckInput) -> Finding | None:
    """XCLIENT is not listed, or not answered by a new greeting (Postfix XCLIENT_README)."""
    stop = given.facts.stopped(Phase.XCLIENT)
    if stop is None:
        return None
    return Finding(
        Reason.XCLIENT_REFUSED,
        f"The server does not accept {given.target.port.xclient_address} as the client's address by XCLIENT "
        f"({ending(stop)}): let it accept XCLIENT from {given.wording.prober}, or remove {given.wording.claimed}.",
        _unless_proven(given),
    )


def port_speaks_smtp_for_lmtp(given: CheckInput) -> Finding | None:
    """LHLO is unknown, which every LMTP server knows (RFC 2033 section 4.1)."""
    reply = given.facts.reply(Phase.CAPABILITIES) or given.facts.reply(Phase.CAPABILITIES_IN_TLS)
    if reply is None or not speaks_smtp_for_lmtp(given):
        return None
    return Finding(
        Reason.PROTOCOL_ERROR,
        f"Port {given.port} does not know LHLO ({reply.text}), so it speaks SMTP and not LMTP: correct the port or its "
        "`protocol`.",
        evidence=reply.text,
    )


def server_speaks_another_protocol(given: CheckInput) -> Finding | None:
    """What came back is not the protocol, or came out of turn."""
    stop = given.facts.stopped(Phase.GREETING, Phase.CAPABILITIES, Phase.STARTTLS)
    odd = stop and (
        stop.fault is Fault.GARBLED
        or (stop.fault is Fault.UNEXPECTED_REPLY and not is_refused(given, stop))
        or (stop.fault in {Fault.TIMED_OUT, Fault.CLOSED} and stop.phase is not Phase.GREETING)
        or header_is_taken_for_a_command(given)
    )
    if not stop or not odd or given.facts.session:
        return None
    return Finding(
        Reason.PROTOCOL_ERROR,
        f"The dialog ended at {given.hints.phase(stop.phase)} ({ending(stop)}): {unwanted(given)}check that "
        f"{given.hints.server} listens on port {given.port} and see its log.",
    )


def _refusal(given: CheckInput) -> Reply | None:
    """The reply that refused the prober before TLS."""
    stop = given.facts.stopped(Phase.GREETING, Phase.CAPABILITIES)
    return given.facts.reply(stop.phase) if stop and stop.fault is Fault.UNEXPECTED_REPLY else None


def _unless_proven(given: CheckInput) -> Severity:
    """A refusal fails the probe as long as no certificate was seen: nothing is known."""
    return Severity.WARN if given.facts.session else Severity.FAIL


def port_is_blocked(given: CheckInput) -> Finding | None:
    """From outside nobody answers: as likely a filter before us as one before the server, so no verdict on it."""
    stop = given.facts.stopped(Phase.CONNECT)
    if given.target.route is not Route.PUBLIC or stop is None or stop.fault is not Fault.TIMED_OUT:
        return None
    return Finding(
        Reason.PORT_BLOCKED,
        f"Port {given.port} of {given.target.address} does not answer from here: many providers block outgoing port "
        "25, or a firewall drops the packets, or the address leads nowhere. Probe from elsewhere by `mailtls probe "
        f"{given.target.pod}`.",
        Severity.WARN,
    )


def with_directions(target: Target, finding: Finding) -> Finding:
    """Say what else than the pod may be the cause."""
    if finding.severity is Severity.WARN or target.route not in _DIRECTIONS:
        return finding
    return replace(finding, message=f"{finding.message} {_DIRECTIONS[target.route](target)}")


def _by_service(target: Target) -> str:
    return (
        f"The Service {target.pod} leads there: see that its selector and targetPort match pods of {target.workload} "
        "only, and that these are ready."
    )


def _from_outside(target: Target) -> str:
    return (
        f"This answers at {target.address}, the public address of {target.pod}: a load balancer, proxy or middlebox "
        "in front of the pods may answer differently, or the DNS record is wrong."
    )


_DIRECTIONS: Final[Mapping[Route, Callable[[Target], str]]] = MappingProxyType(
    {Route.SERVICE: _by_service, Route.PUBLIC: _from_outside}
)
