"""Do the names resolve, and are the mail ports reached from here, as they would have to be by strangers."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from mailtls.api.spec import Desired
from mailtls.cli.preflight.place import Place
from mailtls.cli.results import Line, doubtful, good, unseen
from mailtls.hostname import named
from mailtls.maildomain.lookup.records import Lookup
from mailtls.probe.target import Protocol
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Reason

NAMES: Final = "dns"


def name_lines(desired: Desired, place: Place) -> Iterator[Line]:
    """Look each name up that is no wildcard, and the one that the probe dials from outside."""
    lookup = Lookup(place.resolver)
    public = (desired.probe.public.host,) if desired.probe.public else ()
    for name in dict.fromkeys((*desired.dns_names, *public)):
        if not name.startswith("*."):
            yield _line(lookup, name)


def _line(lookup: Lookup, name: str) -> Line:
    answers, name = lookup.addresses(name), named(name)
    addresses = [address for answer in answers for address in answer.values]
    if addresses:
        return good(NAMES, f"{name} has {', '.join(addresses)}.")
    failure = next((answer.failure for answer in answers if answer.failure), "")
    if failure:
        return unseen(NAMES, f"{name} could not be looked up ({failure}).")
    return doubtful(NAMES, f"{name} has no address yet: mail clients will not find it.", Reason.DNS_LOOKUP_FAILED)


PORTS: Final = "ports"
_SECONDS: Final = 3.0
_AT_ONCE: Final = 16
_MOST_ADDRESSES: Final = 8
_WHY: Final = (
    "before its pods and Service are there that is as it should be; else a firewall, a Service or a provider is in the "
    "way (many networks let nobody out to port 25)"
)


def port_lines(desired: Desired, place: Place) -> Iterator[Line]:
    """Connect to each port of each address of the name that clients dial; a name without any is reported elsewhere."""
    host, numbers = _outside(desired)
    if host.startswith("*.") or not numbers:
        return
    found = [address for answer in Lookup(place.resolver).addresses(host) for address in answer.values]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for address in found[:_MOST_ADDRESSES]:
            faults = pool.map(knock, [address] * len(numbers), numbers)
            yield from _at(f"{named(host)} at {address}", dict(zip(numbers, faults, strict=True)))


def knock(address: str, port: int) -> str:
    """Connect and leave again; returns what went wrong, empty when the port is reached."""
    try:
        socket.create_connection((address, port), _SECONDS).close()
    except TimeoutError:
        return "no answer in time"
    except OSError as error:
        return shorten(error.strerror or str(error))
    return ""


def _outside(desired: Desired) -> tuple[str, list[int]]:
    """The name and the ports as the world knows them: LMTP is for the servers of the house."""
    public = desired.probe.public
    ports = public.ports if public else [port for workload in desired.workloads for port in workload.ports]
    numbers = {port.port for port in ports if port.protocol is not Protocol.LMTP}
    return public.host if public else desired.server_name, sorted(numbers)


def _at(where: str, faults: dict[int, str]) -> Iterator[Line]:
    reached = [str(port) for port, fault in faults.items() if not fault]
    if reached:
        yield good(PORTS, f"{_counted(reached)} of {where} answer{'s' if len(reached) == 1 else ''} from here.")
    missed = [f"{port} ({fault})" for port, fault in faults.items() if fault]
    if missed:
        message = f"{_counted(missed)} of {where}: not reached from here; {_WHY}."
        yield doubtful(PORTS, message, Reason.PORT_BLOCKED)


def _counted(ports: list[str]) -> str:
    return f"{'Port' if len(ports) == 1 else 'Ports'} {', '.join(ports)}"
