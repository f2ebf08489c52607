"""Holds an order in its middle: a name server of the zone that never gets its updates, so no record is seen there."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import dns.flags
import dns.message

from testbed.sandbox import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.zones import NameServer, Zone

NODE_RANGE = "198.18.0.0/24"  # addresses that a node may have
_PORT = 53
_LARGEST = 4096
_LOOK = 0.1  # seconds between looks whether it was released


class Laggard:
    """A second server of a zone, with authority and without records."""

    def __init__(self, *, for_pods: bool = False) -> None:
        """Listen on a loopback address of its own, or on one of the node, which pods reach as well."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = self._bind(for_pods=for_pods)
        self._socket.settimeout(_LOOK)
        self._thread = threading.Thread(target=self._answer, name="laggard", daemon=True)
        self._thread.start()

    def _bind(self, *, for_pods: bool) -> str:
        while True:
            address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
            if for_pods:
                address = f"{NODE_RANGE.rpartition('.')[0]}.{random.randint(2, 254)}"
                subprocess.run(["ip", "addr", "replace", f"{address}/32", "dev", "node0"], check=True)
            with suppress(OSError):  # a test beside this one has it
                self._socket.bind((address, _PORT))
                return address

    def release(self) -> None:
        """Be gone: the other server decides alone from now on, as for a CA's resolver."""
        self._socket.close()
        self._thread.join()

    def _answer(self) -> None:
        while True:
            try:
                wire, client = self._socket.recvfrom(_LARGEST)
                answer = dns.message.make_response(dns.message.from_wire(wire))
                answer.flags |= dns.flags.AA
                self._socket.sendto(answer.to_wire(), client)
            except TimeoutError:
                continue
            except OSError:
                return


@contextmanager
def orders_held(names: NameServer, zone: Zone, *, for_pods: bool = False) -> Iterator[Laggard]:
    """Hold every order for the zone at its challenge until the end of the block, or until the laggard's release.

    `for_pods`: also those of an operator that runs in a pod; its `connections.allowedNetworks` need NODE_RANGE.
    """
    laggard = Laggard(for_pods=for_pods)
    names.set_record(zone, zone.host("ns2"), "A", laggard.address)
    names.set_record(zone, zone.name, "NS", f"{zone.host('ns2')}.")  # beside ns1, which BIND lets nobody remove
    try:
        yield laggard
    finally:
        laggard.release()


def challenge_records(names: NameServer, zone: Zone) -> list[str]:
    """The TXT records of a zone: what challenges left there."""
    return [record for record in names.records(zone) if record.split()[3] == "TXT"]


def await_challenge_record(names: NameServer, zone: Zone, *, within: float = PATIENCE) -> None:
    """Wait until a challenge record is published."""
    deadline = time.monotonic() + within
    while not challenge_records(names, zone):
        assert time.monotonic() < deadline, "no challenge record was published"
        time.sleep(0.1)
