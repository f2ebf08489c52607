"""What findings call things: each protocol's own words, and what the reader of a message can change."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mailtls.probe.replies import Phase
from mailtls.probe.target import Protocol
from mailtls.reasons.reason import Reason


@dataclass(frozen=True, slots=True)
class ProtocolHints:
    """Words of one protocol; `ports` says which of its ports begin how."""

    server: str  # with its article
    asks: str
    ports: str
    fixes: Mapping[Reason, str]
    starts: str = "STARTTLS"

    def phase(self, phase: Phase) -> str:
        """Name a phase so that it is found in a transcript."""
        listing = phase in {Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS}
        return f"{phase} ({self.asks})" if listing else self.starts if phase is Phase.STARTTLS else str(phase)


_POSTFIX: Final = MappingProxyType(
    {
        Reason.CONNECTION_REFUSED: "Postfix: enable the service in master.cf",
        Reason.PROBE_DENIED: "Postfix: mynetworks, postscreen_access_list",
        Reason.IMPLICIT_TLS_ON_STARTTLS_PORT: "turn smtpd_tls_wrappermode off in Postfix",
        Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT: "set smtpd_tls_wrappermode=yes for this service in Postfix's master.cf",
        Reason.STARTTLS_NOT_ADVERTISED: "set smtpd_tls_security_level=may and smtpd_tls_chain_files in Postfix",
        Reason.STARTTLS_UNAVAILABLE: (
            "in Postfix this is an unreadable, missing or mismatched certificate or key file, or a TLS rate limit; "
            "its log names the file"
        ),
        Reason.STARTTLS_REJECTED: (
            "in Postfix 502 means that TLS is off, so check smtpd_tls_security_level and that no proxy answers EHLO in "
            "its place"
        ),
        Reason.NO_SHARED_TLS_VERSION: (
            "set smtpd_tls_protocols and smtpd_tls_mandatory_protocols to >=TLSv1.2 in Postfix"
        ),
        Reason.EHLO_AFTER_TLS_FAILED: "a client certificate may be demanded (smtpd_tls_req_ccert)",
        Reason.AUTH_OFFERED_BEFORE_TLS: (
            "set smtpd_tls_auth_only=yes (or smtpd_tls_security_level=encrypt) in Postfix"
        ),
        Reason.AUTH_MISSING: "set smtpd_sasl_auth_enable=yes for the TLS service too",
        Reason.UNEXPECTED_CERTIFICATE: "smtpd_tls_chain_files (Postfix)",
    }
)
_DOVECOT: Final = MappingProxyType(
    {
        Reason.CONNECTION_REFUSED: "Dovecot: name the protocol in `protocols` and the port in an inet_listener",
        Reason.PROBE_DENIED: "its access rules, and Dovecot's login_access_sockets",
        Reason.IMPLICIT_TLS_ON_STARTTLS_PORT: "set `ssl = no` in the port's inet_listener in Dovecot",
        Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT: "set `ssl = yes` in the port's inet_listener in Dovecot",
        Reason.STARTTLS_NOT_ADVERTISED: "set `ssl = yes` and ssl_server_cert_file (2.3: ssl_cert) in Dovecot",
        Reason.STARTTLS_UNAVAILABLE: (
            "in Dovecot ssl_server_cert_file or ssl_server_key_file (2.3: ssl_cert, ssl_key) cannot be read or do not "
            "match; its log names the file"
        ),
        Reason.STARTTLS_REJECTED: "check `ssl` in Dovecot and that no proxy answers in its place",
        Reason.NO_SHARED_TLS_VERSION: "set ssl_min_protocol = TLSv1.2 in Dovecot",
        Reason.EHLO_AFTER_TLS_FAILED: "a login process may have died or be at its process_limit",
        Reason.AUTH_OFFERED_BEFORE_TLS: (
            "set auth_allow_cleartext = no (2.3: disable_plaintext_auth = yes) or ssl = required in Dovecot"
        ),
        Reason.AUTH_MISSING: "check auth_mechanisms in Dovecot",
        Reason.UNEXPECTED_CERTIFICATE: "ssl_server_cert_file (Dovecot; 2.3: ssl_cert)",
    }
)
_HINTS: Final = MappingProxyType(
    {
        Protocol.SMTP: ProtocolHints(
            "an SMTP server", "EHLO", "25 and 587 are STARTTLS ports, 465 is implicit", _POSTFIX
        ),
        Protocol.LMTP: ProtocolHints("an LMTP server", "LHLO", "24 is a STARTTLS port", _DOVECOT),
        Protocol.IMAP: ProtocolHints(
            "an IMAP server", "CAPABILITY", "143 is a STARTTLS port, 993 is implicit", _DOVECOT
        ),
        Protocol.POP3: ProtocolHints("a POP3 server", "CAPA", "110 is an STLS port, 995 is implicit", _DOVECOT, "STLS"),
        Protocol.SIEVE: ProtocolHints("a ManageSieve server", "CAPABILITY", "4190 is a STARTTLS port", _DOVECOT),
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
    authority: str  # how to leave the staging authority
    prober: str  # whose address to let in
    silence: str  # why a port may not answer at all
    network: str
    implicit: str
    start_tls: str
    proxy: str
    claimed: str
    login: str


IN_CLUSTER: Final = Wording(
    trust="`probe.trust`",
    stored="the mounted Secret",
    own="the one of the Secret",
    owner="this workload",
    chain="tls.crt as it is",
    add_name="add the name to `dnsNames`",
    authority="`acme.server: letsencrypt`",
    prober="the operator's address",
    silence="a NetworkPolicy or firewall may drop the packets, or the pod is gone",
    network="the pod network and the address family",
    implicit="set `tlsMode: Implicit` for it",
    start_tls="`tlsMode: StartTLS` for the port",
    proxy="`proxyProtocol` of this port",
    claimed="`xclientAddress`",
    login="the Secret",
)
BY_HAND: Final = Wording(
    trust="--ca-file",
    stored="the renewed files",
    own="one that a CA has signed",
    owner="this server",
    chain="the leaf, then its intermediates",
    add_name="reissue it with that name too",
    authority="with certbot: without --staging",
    prober="this machine's address",
    silence="a firewall may drop the packets, or the host is down; many providers block port 25 to the outside",
    network="this machine's network and the address family",
    implicit="probe it as implicit TLS (port/implicit)",
    start_tls="probe it as STARTTLS (port/starttls)",
    proxy="--proxy-protocol",
    claimed="--xclient",
    login="what was given",
)
