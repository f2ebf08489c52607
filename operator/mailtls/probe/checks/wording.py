"""What findings call things: each protocol's own words, and what the reader of a message can change."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mailtls.probe.facts import Phase
from mailtls.probe.target import Protocol
from mailtls.reasons.software import Software


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


def usual_software(protocol: Protocol) -> Software:
    """Return the server to speak of where the greeting names none."""
    return Software.POSTFIX if protocol is Protocol.SMTP else Software.DOVECOT


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
