"""A guarded HTTP server in a thread and an event loop of its own, so that it answers whatever the others do."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Final

from aiohttp import web

from mailtls.net.http_server import BACKLOG, Bounds, GuardedServer

STOP_TIMEOUT: Final = 1.0  # seconds
HANDSHAKE_SECONDS: Final = 5.0
MOST_HANDSHAKES: Final = 64  # at a time; a new one ends the oldest, as with connections
_RELIEF: Final = 0.1  # seconds until another connection is accepted, where the process has too many files open
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Certificate = Callable[[], ssl.SSLContext | None]


class ServerThread:
    """Answers by `handler`, within bounds; a connection answers one request and ends.

    `listening` makes the socket. `certificate` is called for each connection where TLS is spoken, and gives None while
    there is none: such a connection is closed at once.
    """

    def __init__(
        self,
        name: str,
        handler: Handler,
        listening: Callable[[], socket.socket],
        bounds: Bounds | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self._handler, self._listening, self._bounds = handler, listening, bounds or Bounds()
        self._certificate = certificate
        self._loop = asyncio.new_event_loop()
        self._stopping: asyncio.Event | None = None
        self._bound: Future[int] = Future()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> int:
        """Listen, and return the port; raises OSError when it is taken."""
        self._thread.start()
        return self._bound.result()

    def stop(self) -> None:
        """Close the server."""
        if self._thread.is_alive() and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(2 * STOP_TIMEOUT)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as problem:
            self._bound.set_exception(problem)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        listening, guarded = self._listening(), GuardedServer(self._handler, self._bounds)
        if self._certificate is not None:
            accepting = asyncio.create_task(_accept(listening, guarded, self._certificate))
            close: Callable[[], object] = accepting.cancel
        else:
            server = await self._loop.create_server(guarded, sock=listening, backlog=BACKLOG)
            close = server.close
        self._bound.set_result(listening.getsockname()[1])
        await self._stopping.wait()
        close()
        listening.close()
        guarded.abort()
        with suppress(TimeoutError):
            await asyncio.wait_for(guarded.shutdown(timeout=0), STOP_TIMEOUT)


async def _accept(listening: socket.socket, guarded: GuardedServer, certificate: Certificate) -> None:
    """Accept connections ourselves: asyncio's own server lets any number of them sit in a handshake."""
    loop, shaking = asyncio.get_running_loop(), dict[asyncio.Task[None], None]()
    listening.setblocking(False)
    while True:
        try:
            connection, _ = await loop.sock_accept(listening)
        except OSError:
            await asyncio.sleep(_RELIEF)
            continue
        context = certificate()
        if context is None:
            connection.close()
            continue
        for oldest in list(shaking)[: max(0, len(shaking) + 1 - MOST_HANDSHAKES)]:
            oldest.cancel()
        task = loop.create_task(_shake_hands(connection, guarded, context))
        shaking[task] = None
        task.add_done_callback(lambda done: shaking.pop(done, None))


async def _shake_hands(connection: socket.socket, guarded: GuardedServer, context: ssl.SSLContext) -> None:
    with suppress(OSError):  # all that TLS and the network can say; who does not speak TLS is no news
        await asyncio.get_running_loop().connect_accepted_socket(
            guarded,
            connection,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=STOP_TIMEOUT,
        )
