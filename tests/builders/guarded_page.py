"""The status page as the operator serves it, before an API server of three people."""

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from socket import create_server

from builders.pages import NOW
from builders.pairs import self_signed
from mailtls.api.reading.document import Json
from mailtls.api.spec import PrivateKeyPolicy
from mailtls.issuance.certificates import new_key
from mailtls.net.server_thread import ServerThread
from mailtls.net.tls_files import CertificateFiles
from mailtls.page.access import REVIEWS, Access
from mailtls.page.desk import Desk
from mailtls.page.feed import Feed
from mailtls.page.server import BOUNDS

PEOPLE: Mapping[str, tuple[str, ...]] = {"root-token": ("",), "mail-token": ("mail",), "team-token": ("team-a",)}
"""Tokens, and the namespaces in which their owners may read; empty: all."""


class Always:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Return the moment of the builders."""
        return NOW


class PeoplesApi:
    """Reviews tokens and access, lists resources, and sends the events that it is given."""

    def __init__(self, resources: Sequence[Json] = (), events: Sequence[Json] = ()) -> None:
        self.resources, self.events = list(resources), list(events)
        self.created: list[Json] = []
        self.refuses: Exception | None = None
        self.holds = threading.Event()
        self.holds.set()

    def create(self, path: str, body: Json) -> Json:
        """Answer a review."""
        self.holds.wait(30)
        self.created.append(body)
        if self.refuses is not None:
            raise self.refuses
        spec = body["spec"]
        if path == REVIEWS:
            known = spec["token"] in PEOPLE
            return {
                "status": {
                    "authenticated": known,
                    "user": {"username": spec["token"].removesuffix("-token"), "groups": ["people"]},
                }
            }
        allowed, namespace = PEOPLE[f"{spec['user']}-token"], spec["resourceAttributes"]["namespace"]
        return {"status": {"allowed": "" in allowed or namespace in allowed}}

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all of a namespace, or of all."""
        parts = path.split("/")
        wanted = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
        return [each for each in self.resources if wanted in {"", each["metadata"]["namespace"]}]

    def version(self, path: str) -> str:
        """Return any."""
        return "1"

    def changes(self, path: str, version: str) -> Iterator[Json]:
        """Yield what there is, once."""
        while self.events:
            yield self.events.pop(0)


def followed(api: PeoplesApi, *namespaces: str) -> Feed:
    """A feed that has listed and has taken in all events."""
    feed = Feed(api, api, namespaces, Always(), threading.Event())
    for path in feed._heard:
        version = api.version(path)
        feed._take_all(path, api.list(path))
        for event in api.changes(path, version):
            feed._take(path, event)
    return feed


@contextmanager
def served(api: PeoplesApi, *, is_secure: bool = True) -> Iterator[int]:
    """Serve the page on a free port, by TLS or without."""
    key = new_key(PrivateKeyPolicy())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tls.key").write_bytes(key.pem)
        Path(folder, "tls.crt").write_text(self_signed(key, "localhost").chain_pem)
        desk = Desk(Access(api), followed(api), Always(), is_secure=is_secure)
        files = CertificateFiles(Path(folder)) if is_secure else None
        server = ServerThread("page", desk.answer, partial(create_server, ("127.0.0.1", 0)), BOUNDS, files)
        yield server.start()
        server.stop()
