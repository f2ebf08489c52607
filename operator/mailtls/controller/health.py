"""The operator's own HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from mailtls.net.http_server import Bounds, closing, last_answer, listen
from mailtls.net.server_thread import ServerThread

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Check = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Checks:
    """What the kubelet may ask; each returns a sentence about what is wrong, None when all is well.

    `live` is wrong when only a restart helps; `ready` when this replica does not do its duty yet.
    """

    live: Check
    ready: Check


class HealthServer(ServerThread):
    """Serves in a thread of its own, so that it answers whatever the others do, and within bounds."""

    def __init__(self, port: int, checks: Checks, metrics: Callable[[], bytes], bounds: Bounds | None = None) -> None:
        super().__init__("health", self._answer, partial(listen, port), bounds)
        self._checks, self._metrics = checks, metrics

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
