"""What checks on the talk share: where it ended, what was refused, and what to set."""

from mailtls.lifecycle.probe.seen import Seen
from mailtls.model.probe.talk import Fault, Phase, Reply, Stop
from mailtls.model.reason import Reason
from mailtls.model.spec import Protocol, ProxyProtocol


def stop_at(seen: Seen, fault: Fault, phase: Phase) -> Stop | None:
    """The stop, if the talk ended in this phase and in this way."""
    stop = seen.facts.stopped(phase)
    return stop if stop and stop.fault is fault else None


def list_is_unknown(reply: Reply) -> bool:
    """A server without ESMTP has no STARTTLS either (RFC 5321 section 4.2.4: 500 and 502 mean not implemented).

    Nor has one that does not know CAPA (RFC 2595 section 4) or CAPABILITY.
    """
    unknown = reply.code in {500, 502} or (reply.word in {"-ERR", "BAD", "NO"} and not reply.is_transient)
    return reply.phase is Phase.CAPABILITIES and unknown


def speaks_smtp_for_lmtp(seen: Seen) -> bool:
    """Whether LHLO is an unknown command, so that it is SMTP (RFC 2033 section 4.1)."""
    reply = seen.facts.reply(Phase.CAPABILITIES) or seen.facts.reply(Phase.CAPABILITIES_IN_TLS)
    return seen.target.port.protocol is Protocol.LMTP and reply is not None and reply.code in {500, 502}


def is_refused(seen: Seen, stop: Stop) -> bool:
    """Whether the server said no where the talk ended."""
    reply = seen.facts.reply(stop.phase)
    return reply is not None and reply.is_refusal


def fix(seen: Seen, reason: Reason) -> str:
    """What the usual server of the protocol calls the settings to correct."""
    return seen.idiom.fixes[reason]


def proxy_hint(seen: Seen) -> str:
    """What else may stand behind silence: a server that waits for a header before all else drops who sends none."""
    version = seen.target.port.proxy_protocol
    if version is ProxyProtocol.NONE:
        return f"or the port wants a header of the PROXY protocol (then set {seen.terms.proxy})"
    return f"or the port wants no PROXY header of {version.lower()} (then drop or change {seen.terms.proxy})"


def unwanted(seen: Seen) -> str:
    """What to do first where a header was sent to a server that took it for a command."""
    if seen.target.port.proxy_protocol is ProxyProtocol.NONE:
        return ""
    return f"the port does not seem to want a PROXY header, so drop {seen.terms.proxy}, else "


def told(stop: Stop) -> str:
    """How the talk ended, with the words of the peer or the system where there are any."""
    return f"{stop.fault}: {stop.detail}" if stop.detail else str(stop.fault)
