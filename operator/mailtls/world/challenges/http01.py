"""HTTP-01 (RFC 8555 section 8.3): answers the CA's requests for tokens, and nothing else."""

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

PATH: Final = "/.well-known/acme-challenge/"
PORT: Final = 8089

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")  # base64url without padding, RFC 8555 section 8.1
_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_CONNECTION_SECONDS: Final = 10.0  # from the first byte of TCP to the last: a CA needs a few milliseconds
_MOST_CONNECTIONS: Final = 2000
_LONGEST_LINE: Final = 2048
_MOST_HEADERS: Final = 64
_BACKLOG: Final = 1024
_STOP_SECONDS: Final = 0.5


def requested_token(path: str) -> str | None:
    """Return the token of a request target, None when it is not exactly that of a challenge."""
    token = path.removeprefix(PATH)
    return token if token != path and _TOKEN.fullmatch(token) else None


def requested_host(header: str) -> str | None:
    """Return the name in a Host header in lower case and without its port, None when it holds none."""
    match = _HOST.fullmatch(header)
    return match["name"].lower() if match else None


class Tokens:
    """The challenges that wait for a CA, by host and token; thread-safe, and never printed."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def present(self, host: str, token: str, key_authorization: str) -> None:
        """Answer `key_authorization` for `token` at `host` from now on."""
        with self._lock:
            self._answers[host.lower(), token] = key_authorization

    def remove(self, host: str, token: str) -> None:
        """Stop answering; success when it was not there."""
        with self._lock:
            self._answers.pop((host.lower(), token), None)

    def answer(self, host_header: str, path: str) -> str | None:
        """Return the key authorization for a request, None when it is not for a challenge that waits here."""
        host, token = requested_host(host_header), requested_token(path)
        if host is None or token is None:
            return None
        with self._lock:
            return self._answers.get((host, token))


class Http01Server:
    """Serves `tokens` on all addresses, in a thread and an event loop of its own.

    A connection answers one request and ends, and none lives longer than ten seconds. `port` 0 takes a free one.
    """

    def __init__(self, tokens: Tokens, port: int = PORT) -> None:
        self._tokens, self._wanted_port = tokens, port
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._wanted_port if self._socket is None else int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Listen; connections are accepted when this returns. Raises OSError when the port is taken."""
        self._socket = _listen(self._wanted_port)
        self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop, self._socket), name="http01", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and drop all connections; returns in less than a second. Harmless when not started."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(self._stopping.set)
        thread.join(_STOP_SECONDS + 0.4)
        self._thread = self._loop = self._socket = None

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        protocols = _Protocols(self._handle)
        server = await asyncio.get_running_loop().create_server(protocols, sock=listening, backlog=_BACKLOG)
        await self._stopping.wait()
        server.close()
        protocols.abort()
        with suppress(TimeoutError):
            await asyncio.wait_for(protocols.shutdown(timeout=0), _STOP_SECONDS)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        found = None
        if request.method in {"GET", "HEAD"} and len(hosts) == 1:
            found = self._tokens.answer(hosts[0], request.raw_path)
        return _last(404) if found is None else _last(200, found)


def _last(status: int, text: str = "") -> web.Response:
    """Make the one response of a connection; it does not tell which software makes it."""
    response = web.Response(status=status, text=text, content_type="text/plain", headers={"Server": "mailtls"})
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
        return _last(status)


class _Protocols(web.Server):
    """Makes a protocol for each connection and ends the connection in time, whatever the peer does."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler)
        self._open: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}
        quiet = logging.Logger("mailtls.http01", logging.CRITICAL)  # noqa: LOG001 - heard by nobody, by intent
        self._options: Mapping[str, Any] = {
            "access_log": None,
            "logger": quiet,
            "max_line_size": _LONGEST_LINE,
            "max_field_size": _LONGEST_LINE,
            "max_headers": _MOST_HEADERS,
            "lingering_time": 0.0,
            "auto_decompress": False,
            "read_bufsize": _LONGEST_LINE,
        }

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        for oldest in list(self._open)[: max(0, len(self._open) + 1 - _MOST_CONNECTIONS)]:
            self._end(oldest)  # who holds many open must not lock the CA out
        timer = asyncio.get_running_loop().call_later(_CONNECTION_SECONDS, self._end, handler)
        self._open[handler] = (transport, timer)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
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


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    return socket.create_server(("", port), backlog=_BACKLOG)
