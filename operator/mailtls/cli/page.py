"""`mailtls page`: the status page on this machine, with what its user may see; nothing has to be installed for it."""

import secrets
import time
from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mailtls.cli.cluster import Connected, Context, Kubeconfig, Namespace, connected
from mailtls.cli.errors import unusable

if TYPE_CHECKING:
    from socket import socket

    from aiohttp import web

    from mailtls.api.resource_view import ResourceView
    from mailtls.page.frame import Page

_HERE: Final = "127.0.0.1"
_FRESH: Final = 5.0  # seconds for which one list serves all pages
_SECRET_OCTETS: Final = 16
_HIGHEST_PORT: Final = 65535


def page(
    *,
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=_HIGHEST_PORT, help="Port on this machine; 0: a free one.")
    ] = 0,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Serve the status page on this machine until Ctrl-C, with your own rights in the cluster."""
    with connected(context, kubeconfig, namespace) as place:
        desk = Desk(place, everywhere=everywhere)
        desk.views()  # what is wrong with the cluster or the rights is said at once
        _serve(desk, port)


def _serve(desk: "Desk", port: int) -> None:
    from threading import Event

    from mailtls.net.server_thread import ServerThread
    from mailtls.page.server import BOUNDS

    server = ServerThread("page", desk.answer, partial(_listen, port), BOUNDS)
    try:
        desk.port = server.start()
    except OSError as problem:
        raise unusable(f"Port {port} cannot be used: {problem.strerror}.") from None
    typer.echo(f"http://{_HERE}:{desk.port}{desk.root}")
    typer.echo("Whoever knows this address sees the page. Press Ctrl-C to end.", err=True)
    try:
        Event().wait()
    except KeyboardInterrupt:
        server.stop()


def _listen(port: int) -> "socket":
    from socket import create_server

    return create_server((_HERE, port))


class Desk:
    """Answers who knows the address: its path is a secret, as every user of a machine may connect to its loopback.

    A browser that was led here by another name (DNS rebinding) gets nothing either.
    """

    def __init__(self, place: Connected, *, everywhere: bool, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._place, self._everywhere, self._monotonic = place, everywhere, monotonic
        self.root = f"/{secrets.token_urlsafe(_SECRET_OCTETS)}/"
        self.port = 0
        self._views: tuple[ResourceView, ...] = ()
        self._until = 0.0

    def views(self) -> "tuple[ResourceView, ...]":
        """List what the user may see, now and then; raises what the `Cluster` raises."""
        from mailtls.kube.resource_views import find_all

        if self._monotonic() >= self._until:
            self._views = find_all(self._place.cluster, None if self._everywhere else self._place.namespace)
            self._until = self._monotonic() + _FRESH
        return self._views

    async def answer(self, request: "web.BaseRequest") -> "web.Response":
        """Answer one request."""
        import asyncio

        from mailtls.net.http_server import last_answer
        from mailtls.page.server import METHODS, response, split

        path, query = split(request)
        is_ours = request.headers.get("Host", "") in {f"{_HERE}:{self.port}", f"localhost:{self.port}"}
        if not is_ours or not compare_digest(path[: len(self.root)].encode(), self.root.encode()):
            return last_answer(404)
        if request.method not in METHODS:
            return last_answer(405)
        return response(await asyncio.to_thread(self._page, path[len(self.root) :], query))

    def _page(self, path: str, query: str) -> "Page":
        from mailtls.kube.interface import ApiError, Unreachable
        from mailtls.net.effects import SystemClock
        from mailtls.page import site
        from mailtls.page.frame import Board, notice

        board = Board(SystemClock().now())
        wanted = site.address(path, query)
        if wanted is None:
            return notice(404, "Not found", "There is no such page.", board)
        try:
            return site.page(wanted, self.views(), board)
        except (ApiError, Unreachable) as problem:
            return notice(502, "The cluster does not answer", str(problem), board)
