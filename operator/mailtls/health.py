"""The operator's own HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread

from aiohttp import web

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STOP_TIMEOUT = 1.0  # seconds

Check = Callable[[], str | None]
Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Checks:
    """What the kubelet may ask; each returns a sentence about what is wrong, None when all is well.

    `live` is wrong when only a restart helps; `ready` when this replica does not do its duty yet.
    """

    live: Check
    ready: Check


class HealthServer:
    """Serves in a thread of its own, so that it answers whatever the others do."""

    def __init__(self, port: int, checks: Checks, metrics: Callable[[], bytes]) -> None:
        self._port, self._checks, self._metrics = port, checks, metrics
        self._loop = asyncio.new_event_loop()
        self._stopping: asyncio.Event | None = None
        self._bound: Future[int] = Future()
        self._thread = Thread(target=self._run, name="health", daemon=True)

    def start(self) -> int:
        """Listen, and return the port (a free one when 0 was asked for); raises OSError when it is taken."""
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
        application = web.Application()
        application.router.add_get("/metrics", self._show_metrics)
        application.router.add_get("/healthz", _asking(self._checks.live))
        application.router.add_get("/readyz", _asking(self._checks.ready))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_TIMEOUT)
        await runner.setup()
        try:
            listening = _listen(self._port)
            await web.SockSite(runner, listening).start()
            self._bound.set_result(listening.getsockname()[1])
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _asking(check: Check) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        problem = check()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    return answer
