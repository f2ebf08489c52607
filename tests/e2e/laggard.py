"""Holds an order in its middle: a name server of the zone that never gets its updates, so no proof is seen there."""

from __future__ import annotations

import random
import socket
import threading
from typing import TYPE_CHECKING

import dns.flags
import dns.message

if TYPE_CHECKING:
    from types import TracebackType

    from testbed.zones import NameServer, Zone

_PORT = 53
_LARGEST = 4096


class Laggard:
    """A second server of a zone, with authority and without records; `release` it, and the first one decides alone."""

    def __init__(self, names: NameServer, zone: Zone) -> None:
        """Listen on a loopback address of its own and join the zone."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
        self._socket.bind((address, _PORT))
        self._thread = threading.Thread(target=self._answer, name="laggard", daemon=True)
        self._thread.start()
        names.set_record(zone, zone.host("ns2"), "A", address)
        names.set_record(zone, zone.name, "NS", f"{zone.host('ns2')}.")  # beside ns1, which BIND lets nobody remove

    def __enter__(self) -> Laggard:
        """Hold until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self.release()

    def release(self) -> None:
        """Fall silent, which a CA's resolver would take no notice of either."""
        self._socket.close()

    def _answer(self) -> None:
        while True:
            try:
                wire, client = self._socket.recvfrom(_LARGEST)
                answer = dns.message.make_response(dns.message.from_wire(wire))
                answer.flags |= dns.flags.AA
                self._socket.sendto(answer.to_wire(), client)
            except OSError:
                return


def proofs(names: NameServer, zone: Zone) -> list[str]:
    """The TXT records of a zone: what challenges left there."""
    return [record for record in names.records(zone) if record.split()[3] == "TXT"]
