"""Finds the addresses of hosts as this machine does, and which of them it could reach at all."""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mailtls.model.quoting import shorten
from mailtls.world.dns.records import MOST_ADDRESSES, Lookup
from mailtls.world.lookup import look_up

_DISCARD_PORT: Final = 9
_UNKNOWN: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)})
_NO_ROUTE: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
)


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a host; without any, `failure` says why nobody answered, empty: there is no such name."""

    addresses: tuple[str, ...] = ()
    failure: str = ""


FindAddresses = Callable[[str], Found]


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


def by_resolver(lookup: Lookup) -> FindAddresses:
    """Ask the resolver that the user named, and nothing else."""

    def find(host: str) -> Found:
        answers = lookup.addresses(host)
        addresses = tuple(address for answer in answers for address in answer.values)
        failure = next((answer.failure for answer in answers if answer.failure), "")
        return Found(addresses, "" if addresses else failure)

    return find


def is_routable(address: str) -> bool:
    """Whether this machine has a way to an address: IPv6 is missing in many places. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as knocker:
            knocker.connect((address, _DISCARD_PORT))
    except OSError as error:
        return error.errno not in _NO_ROUTE
    return True
