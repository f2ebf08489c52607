"""Looks names up as the system does, hosts file included, within a time: `getaddrinfo` has no deadline of its own."""

import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

LOOKUP_SECONDS: Final = 10.0
# A lookup cannot be called off: its thread ends when the system gives up. So many may be left behind at most: a dozen
# workers that wait for dead name servers may each leave one every few seconds, for a minute.
_LOOKUPS: Final = threading.BoundedSemaphore(256)

SocketAddress: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def look_up(host: str, port: int | None, seconds: float = LOOKUP_SECONDS) -> Sequence[SocketAddress]:
    """Return the stream sockets' addresses of a host, or of an address, as `getaddrinfo` does.

    Raises OSError, UnicodeError for a label that IDNA cannot hold, and TimeoutError after `seconds`.
    """
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return _within(host, port, seconds)
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)


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
