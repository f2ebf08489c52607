"""The operator's own HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from aiohttp import web

from mailtls.net.http_server import BACKLOG, Bounds, GuardedServer, closing, last_answer, listen

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STOP_TIMEOUT = 1.0  # seconds
Check = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Checks:
    """What the kubelet may ask; each returns a sentence about what is wrong, None when all is well.

    `live` is wrong when only a restart helps; `ready` when this replica does not do its duty yet.
    """

    live: Check
    ready: Check


class HealthServer:
    """Serves in a thread of its own, so that it answers whatever the others do, and within bounds.

    A connection answers one request and ends, and none lives longer than ten seconds.
    """

    def __init__(self, port: int, checks: Checks, metrics: Callable[[], bytes], bounds: Bounds | None = None) -> None:
        self._port, self._checks, self._metrics, self._bounds = port, checks, metrics, bounds or Bounds()
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
        listening, guarded = listen(self._port), GuardedServer(self._answer, self._bounds)
        server = await asyncio.get_running_loop().create_server(guarded, sock=listening, backlog=BACKLOG)
        self._bound.set_result(listening.getsockname()[1])
        await self._stopping.wait()
        server.close()
        guarded.abort()
        with suppress(TimeoutError):
            await asyncio.wait_for(guarded.shutdown(timeout=0), STOP_TIMEOUT)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return last_answer(405)
        match request.path:
            case "/metrics":
                return closing(web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE}))
            case "/healthz":
                return _verdict(self._checks.live())
            case "/readyz":
                return _verdict(self._checks.ready())
        return last_answer(404)


def _verdict(problem: str | None) -> web.Response:
    return last_answer(503 if problem else 200, problem or "ok")
