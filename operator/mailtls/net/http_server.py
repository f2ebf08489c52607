"""An HTTP server that strangers may reach: who is slow, sends much or opens many connections locks nobody out."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections are open at most, the oldest being ended for a new one, and what each may take.

    `seconds` are from the first byte of TCP to the last; `line` is the longest request line or header in octets.
    """

    connections: int = 200
    seconds: float = 10.0
    line: int = 2048
    headers: int = 64


def last_answer(status: int, text: str = "") -> web.Response:
    """Make the one response of a connection; it does not say which software makes it."""
    return closing(web.Response(status=status, text=text, content_type="text/plain"))


def closing(response: web.Response) -> web.Response:
    """Make a response the last of its connection."""
    response.headers["Server"] = "mailtls"
    response.force_close()
    return response


class _Protocol(web.RequestHandler):
    """Answers what is no HTTP without repeating any of it, and without a word in the log: the internet sends much."""

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        return last_answer(status)


class GuardedServer(web.Server):
    """Makes a protocol for each connection and ends the connection in time, whatever the peer does."""

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], bounds: Bounds | None = None
    ) -> None:
        super().__init__(handler)
        self._bounds = bounds or Bounds()
        self._open: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}
        quiet = logging.Logger("mailtls.http", logging.CRITICAL)  # noqa: LOG001 - read by nobody, by intent
        self._options: Mapping[str, Any] = {
            "access_log": None,
            "logger": quiet,
            "max_line_size": self._bounds.line,
            "max_field_size": self._bounds.line,
            "max_headers": self._bounds.headers,
            "lingering_time": 0.0,
            "auto_decompress": False,
            "read_bufsize": self._bounds.line,
        }

    def __call__(self) -> web.RequestHandler:
        """Make what serves one connection."""
        return _Protocol(self, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Make room for a connection, and set its time."""
        super().connection_made(handler, transport)
        for oldest in list(self._open)[: max(0, len(self._open) + 1 - self._bounds.connections)]:
            self._end(oldest)  # who holds many open must not lock the CA out
        timer = asyncio.get_running_loop().call_later(self._bounds.seconds, self._end, handler)
        self._open[handler] = (transport, timer)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection that is over."""
        super().connection_lost(handler, exc)
        if handler in self._open:
            self._open.pop(handler)[1].cancel()

    def abort(self) -> None:
        """Drop every connection."""
        for handler in list(self._open):
            self._end(handler)

    def _end(self, handler: web.RequestHandler) -> None:
        transport, timer = self._open.pop(handler)
        timer.cancel()
        transport.abort()


def listen(port: int) -> socket.socket:
    """Listen on all addresses of both families; raises OSError when the port is taken."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)
