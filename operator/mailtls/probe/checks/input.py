"""What each check is given, what checks share, and what findings call things in each protocol."""

from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mailtls.pki.served_certificate import ServedCertificate, describe, read_served
from mailtls.probe.facts import Facts, Fault, Phase, Reply, Stop
from mailtls.probe.target import Expected, Protocol, ProxyProtocol, Target, Thresholds, TlsMode, TlsPolicy
from mailtls.reasons.advice import setting
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding
from mailtls.reasons.software import Software, product_name, software_of


@dataclass(frozen=True, slots=True)
class ProtocolHints:
    """Words of one protocol; `ports` says which of its ports begin how."""

    server: str  # with its article
    list_command: str
    ports: str
    starts: str = "STARTTLS"

    def phase(self, phase: Phase) -> str:
        """Name a phase so that it is found in a transcript."""
        listing = phase in {Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS}
        return f"{phase} ({self.list_command})" if listing else self.starts if phase is Phase.STARTTLS else str(phase)


_HINTS: Final = MappingProxyType(
    {
        Protocol.SMTP: ProtocolHints("an SMTP server", "EHLO", "25 and 587 are STARTTLS ports, 465 is implicit"),
        Protocol.LMTP: ProtocolHints("an LMTP server", "LHLO", "24 is a STARTTLS port"),
        Protocol.IMAP: ProtocolHints("an IMAP server", "CAPABILITY", "143 is a STARTTLS port, 993 is implicit"),
        Protocol.POP3: ProtocolHints("a POP3 server", "CAPA", "110 is an STLS port, 995 is implicit", "STLS"),
        Protocol.SIEVE: ProtocolHints("a ManageSieve server", "CAPABILITY", "4190 is a STARTTLS port"),
    }
)


def hints_for(protocol: Protocol) -> ProtocolHints:
    """Return the words of a protocol."""
    return _HINTS[protocol]


@dataclass(frozen=True, slots=True)
class Wording:
    """Parts of sentences, in the words of whoever reads them."""

    trust: str
    stored: str  # where the server should take its certificate from
    own: str  # which certificate it should use instead of a self-signed one
    owner: str  # whom the address should belong to
    chain: str  # a file that holds the whole chain
    add_name: str
    leave_staging: str  # how to leave the staging CA
    prober: str  # whose address to let in
    silence: str  # why a port may not answer at all
    network: str
    implicit: str
    start_tls: str
    proxy: str
    claimed: str
    login: str
    timeout: str
    client_name: str
    key_files: str  # how to let the server read them
    mesh: str  # how to keep a mesh out


IN_CLUSTER: Final = Wording(
    trust="`probe.trust`",
    stored="the mounted Secret",
    own="the one of the Secret",
    owner="this workload",
    chain="tls.crt as it is",
    add_name="add the name to `dnsNames`",
    leave_staging="`acme.server: letsencrypt`",
    prober="the operator's address",
    silence="a NetworkPolicy or firewall may drop the packets, or the pod is gone",
    network="the pod network and the address family",
    implicit="set `tlsMode: Implicit` for it",
    start_tls="`tlsMode: StartTLS` for the port",
    proxy="`proxyProtocol` of this port",
    claimed="`xclientAddress`",
    login="the Secret",
    timeout="`timeout` of this port",
    client_name="`probe.clientName`",
    key_files="set securityContext.fsGroup of the pod to a group of that user, and defaultMode of the volume to 0440",
    mesh="let it pass the port as plain TCP (Istio: appProtocol: tcp in the Service, or the pod annotation "
    "traffic.sidecar.istio.io/excludeInboundPorts; Linkerd: config.linkerd.io/opaque-ports or skip-inbound-ports)",
)
BY_HAND: Final = Wording(
    trust="--ca-file",
    stored="the renewed files",
    own="one that a CA has signed",
    owner="this server",
    chain="the leaf, then its intermediates",
    add_name="reissue it with that name too",
    leave_staging="with certbot: without --staging",
    prober="this machine's address",
    silence="a firewall may drop the packets, or the host is down; many providers block port 25 to the outside",
    network="this machine's network and the address family",
    implicit="probe it as implicit TLS (port/implicit)",
    start_tls="probe it as STARTTLS (port/starttls)",
    proxy="--proxy-protocol",
    claimed="--xclient",
    login="what was given",
    timeout="--timeout",
    client_name="--client-name",
    key_files="let the server's user read them",
    mesh="let it pass the port as plain TCP",
)


@dataclass(frozen=True, slots=True)
class CheckInput:
    """One probe's facts beside what was expected; `chain` is empty when no certificate could be read."""

    target: Target
    expected: Expected
    facts: Facts
    now: datetime
    chain: tuple[ServedCertificate, ...] = ()

    @classmethod
    def of(cls, target: Target, expected: Expected, facts: Facts, now: datetime) -> "CheckInput":
        """Read the served chain; an unreadable certificate behind the leaf is left to OpenSSL's verdict."""
        served = [read_served(der) for der in facts.session.chain] if facts.session else []
        readable = served[:1] != [None]
        chain = tuple(certificate for certificate in served if certificate) if readable else ()
        return cls(target, expected, facts, now, chain)

    @property
    def leaf(self) -> ServedCertificate | None:
        """The certificate that the server calls its own."""
        return self.chain[0] if self.chain else None

    @property
    def port(self) -> int:
        """The number of the port."""
        return self.target.port.port

    @property
    def thresholds(self) -> Thresholds:
        """What the server is held against at this port."""
        return self.expected.thresholds.overruled(self.target.port.thresholds)

    @property
    def hints(self) -> ProtocolHints:
        """The words of the port's protocol."""
        return hints_for(self.target.port.protocol)

    @property
    def wording(self) -> Wording:
        """What the reader of a message calls the things to change."""
        return BY_HAND if self.expected.by_hand else IN_CLUSTER

    @property
    def software(self) -> Software | None:
        """The server that the greeting names, else the one that should be there; None where nobody says."""
        greeting = self.facts.replies[:1]
        return software_of(line for reply in greeting for line in reply.lines) or self.target.software

    @property
    def implicit(self) -> bool:
        """Whether TLS comes first on this port."""
        return self.target.port.tls_mode is TlsMode.IMPLICIT

    @property
    def enforced(self) -> bool:
        """Whether clients must not do without TLS here."""
        return self.target.port.tls_policy is TlsPolicy.ENFORCED

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the server lists inside TLS, sorted; empty where no list came."""
        reply = self.facts.reply(Phase.CAPABILITIES_IN_TLS)
        return tuple(sorted({line.upper() for line in reply.capabilities})) if reply else ()

    @property
    def logins(self) -> str:
        """The login mechanisms that are offered inside TLS, quoted; empty where there are none, or no list came."""
        reply = self.facts.reply(Phase.CAPABILITIES_IN_TLS)
        return shorten((reply.logins if reply else None) or "")

    def keyword(self, phase: Phase, name: str) -> str | None:
        """Parameters of a capability in a phase, None when it was not listed or not reached."""
        reply = self.facts.reply(phase)
        return reply.keyword(name) if reply else None


def stop_at(given: CheckInput, fault: Fault, phase: Phase) -> Stop | None:
    """The stop, if the dialog ended in this phase and by this fault."""
    stop = given.facts.stopped(phase)
    return stop if stop and stop.fault is fault else None


def is_for_now(reply: Reply) -> bool:
    """Whether a server that refuses says to come back later."""
    return reply.is_transient or reply.is_parting or reply.names_a_limit


def refusal_for_now_in_tls(given: CheckInput) -> Reply | None:
    """The reply inside TLS that says to come back later: Postfix counts a client's sessions after the handshake."""
    stop = stop_at(given, Fault.UNEXPECTED_REPLY, Phase.CAPABILITIES_IN_TLS)
    reply = given.facts.reply(stop.phase) if stop else None
    return reply if reply is not None and is_for_now(reply) else None


def may_do_without_tls(given: CheckInput) -> bool:
    """Whether strangers may come in clear (RFC 3207 section 4), and no stored certificate promises TLS."""
    return not given.enforced and given.expected.leaf_sha256 is None


def list_is_unknown(reply: Reply) -> bool:
    """A server without ESMTP has no STARTTLS either (RFC 5321 section 4.2.4: 500 and 502 mean not implemented).

    Nor has one that does not know CAPA (RFC 2595 section 4) or CAPABILITY.
    """
    unknown = reply.code in {500, 502} or (reply.word in {"-ERR", "BAD", "NO"} and not reply.is_transient)
    return reply.phase is Phase.CAPABILITIES and unknown


def wants_tls_before(reply: Reply) -> bool:
    """Whether EHLO is refused until TLS is started (530, RFC 3207 section 4), which it is asked for to do."""
    tls_first = 530
    return reply.phase is Phase.CAPABILITIES and reply.code == tls_first and "TLS" in reply.text.upper()


def speaks_smtp_for_lmtp(given: CheckInput) -> bool:
    """Whether LHLO is an unknown command, so that it is SMTP (RFC 2033 section 4.1)."""
    reply = given.facts.reply(Phase.CAPABILITIES) or given.facts.reply(Phase.CAPABILITIES_IN_TLS)
    return given.target.port.protocol is Protocol.LMTP and reply is not None and reply.code in {500, 502}


def is_refused(given: CheckInput, stop: Stop) -> bool:
    """Whether the server said no where the dialog ended."""
    reply = given.facts.reply(stop.phase)
    return reply is not None and reply.is_refusal


def proxy_hint(given: CheckInput) -> str:
    """What else may be the cause of silence: a server that expects a PROXY header drops clients that send none."""
    version = given.target.port.proxy_protocol
    if version is ProxyProtocol.NONE:
        return f"or the port wants a header of the PROXY protocol (then set {given.wording.proxy})"
    return f"or the port wants no PROXY header of {version.lower()} (then drop or change {given.wording.proxy})"


def unwanted(given: CheckInput) -> str:
    """What to do first where a header was sent to a server that took it for a command."""
    if given.target.port.proxy_protocol is ProxyProtocol.NONE:
        return ""
    return f"the port does not seem to want a PROXY header, so drop {given.wording.proxy}, else "


def header_is_taken_for_a_command(given: CheckInput) -> bool:
    """Whether what stands for the answer to EHLO is the answer to a PROXY header: it may come behind the greeting."""
    reply = given.facts.reply(Phase.CAPABILITIES)
    return given.target.port.proxy_protocol is not ProxyProtocol.NONE and reply is not None and list_is_unknown(reply)


def ending(stop: Stop) -> str:
    """How the dialog ended, with the words of the peer or the system where there are any."""
    return f"{stop.fault}: {stop.detail}" if stop.detail else str(stop.fault)


EVIDENCE_LIMIT: Final = 1000  # characters of all parts; each of them has its own


def with_setting(given: CheckInput, finding: Finding) -> Finding:
    """Add how to correct it in the server, where it is known which it is; a report by hand shows that apart."""
    software = given.software
    if software is None or given.expected.by_hand or not (how := setting(finding.reason, software)):
        return finding
    return replace(finding, message=f"{finding.message} {product_name(software)}: {how}")


def with_evidence(given: CheckInput, finding: Finding) -> Finding:
    """Add what was seen; it stays empty where the server was silent."""
    return replace(finding, evidence=shorten(finding.evidence or _last_words(given), EVIDENCE_LIMIT))


def chain(given: CheckInput) -> str:
    """What OpenSSL says of the chain, and its leaf."""
    if not given.facts.session:
        return ""
    verification = given.facts.session.verification
    return f"OpenSSL {verification.code} at depth {verification.depth}: {verification.words}; {describe(given.leaf)}"


def _last_words(given: CheckInput) -> str:
    stop = given.facts.stop
    reply = given.facts.reply(stop.phase) if stop else None
    return (stop.detail if stop else "") or (reply.text if reply else "")
