"""Which addresses are dialled when a stranger chose the name, and how names are looked up as the system does."""

import errno
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

from mailtls.reasons.quoting import shorten

Network: TypeAlias = IPv4Network | IPv6Network
_NAT64: Final = ip_network("64:ff9b::/96")  # RFC 6052 section 2.1
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")  # RFC 8215: of whatever length its network chooses
_INSIDE: Final = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))  # RFC 6052 section 2.2
_COMPATIBLE: Final = ip_network("::/96")  # RFC 4291 section 2.5.5.1
_METADATA: Final = frozenset(  # of clouds, beside 169.254.169.254, which is link-local
    {
        "fd00:ec2::254",  # Amazon, over IPv6
        "fd20:ce::254",  # Google, over IPv6
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's wire server
        "192.0.0.192",  # Oracle
    }
)


class Endpoints:
    """Addresses that are refused at one port only, learned while the process runs; thread-safe."""

    def __init__(self) -> None:
        self._known: frozenset[tuple[str, int]] = frozenset()

    def add(self, texts: Iterable[str]) -> None:
        """Learn endpoints such as `192.0.2.7:6443` or `[2001:db8::7]:443`; what is none is passed over."""
        self._known |= {found for text in texts if (found := _endpoint(text)) is not None}

    def has(self, address: IPv4Address | IPv6Address, port: int | None) -> bool:
        """Whether it is one of them."""
        return (str(address), port) in self._known


def _endpoint(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    try:
        return str(ip_address(host.strip("[]"))), int(port)
    except ValueError:
        return None  # a name: whoever dials it dials an address


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be dialled. `allowed` networks go before every refusal; `private` admits those that are not global.

    `api_servers` are the addresses of the Kubernetes API, which answers the operator with the operator's rights: those
    of its Service at any port; `api_endpoints` behind it at their port, for much else may listen on those machines.
    """

    allowed: tuple[Network, ...] = ()
    private: bool = True
    api_servers: frozenset[str] = frozenset()
    api_endpoints: Endpoints = field(default_factory=Endpoints, compare=False)

    def refusal(self, address: str, port: int) -> str | None:
        """Say what the address is that must not be dialled at this port; None: it may be."""
        try:
            found = _without_zone(address)
        except ValueError:
            return "no address"
        inner = _embedded(found)
        if _is_in(found, self.allowed) or all(_is_in(each, self.allowed) for each in inner):
            return None
        if any(str(each) in self.api_servers or self.api_endpoints.has(each, port) for each in (found, *inner)):
            return "the Kubernetes API server"
        is_private = not all(each.is_global for each in inner)
        kinds = (_kind(each) for each in (*inner, found))
        return next(filter(None, kinds), "a private address" if is_private and not self.private else None)


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


def _embedded(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The IPv4 addresses inside an IPv6 one, which is where packets may end up; else the address itself."""
    if isinstance(address, IPv4Address):
        return (address,)
    inside = address.ipv4_mapped or address.sixtofour
    if inside is not None:
        return (inside,)
    if address in _LOCAL_NAT64:
        inner = (IPv4Address(bytes(address.packed[at] for at in places)) for places in _INSIDE)
        return tuple(each for each in inner if each.packed[0]) or (address,)  # 0.x: the zeros of another length
    is_compatible = address in _COMPATIBLE and int(address) > 1
    return (IPv4Address(int(address) & 0xFFFFFFFF),) if address in _NAT64 or is_compatible else (address,)


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _kind(address: IPv4Address | IPv6Address) -> str | None:
    """Name what no installation means when it says a host."""
    if str(address) in _METADATA:
        return "a cloud's metadata service"
    kinds = {
        "a loopback address": address.is_loopback,
        "a link-local address": address.is_link_local,
        "a multicast address": address.is_multicast,
        "the unspecified address": address.is_unspecified or (address.version == 4 and str(address).startswith("0.")),  # noqa: PLR2004 - the IP version
        "a broadcast address": str(address) == "255.255.255.255",
    }
    return next((kind for kind, is_so in kinds.items() if is_so), None)


MOST_ADDRESSES: Final = 20  # of a host and family
LOOKUP_SECONDS: Final = 10.0
# A lookup cannot be called off: its thread ends when the system gives up. So many may be left behind at most: a dozen
# workers that wait for dead name servers may each leave one every few seconds, for a minute.
_LOOKUPS: Final = threading.BoundedSemaphore(256)
_DISCARD_PORT: Final = 9
_UNKNOWN: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)})
_NO_ROUTE: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
)
SocketAddress: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a host; without any, `failure` says why nobody answered, empty: there is no such name."""

    addresses: tuple[str, ...] = ()
    failure: str = ""


FindAddresses: TypeAlias = Callable[[str], Found]


def look_up(host: str, port: int | None, seconds: float = LOOKUP_SECONDS) -> Sequence[SocketAddress]:
    """Return the stream sockets' addresses of a host, or of an address, as `getaddrinfo` does.

    Raises OSError, UnicodeError for a label that IDNA cannot hold, and TimeoutError after `seconds`.
    """
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return _within(host, port, seconds)
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)


def by_system(host: str) -> Found:
    """Ask as every program here does, the hosts file included."""
    try:
        found = look_up(host, None)
    except socket.gaierror as error:
        return Found() if error.errno in _UNKNOWN else Found(failure=shorten(error.strerror or str(error)))
    except (OSError, UnicodeError) as error:
        return Found(failure=shorten(str(error)))
    addresses = dict.fromkeys(str(where[0]) for *_, where in found)
    families = ([each for each in addresses if (":" in each) is is_ipv6] for is_ipv6 in (False, True))
    return Found(tuple(address for family in families for address in family[:MOST_ADDRESSES]))


def is_routable(address: str) -> bool:
    """Whether this machine has a way to an address: IPv6 is missing in many places. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as knocker:
            knocker.connect((address, _DISCARD_PORT))
    except OSError as error:
        return error.errno not in _NO_ROUTE
    return True


def _within(host: str, port: int | None, seconds: float) -> Sequence[SocketAddress]:
    if not _LOOKUPS.acquire(timeout=seconds):
        raise TimeoutError("too many names are being looked up")
    answer: SimpleQueue[Sequence[SocketAddress] | Exception] = SimpleQueue()

    def look() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.put(error)
        finally:
            _LOOKUPS.release()

    threading.Thread(target=look, name="lookup", daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except Empty:
        raise TimeoutError("the name is not resolved in time") from None
    if isinstance(found, Exception):
        raise found
    return found
