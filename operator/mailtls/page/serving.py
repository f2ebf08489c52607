"""The status page as a part of the operator's process: its own thread, its own watch, its own connections."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final

import structlog

from mailtls.kube.client import KubernetesCluster
from mailtls.kube.connection import Patience
from mailtls.kube.watching import WHOLE, Watch
from mailtls.net.effects import SystemClock
from mailtls.net.http_server import listen
from mailtls.net.server_thread import ServerThread
from mailtls.net.tls_files import CertificateFiles
from mailtls.page.access import Access
from mailtls.page.desk import Desk
from mailtls.page.feed import Feed
from mailtls.page.server import BOUNDS

_PATIENCE: Final = Patience(connect=2.0, read=3.0, retries=0)
log = structlog.get_logger()


class StatusPage:
    """Serves by TLS on all addresses where `certificate` names the folder of a pair, else on loopback alone.

    Without TLS a token could be read on its way, so then only `kubectl port-forward` leads here.
    """

    def __init__(
        self,
        port: int,
        certificate: Path | None,
        load: Callable[[], Any],
        namespaces: tuple[str, ...],
        stopping: Event,
        *,
        docs_url: str | None = None,
    ) -> None:
        clock = SystemClock()
        lists, watch = KubernetesCluster(load), Watch(load, WHOLE)
        self._feed = Feed(lists, watch, namespaces, clock, stopping, docs_url=docs_url or "")
        access = Access(KubernetesCluster(load, patience=_PATIENCE))
        desk = Desk(access, self._feed, clock, is_secure=certificate is not None)
        place = partial(listen, port) if certificate else partial(_listen_here, port)
        files = CertificateFiles(certificate) if certificate else None
        self._server = ServerThread("page", desk.answer, place, BOUNDS, files)

    def start(self) -> int | None:
        """Begin; return the port, None where it is taken: the operator's work goes on without the page."""
        try:
            port = self._server.start()
        except OSError as problem:
            log.error("the status page cannot be served", error=str(problem))  # noqa: TRY400 - no fault of the code
            return None
        self._feed.start()
        return port

    def stop(self) -> None:
        """Close the server; the feed ends with the process."""
        self._server.stop()


def _listen_here(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))
