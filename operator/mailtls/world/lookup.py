"""Looks names up as the system does, hosts file included, and says which addresses this machine could reach.

`getaddrinfo` has no deadline of its own: here a lookup ends within a time.
"""

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

from mailtls.model.quoting import shorten

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
