"""What a finding calls the things to change: fields of the resource in a cluster, options on a command line."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Terms:
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


IN_CLUSTER: Final = Terms(
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
BY_HAND: Final = Terms(
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
