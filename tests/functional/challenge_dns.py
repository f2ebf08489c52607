"""A DNS server of TXT records for the CA's own lookups, over TCP as Pebble asks."""

import socketserver
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Self

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class ChallengeDns:
    """Answers the TXT values added to it, and nothing for all else; use it in a `with`."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.05))

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, name: str, value: str) -> None:
        """Answer `value` at `name` from now on."""
        self._values.setdefault(f"{name}.", []).append(value)

    def set(self, name: str, values: Collection[str]) -> None:
        """Answer these values at `name` from now on."""
        self._values[f"{name}."] = list(values)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Make the answer to a query."""
        response = dns.message.make_response(query)
        question = query.question[0]
        values = self._values.get(question.name.to_text().lower(), [])
        if question.rdtype == dns.rdatatype.TXT and values:
            response.answer.append(
                dns.rrset.from_text(question.name, 1, "IN", "TXT", *(f'"{each}"' for each in values))
            )
        return response

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(zone: ChallengeDns) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while size := self.rfile.read(2):
                query = dns.message.from_wire(self.rfile.read(int.from_bytes(size, "big")))
                wire = zone.answer(query).to_wire()
                self.wfile.write(len(wire).to_bytes(2, "big") + wire)

    return Handler
