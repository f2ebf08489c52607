"""The watches of Secrets, our own and those that others write: over HTTP, metadata alone, and nothing kept of it."""

import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client import Configuration

from mailtls.api.reading.document import Json
from mailtls.api.spec import Key
from mailtls.controller.intake import Intake, Seen
from mailtls.controller.secret_watch import OWN, ExternalSecretWatch, OwnSecretWatch
from mailtls.kube import watching
from mailtls.kube.claims import Claims
from mailtls.kube.connection import METADATA_LIST
from mailtls.kube.interface import ApiError
from mailtls.kube.watching import METADATA, Watch

SECRETS = 5_000
LARGE = "x" * 2_000  # managedFields of a Secret that two tools write
PATIENCE = 20.0  # seconds; an error, and not how long it takes


def event(name: str, version: int, kind: str = "MODIFIED", owner: str | None = None) -> bytes:
    """One line of a watch, as the API server sends it."""
    meta: Json = {"namespace": "mail", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    if kind == "BOOKMARK":
        del meta["name"], meta["namespace"], meta["uid"]
    else:
        meta["labels"] = {"app.kubernetes.io/managed-by": "mailtls", "mailtls.dev/owner": owner} if owner else None
        meta["managedFields"] = [{"manager": LARGE}]
    body = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


GONE = json.dumps(
    {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
)


BREAKS = b""  # in a script: the connection breaks


class ApiServer:
    """An API server for watches: each connection gets the next script, and ends after it. It refuses some first."""

    def __init__(self) -> None:
        self.scripts: list[Callable[[], Iterator[bytes]]] = []
        self.refused = 0
        self.asked: list[tuple[str, str]] = []
        self.version = 100
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers["Accept"]))
                is_watch = "watch=1" in self.path
                if self.headers["Accept"] != (METADATA if is_watch else METADATA_LIST):
                    self.send_error(406)  # as a real one, which takes one form for each
                    return
                if is_watch and outer.refused:
                    outer.refused -= 1
                    self.send_error(403)
                    return
                self.send_response(200)
                if not is_watch:
                    body = json.dumps({"metadata": {"resourceVersion": str(outer.version)}}).encode()
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for line in outer.scripts.pop(0)() if outer.scripts else outer.silence():
                    if line == BREAKS:
                        self.close_connection = True
                        return
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self.ending = Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()

    def silence(self) -> Iterator[bytes]:
        """Say nothing until the end."""
        self.ending.wait()
        yield from ()

    def watches(self) -> list[str]:
        """What was watched, in order."""
        return [path for path, _ in self.asked if "watch=1" in path]

    def cluster(self, **selected: str) -> Watch:
        """The adapter that talks to it."""
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{self.server.server_address[1]}"
        return Watch(lambda: configuration, selected=selected)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server on loopback."""
    made = ApiServer()
    yield made
    made.ending.set()
    made.server.shutdown()
    made.server.server_close()


class Woken:
    """What the intake wakes, in order."""

    def __init__(self) -> None:
        self.keys: Queue[Key] = Queue()
        self.seen = Seen()
        self.intake = Intake(self.keys.put, lambda key, _delay: self.keys.put(key), Claims(), self.seen)

    def next(self) -> Key:
        """Wait for the next key."""
        return self.keys.get(timeout=PATIENCE)

    def is_idle(self) -> bool:
        """Whether nothing else was woken."""
        try:
            self.keys.get_nowait()
        except Empty:
            return True
        return False


def resource(name: str, secret: str, **spec: Any) -> Json:
    """A MailServerTLS in namespace mail."""
    meta = {"namespace": "mail", "name": name, "uid": f"uid-{name}", "generation": 1}
    return {"metadata": meta, "spec": {"dnsNames": ["mx.example.test"], "secretName": secret} | spec}


@pytest.fixture
def stopping() -> Iterator[Event]:
    """Set at the end."""
    made = Event()
    yield made
    made.set()


def test_secret_that_a_resource_names_wakes_it_and_no_other_does(server: ApiServer, stopping: Event) -> None:
    """Of all that happens to Secrets, only what is about a named one of somebody else wakes a resource."""
    woken = Woken()
    woken.intake.prime([resource("theirs", "mx-tls", external={}), resource("ours", "own-tls")])
    assert {woken.next(), woken.next()} == {Key("mail", "theirs"), Key("mail", "ours")}
    server.scripts.append(lambda: iter([event("other", 101), event("own-tls", 102), event("mx-tls", 103)]))
    ExternalSecretWatch(server.cluster(), (), woken.intake, stopping).start()
    assert woken.next() == Key("mail", "theirs")  # what happened before it began is not known
    assert woken.next() == Key("mail", "theirs")
    assert woken.is_idle()


def test_only_metadata_is_asked_for(server: ApiServer, stopping: Event) -> None:
    """No contents of a Secret leave the API server, not even of the one that is listed for its version."""
    woken = Woken()
    woken.intake.prime([resource("theirs", "mx-tls", external={})])
    ExternalSecretWatch(server.cluster(), ("mail",), woken.intake, stopping).start()
    assert {woken.next(), woken.next()} == {Key("mail", "theirs")}
    server.scripts.append(server.silence)
    for path, accept in list(server.asked):
        assert path.startswith("/api/v1/namespaces/mail/secrets?")
        assert accept in {METADATA, METADATA_LIST}


def test_watch_goes_on_where_the_last_one_ended(server: ApiServer, stopping: Event) -> None:
    """A watch that the server ends is followed by one from the version that the last bookmark told, without a list."""
    woken = Woken()
    woken.intake.prime([resource("theirs", "mx-tls", external={})])
    server.scripts += [
        lambda: iter([event("other", 150), event("", 170, "BOOKMARK")]),
        lambda: iter([event("mx-tls", 171)]),
    ]
    ExternalSecretWatch(server.cluster(), (), woken.intake, stopping).start()
    assert [woken.next() for _ in range(3)] == [Key("mail", "theirs")] * 3  # primed, begun, changed
    assert "resourceVersion=100" in server.watches()[0]
    assert "resourceVersion=170" in server.watches()[1]
    assert sum("limit=1" in path for path, _ in server.asked) == 1


def test_gap_in_the_watch_has_every_secret_looked_at(server: ApiServer, stopping: Event) -> None:
    """When the version is too old, nobody knows what happened: the resources look themselves."""
    woken = Woken()
    woken.intake.prime([resource("theirs", "mx-tls", external={})])
    server.scripts.append(lambda: iter([GONE.encode() + b"\n"]))
    ExternalSecretWatch(server.cluster(), (), woken.intake, stopping).start()
    assert [woken.next() for _ in range(3)] == [Key("mail", "theirs")] * 3  # primed, begun, begun again
    assert sum("limit=1" in path for path, _ in server.asked) == 2


def test_connection_that_breaks_or_falls_silent_is_followed_by_another_without_a_look_at_all(
    server: ApiServer, stopping: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was missed: the next watch goes on from the last event, and only what happened wakes a resource."""
    monkeypatch.setattr(watching, "WATCH_SILENCE", 0.5)
    woken = Woken()
    woken.intake.prime([resource("theirs", "mx-tls", external={})])
    server.scripts += [
        lambda: iter([event("other", 150), BREAKS]),
        lambda: itertools.chain([event("other", 151)], server.silence()),
        lambda: iter([event("mx-tls", 152)]),
    ]
    ExternalSecretWatch(server.cluster(), (), woken.intake, stopping).start()
    assert [woken.next() for _ in range(3)] == [Key("mail", "theirs")] * 3  # primed, begun, changed
    begun = [path.partition("resourceVersion=")[2].partition("&")[0] for path in server.watches()[:3]]
    assert begun == ["100", "150", "151"]
    assert sum("limit=1" in path for path, _ in server.asked) == 1


def test_watch_that_is_refused_wakes_nobody_until_it_is_granted(server: ApiServer, stopping: Event) -> None:
    """Without the right to watch, all resources would look at their Secrets with each attempt."""
    server.refused = 2
    woken = Woken()
    woken.intake.prime([resource("ours", "own-tls")])
    assert woken.next() == Key("mail", "ours")
    OwnSecretWatch(server.cluster(), (), woken.intake, stopping).start()
    assert woken.next() == Key("mail", "ours")
    assert len(server.watches()) == 3
    assert woken.is_idle()


class Answering(Event):
    """Who waits for it learns meanwhile what the API server answers to a write of ours."""

    def __init__(self, answer: Callable[[], None]) -> None:
        super().__init__()
        self.answer = answer

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for nothing longer than a test can."""
        self.answer()
        return super().wait(timeout)


def test_own_secret_that_somebody_writes_or_deletes_wakes_whom_it_belongs_to(server: ApiServer) -> None:
    """Its labels and its name say who that is, and the answer to a write of ours may come after its event."""
    woken = Woken()
    ours = {"kind": "Secret", "metadata": {"uid": "uid-own-tls", "resourceVersion": "101"}}
    stopping = Answering(lambda: woken.seen.record(ours))
    woken.intake.prime([resource("ours", "own-tls"), resource("theirs", "mx-tls", external={})])
    server.scripts.append(
        lambda: iter([
            event("own-tls", 101, owner="ours"),
            event("own-tls", 102, owner="moved"),
            event("own-tls", 103, "DELETED"),
            event("gone-tls", 104, "DELETED", owner="gone"),
        ])
    )  # fmt: skip
    watch = OwnSecretWatch(server.cluster(**OWN), ("mail",), woken.intake, stopping)
    watch.begin()
    assert not watch.is_alive()
    watch.start()
    found = [woken.next().name for _ in range(6)]
    assert found == ["ours", "theirs", "moved", "ours", "ours", "gone"]  # the first two were primed after it had begun
    assert woken.is_idle()
    assert watch.is_alive()
    stopping.set()
    selected = parse_qs(urlsplit(server.watches()[0]).query)
    assert selected["labelSelector"] == ["app.kubernetes.io/managed-by=mailtls"]
    assert selected["fieldSelector"] == ["type=kubernetes.io/tls"]
    assert {accept for _, accept in server.asked} == {METADATA, METADATA_LIST}


class Pausing(Event):
    """It is set in the fifth wait for it, and notes how long each would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for nothing."""
        self.waits.append(timeout or 0.0)
        if len(self.waits) == 5:
            self.set()
        return self.is_set()


class EndsAtOnce:
    """An API server, or what stands before it, that ends each watch with its first byte."""

    def version(self, path: str) -> str:
        """Return some version."""
        return path

    def changes(self, path: str, version: str) -> Iterator[Json]:
        """Yield nothing."""
        assert path == version
        return iter(())


def test_watch_that_ends_at_once_is_not_begun_again_in_a_loop() -> None:
    """Between any two there is a second."""
    woken, pausing = Woken(), Pausing()
    woken.intake.prime([resource("theirs", "mx-tls", external={})])
    ExternalSecretWatch(EndsAtOnce(), (), woken.intake, pausing).start()
    assert Event.wait(pausing, PATIENCE)
    assert pausing.waits[1:5] == [1.0] * 4


def test_nothing_is_watched_before_a_resource_wants_it(server: ApiServer, stopping: Event) -> None:
    """An installation without certificates from elsewhere makes no connection more; the first resource begins it."""
    woken = Woken()
    woken.intake.prime([resource("ours", "own-tls")])
    assert woken.next() == Key("mail", "ours")
    ExternalSecretWatch(server.cluster(), (), woken.intake, stopping).start()
    assert server.asked == []
    woken.intake.resource("ADDED", resource("theirs", "mx-tls", external={}))
    assert [woken.next(), woken.next()] == [Key("mail", "theirs")] * 2


def test_resource_that_is_gone_is_not_woken(server: ApiServer, stopping: Event) -> None:
    """Neither is one that has been given a Secret of our own."""
    woken = Woken()
    woken.intake.prime([resource("one", "mx-tls", external={}), resource("two", "mx-tls", external={})])
    woken.intake.resource("DELETED", resource("one", "mx-tls", external={}))
    changed = resource("two", "mx-tls")
    changed["metadata"]["generation"] = 2
    woken.intake.resource("MODIFIED", changed)
    woken.intake.external_secrets_unseen()
    while not woken.is_idle():
        pass
    woken.intake.external_secret("mail", "mx-tls")
    assert woken.is_idle()


def test_five_thousand_secrets_take_less_than_a_megabyte(server: ApiServer) -> None:
    """Each of 5,000 Secrets changes once, and none is named: next to nothing is kept, also meanwhile."""
    server.scripts.append(lambda: (event(f"tls-{each}", 200 + each) for each in range(SECRETS)))
    cluster, names = server.cluster(), 0
    tracemalloc.start()
    try:
        for _ in cluster.changes("/api/v1/secrets", "1"):
            names += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert names == 1 + SECRETS  # the first says that the watch was granted
    assert peak < 1024 * 1024


def test_refusal_of_the_watch_is_an_error_of_the_api(server: ApiServer) -> None:
    """What the server says inside a watch is told by its status, so that a version too old is known for what it is."""
    server.scripts.append(lambda: iter([event("mx-tls", 101), GONE.encode()]))
    seen = []
    with pytest.raises(ApiError) as refused:
        seen += [each["object"]["metadata"].get("name") for each in server.cluster().changes("/api/v1/secrets", "100")]
    assert refused.value.status == 410
