"""Which addresses the operator connects to when a stranger chose the name: a tenant, a CA, a redirect, the DNS.

A name can lead to the operator's own loopback, to a cloud's metadata service (169.254.169.254) or into the cluster's
private networks, and what answers there could be read from a message. So the address is judged after the name was
resolved, and exactly the judged address is dialled.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_COMPATIBLE: Final = ip_network("::/96")  # RFC 4291 section 2.5.5.1
_METADATA: Final = ip_address("fd00:ec2::254")  # the metadata service over IPv6; its IPv4 address is link-local


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be dialled. `allowed` networks go before every refusal; `private` admits those that are not global.

    `api_servers` are the addresses of the Kubernetes API, which answers the operator with the operator's rights.
    """

    allowed: tuple[Network, ...] = ()
    private: bool = True
    api_servers: frozenset[str] = frozenset()

    def refusal(self, address: str) -> str | None:
        """Say what the address is that must not be dialled; None: it may be."""
        try:
            found = _without_zone(address)
        except ValueError:
            return "no address"
        inner = _embedded(found)
        if any(_is_in(each, self.allowed) for each in (found, inner)):
            return None
        if any(str(each) in self.api_servers for each in (found, inner)):
            return "the Kubernetes API server"
        return _kind(inner) or _kind(found) or (None if self.private or inner.is_global else "a private address")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks such as `10.0.0.0/8` or `192.0.2.7`; raises ValueError with a sentence."""
    return tuple(_network(text) for text in texts)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"write networks such as 10.0.0.0/8 or 2001:db8::/32, not {text!r}") from None


def _without_zone(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address.partition("%")[0])


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 one, which is where packets end up; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour
    if inside is not None:
        return inside
    is_translated = any(address in network for network in _NAT64)
    is_compatible = address in _COMPATIBLE and int(address) > 1
    return IPv4Address(int(address) & 0xFFFFFFFF) if is_translated or is_compatible else address


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _kind(address: IPv4Address | IPv6Address) -> str | None:
    """Name what no installation means when it says a host."""
    if address == _METADATA:
        return "a cloud's metadata service"
    kinds = {
        "a loopback address": address.is_loopback,
        "a link-local address": address.is_link_local,
        "a multicast address": address.is_multicast,
        "the unspecified address": address.is_unspecified or (address.version == 4 and str(address).startswith("0.")),  # noqa: PLR2004 - the IP version
        "a broadcast address": str(address) == "255.255.255.255",
    }
    return next((kind for kind, is_so in kinds.items() if is_so), None)
