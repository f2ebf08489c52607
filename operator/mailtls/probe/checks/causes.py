"""Causes that were seen, not guessed: what stands between client and server, and what servers demand of clients.

Where one of these is found, the checks that would describe its symptom say nothing.
"""

import re
from typing import Final

from mailtls.probe.checks.input import CheckInput, ending, may_do_without_tls, stop_at
from mailtls.probe.facts import Fault, Phase, Reply, Stop
from mailtls.probe.target import Protocol, Route
from mailtls.reasons.reason import Finding, Reason, Severity

_GREETINGS: Final = re.compile(r"220|\* (OK|PREAUTH)|\+OK|\"IMPLEMENTATION\"")
_HTTP: Final = "HTTP/"
_MASKED: Final = re.compile(r"X{4,}[A-Z]?")  # what Cisco's inspection writes over STARTTLS
_HIDDEN: Final = re.compile(r"[*0-2 ]{8,}")  # and over a greeting
_ABOUT_THE_NAME: Final = re.compile(
    r"\b(helo|ehlo|lhlo|host ?name|fully[- ]qualified|fqdn|address literal|domain name)\b", re.IGNORECASE
)
_NO_POINTER: Final = re.compile(r"cannot find your (reverse )?host ?name|\b[45]\.7\.25\b", re.IGNORECASE)  # RFC 7372
_SYNTAX_ERRORS: Final = frozenset({500, 502})  # the command is unknown, whatever name it has
_CERTIFICATE_WANTED: Final = re.compile(r"certificate required|alert bad certificate|client certificate", re.IGNORECASE)


def proxy_header_is_missing(given: CheckInput) -> Finding | None:
    """The port speaks to who sends a header of the PROXY protocol, and to nobody else."""
    if not given.facts.clues.wants_proxy_header:
        return None
    how = f"set {given.wording.proxy} to v2 where a load balancer in front sends one"
    if given.target.route is Route.PUBLIC:
        how = "let the load balancer in front send one"
    return Finding(
        Reason.PROXY_HEADER_MISSING,
        f"Port {given.port} speaks only to clients that begin with a header of the PROXY protocol: {how}, else turn it "
        "off in the server.",
        evidence="no answer without the header, and an answer with it",
    )


def greeting_is_held_back(given: CheckInput) -> Finding | None:
    """The greeting comes once the client has sent something: protocol detection of a mesh or a proxy."""
    prompted = given.facts.clues.prompted
    if not _GREETINGS.match(prompted):
        return None
    return Finding(
        Reason.GREETING_HELD_BACK,
        f"Port {given.port} greets only after the client has sent something, while {given.hints.server} speaks first: "
        f"a service mesh or proxy waits for the client's first bytes to detect the protocol: {given.wording.mesh}.",
        evidence=f"no greeting, but after a ClientHello: {prompted}",
    )


def web_server_answers(given: CheckInput) -> Finding | None:
    """The answer is HTTP: an Ingress, a web server, or a mesh that takes the port for HTTP."""
    stop = given.facts.stop
    said = next((text for text in (given.facts.clues.prompted, stop.detail if stop else "") if _HTTP in text[:8]), "")
    if not said:
        return None
    return Finding(
        Reason.PROTOCOL_ERROR,
        f"Port {given.port} speaks HTTP («{said}»): a web server, an Ingress or a load balancer for HTTP answers, or a "
        f"mesh takes the port for HTTP: correct the port or what leads to it, or {given.wording.mesh}.",
        evidence=said,
    )


def mesh_ends_tls(given: CheckInput) -> Finding | None:
    """The certificate is for a workload (SPIFFE) and no host: a sidecar's, for clients within its mesh."""
    leaf = given.leaf
    if not given.facts.clues.is_mesh and not (leaf and leaf.is_of_a_workload):
        return None
    return Finding(
        Reason.MESH_INTERFERES,
        f"TLS at port {given.port} is a service mesh's and not the mail server's: the certificate is for a workload "
        f"(spiffe://) and no host: {given.wording.mesh}.",
        evidence=f"certificate of {leaf.issuer or 'the mesh'}" if leaf else "a SPIFFE ID and no DNS name",
    )


def client_certificate_is_required(given: CheckInput) -> Finding | None:
    """The server turns clients without a certificate away, which are all mail clients (RFC 8446 section 6.2)."""
    stop = given.facts.stopped(Phase.HANDSHAKE, Phase.GREETING, Phase.CAPABILITIES_IN_TLS)
    if stop is None or not _CERTIFICATE_WANTED.search(stop.detail):
        return None
    return Finding(
        Reason.CLIENT_CERTIFICATE_REQUIRED,
        f"The server demands a certificate of its clients ({ending(stop)}), and mail clients have none: let it request "
        f"none at this port; if the server does not, a mesh with mutual TLS may: {given.wording.mesh}.",
    )


def client_hello_is_refused(given: CheckInput) -> Finding | None:
    """A handshake by a short ClientHello works, by the usual one it does not."""
    stop = given.facts.stop
    if stop is None or not given.facts.clues.takes_short_hello:
        return None
    return Finding(
        Reason.CLIENT_HELLO_REFUSED,
        f"The handshake of today's clients fails ({ending(stop)}), while a short ClientHello of TLS 1.2 is answered: a "
        "firewall or an old TLS library cannot read a ClientHello of TLS 1.3, or none in two packets, which ML-KEM "
        "needs: update it, or turn TLS inspection off for this port.",
        evidence=f"{ending(stop)}; TLS 1.2 alone works",
    )


def client_name_is_refused(given: CheckInput) -> Finding | None:
    """EHLO is refused for the name that it gives (RFC 5321 section 4.1.4)."""
    stop = given.facts.stopped(Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS)
    reply = given.facts.reply(stop.phase) if stop and stop.fault is Fault.UNEXPECTED_REPLY else None
    if reply is None or not _is_about_the_name(given, reply):
        return None
    return Finding(
        Reason.CLIENT_NAME_REFUSED,
        f"The server refuses the name by which it is greeted ({reply.text}): set {given.wording.client_name} to a host "
        f"name that it accepts, or exempt {given.wording.prober} from that rule.",
    )


def starttls_is_masked(given: CheckInput) -> Finding | None:
    """A device writes over STARTTLS, or hides EHLO, as Cisco's inspection of SMTP does."""
    said = _mask(given, stop_at(given, Fault.NOT_OFFERED, Phase.STARTTLS))
    if not said:
        return None
    return Finding(
        Reason.STARTTLS_MASKED,
        f"A device on the way writes over what the server says («{said}»), so no client can start TLS: a firewall "
        "inspects SMTP (Cisco ASA and PIX do): let it pass STARTTLS (allow-tls), or turn that off (no inspect esmtp).",
        Severity.WARN if may_do_without_tls(given) else Severity.FAIL,
        evidence=said,
    )


def _mask(given: CheckInput, not_offered: Stop | None) -> str:
    """What was written over, empty where nothing was."""
    listed = given.facts.reply(Phase.CAPABILITIES)
    masked = [line for line in listed.capabilities if _MASKED.fullmatch(line)] if listed and not_offered else []
    if masked:
        return masked[0]
    greeting = given.facts.reply(Phase.GREETING)
    is_hidden = greeting is not None and bool(_HIDDEN.fullmatch(" ".join(greeting.lines)))
    is_unknown = listed is not None and listed.code in _SYNTAX_ERRORS
    return greeting.text if greeting and is_hidden and (not_offered or is_unknown) else ""


def _is_about_the_name(given: CheckInput, reply: Reply) -> bool:
    speaks_smtp = given.target.port.protocol in {Protocol.SMTP, Protocol.LMTP}
    is_refused = reply.is_refusal and reply.code not in _SYNTAX_ERRORS
    is_refused = is_refused and not wants_pointer(reply)
    return speaks_smtp and is_refused and bool(_ABOUT_THE_NAME.search(reply.text))


def wants_pointer(reply: Reply) -> bool:
    """Whether the client is refused as no PTR record names its address, which no name that it gives changes."""
    return reply.is_refusal and bool(_NO_POINTER.search(reply.text))
