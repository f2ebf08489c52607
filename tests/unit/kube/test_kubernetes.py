"""The adapter to the API server, against a server that answers from a script: retries, conflicts, chunks, log-in."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client import Configuration

from builders.pairs import self_signed
from mailtls.api.reading.document import Json
from mailtls.api.spec import PrivateKeyPolicy
from mailtls.issuance.certificates import new_key
from mailtls.kube import connection
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.connection import METADATA_LIST, Patience
from mailtls.kube.interface import ApiError, Conflict, NoAnswer, Unreachable
from mailtls.net.backoff import Backoff

PATH = "/api/v1/namespaces/mail/secrets/mx"
MOMENT = timedelta(milliseconds=10)
QUICK = Patience(
    connect=1,
    read=1,
    retries=2,
    backoff=Backoff("test", timedelta(milliseconds=10), timedelta(milliseconds=20)),
    total=5,
)


@dataclass
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """One answer; status 0 closes the connection without any."""

    status: int = 200
    body: Json = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def status(code: int, reason: str, **headers: str) -> Answer:
    """Make a failure as the API server words it."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": f"it is {reason}", "code": code}
    return Answer(code, body, headers)


class Script:
    """An HTTP server that gives its answers in order, and the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer()]
        self.asked: list[Asked] = []
        self.connections: set[Any] = set()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                script.answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Note the request and give the next answer."""
        split = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.asked.append(
            Asked(
                handler.command,
                split.path,
                parse_qs(split.query),
                {name.lower(): value for name, value in handler.headers.items()},
                json.loads(body) if body else None,
            )
        )
        self.connections.add(handler.client_address)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.status == 0:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        data = json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@pytest.fixture
def script() -> Iterator[Script]:
    """Run a scripted API server."""
    script = Script()
    yield script
    script.server.shutdown()
    script.server.server_close()


def loads(url: str, *tokens: str) -> Callable[[], Any]:
    """Make a loader of configurations that has a new token each time."""
    left = list(tokens or ["one"])

    def load() -> Any:
        configuration = Configuration(host=url)
        configuration.api_key["BearerToken"] = f"bearer {left.pop(0) if len(left) > 1 else left[0]}"
        return configuration

    return load


@pytest.fixture
def cluster(script: Script) -> KubernetesCluster:
    """Talk to the script."""
    return KubernetesCluster(loads(script.url), patience=QUICK)


def test_a_missing_object_is_none(script: Script, cluster: KubernetesCluster) -> None:
    """404 on a read is an answer, no failure."""
    script.answers = [status(404, "NotFound")]
    assert cluster.get(PATH) is None
    assert len(script.asked) == 1


def test_requests_say_who_asks(script: Script, cluster: KubernetesCluster) -> None:
    """Log-in and version go with each request."""
    cluster.get(PATH)
    assert script.asked[0].headers["authorization"] == "bearer one"
    assert script.asked[0].headers["user-agent"].startswith("mailtls/")


@pytest.mark.parametrize(
    ("verb", "method", "content_type", "query"),
    [
        ("create", "POST", "application/json", {"fieldManager": ["mailtls"]}),
        ("replace", "PUT", "application/json", {"fieldManager": ["mailtls"]}),
        ("merge", "PATCH", "application/merge-patch+json", {"fieldManager": ["mailtls"]}),
        ("apply", "PATCH", "application/apply-patch+yaml", {"fieldManager": ["mailtls"], "force": ["true"]}),
    ],
)
def test_each_write_is_what_the_api_wants(
    script: Script, verb: str, method: str, content_type: str, query: dict[str, list[str]]
) -> None:
    """Method, type, field manager and body are right, and the observer hears of it."""
    heard: list[tuple[str, Json]] = []
    cluster = KubernetesCluster(loads(script.url), written=lambda verb, answer: heard.append((verb, answer)))
    script.answers = [Answer(body={"kind": "Secret"})]
    assert getattr(cluster, verb)(PATH, {"data": {"ä": None}}) == {"kind": "Secret"}
    asked = script.asked[0]
    assert (asked.method, asked.headers["content-type"], asked.query) == (method, content_type, query)
    assert asked.body == {"data": {"ä": None}}
    assert heard == [(verb, {"kind": "Secret"})]


def test_report_is_a_patch_that_tests_the_uid(script: Script, cluster: KubernetesCluster) -> None:
    """Only what differs is sent; what does not fit the object as it is now is a conflict, and a bad field none."""
    before, after = {"a": 1, "b": 2, "c": {"d": 3}}, {"a": 1, "c": {"e": 4}}
    unfit = {"reason": "Invalid", "message": "the server rejected our request due to an error in our request"}
    script.answers = [Answer(), Answer(422, body=unfit), status(422, "Invalid")]
    cluster.report(PATH, "1", before, after)
    with pytest.raises(Conflict):
        cluster.report(PATH, "1", before, after)
    with pytest.raises(ApiError, match="422 Invalid"):
        cluster.report(PATH, "1", {}, after)
    operations = [
        {"op": "test", "path": "/metadata/uid", "value": "1"},
        {"op": "remove", "path": "/status/b"},
        {"op": "add", "path": "/status/c", "value": {"e": 4}},
    ]
    first, _, last = script.asked
    assert (first.method, first.headers["content-type"]) == ("PATCH", "application/json-patch+json")
    assert (first.path, first.body) == (f"{PATH}/status", operations)
    assert last.body == [operations[0], {"op": "add", "path": "/status", "value": after}]


def test_merge_that_means_another_object_is_a_conflict(script: Script, cluster: KubernetesCluster) -> None:
    """The API server calls it an attempt to change what never changes."""
    said = 'Secret "a" is invalid: metadata.uid: Invalid value: "1": field is immutable'
    script.answers = [Answer(422, body={"kind": "Status", "reason": "Invalid", "message": said})]
    with pytest.raises(Conflict, match="immutable"):
        cluster.merge(PATH, {"metadata": {"uid": "1"}})


@pytest.mark.parametrize("verb", ["create", "replace", "merge", "apply"])
def test_a_conflict_is_told_at_once(script: Script, verb: str) -> None:
    """409 is never retried: the caller must look again; nothing was written."""
    heard: list[str] = []
    cluster = KubernetesCluster(loads(script.url), patience=QUICK, written=lambda verb, _answer: heard.append(verb))
    script.answers = [status(409, "Conflict")]
    with pytest.raises(Conflict):
        getattr(cluster, verb)(PATH, {})
    assert len(script.asked) == 1
    assert heard == []


def test_a_refusal_carries_the_servers_words(script: Script, cluster: KubernetesCluster) -> None:
    """Other 4xx are errors with status, reason and message."""
    script.answers = [status(403, "Forbidden")]
    with pytest.raises(ApiError) as refused:
        cluster.get(PATH)
    assert (refused.value.status, refused.value.reason, refused.value.message) == (403, "Forbidden", "it is Forbidden")


@pytest.mark.parametrize("failure", [status(503, "ServiceUnavailable"), status(500, "InternalError"), Answer(0)])
@pytest.mark.parametrize("verb", ["replace", "merge", "apply"])
def test_what_may_be_repeated_is_repeated(
    script: Script, cluster: KubernetesCluster, verb: str, failure: Answer
) -> None:
    """A passing failure of an idempotent write is overcome."""
    script.answers = [failure, failure, Answer(body={"kind": "Secret"})]
    assert getattr(cluster, verb)(PATH, {}) == {"kind": "Secret"}
    assert len(script.asked) == 3


@pytest.mark.parametrize("failure", [status(503, "ServiceUnavailable"), Answer(0)])
def test_a_post_whose_fate_is_unknown_is_not_repeated(
    script: Script, cluster: KubernetesCluster, failure: Answer
) -> None:
    """It may have been carried out; the next pass will see."""
    script.answers = [failure, Answer()]
    with pytest.raises(Unreachable):
        cluster.create(PATH, {})
    assert len(script.asked) == 1


def test_a_post_that_was_turned_away_is_repeated(script: Script, cluster: KubernetesCluster) -> None:
    """429 says that nothing was done."""
    script.answers = [status(429, "TooManyRequests"), Answer(body={"kind": "Secret"})]
    assert cluster.create(PATH, {}) == {"kind": "Secret"}


def test_retry_after_is_honoured(script: Script, cluster: KubernetesCluster) -> None:
    """The server says how long to wait."""
    script.answers = [status(429, "TooManyRequests", Retry_After="1"), Answer()]
    begun = time.monotonic()
    cluster.get(PATH)
    assert 1.0 <= time.monotonic() - begun < 2.0


def test_a_long_retry_after_is_left_to_the_queue(script: Script, cluster: KubernetesCluster) -> None:
    """No worker sleeps for a minute."""
    script.answers = [status(429, "TooManyRequests", Retry_After="60")]
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        cluster.get(PATH)
    assert time.monotonic() - begun < 1


def test_a_server_that_stays_away_is_unreachable(cluster: KubernetesCluster, script: Script) -> None:
    """A few tries, then the caller hears of it; the sentence holds no credentials."""
    script.server.shutdown()
    script.server.server_close()
    with pytest.raises(Unreachable) as failure:
        cluster.create(PATH, {"data": {"tls.key": "c2VjcmV0"}})
    assert "c2VjcmV0" not in str(failure.value)
    assert "bearer" not in str(failure.value)
    assert isinstance(failure.value, NoAnswer)
    assert str(failure.value) == f"The API server {script.url} does not answer (Connection refused)"


def test_an_answer_that_does_not_come_is_given_up(script: Script) -> None:
    """A server that accepts and says nothing costs the read time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        patience = Patience(connect=0.5, read=0.3, retries=0)
        cluster = KubernetesCluster(loads(f"http://127.0.0.1:{port}"), patience=patience)
        begun = time.monotonic()
        with pytest.raises(NoAnswer, match=rf"127.0.0.1:{port} does not answer \(.*timed out\)$"):
            cluster.get(PATH)
        assert time.monotonic() - begun < 1


def test_server_without_tls_is_no_missing_answer(script: Script) -> None:
    """Something answers there: whether the cluster runs is not the question."""
    cluster = KubernetesCluster(loads(script.url.replace("http:", "https:")), patience=QUICK)
    with pytest.raises(
        Unreachable, match=r"^No TLS connection to the API server https://127.0.0.1:.* is possible \("
    ) as said:
        cluster.get(PATH)
    assert not isinstance(said.value, NoAnswer)


def test_certificate_that_is_not_trusted_is_no_missing_answer(script: Script, tmp_path: Path) -> None:
    """The sentence says what is wrong with it, and nothing of the program."""
    key = new_key(PrivateKeyPolicy())
    (tmp_path / "both").write_text(self_signed(key, "localhost").chain_pem + key.pem.decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both")
    script.server.socket = context.wrap_socket(script.server.socket, server_side=True)
    url = script.url.replace("http:", "https:")
    with pytest.raises(Unreachable) as said:
        KubernetesCluster(loads(url), patience=QUICK).get(PATH)
    assert str(said.value) == f"The API server {url} has no valid certificate (self-signed certificate)."


def test_a_rotated_token_is_read_again(script: Script) -> None:
    """A 401 makes us log in again and ask once more, a write included."""
    cluster = KubernetesCluster(loads(script.url, "old", "new"), patience=QUICK)
    script.answers = [status(401, "Unauthorized"), Answer(body={"kind": "Secret"})]
    assert cluster.create(PATH, {}) == {"kind": "Secret"}
    assert [asked.headers["authorization"] for asked in script.asked] == ["bearer old", "bearer new"]


def test_a_lasting_401_is_an_error(script: Script, cluster: KubernetesCluster) -> None:
    """Without rights we do not go on for ever."""
    script.answers = [status(401, "Unauthorized")]
    with pytest.raises(ApiError) as refused:
        cluster.get(PATH)
    assert refused.value.status == 401
    assert len(script.asked) == 2


def test_lists_follow_continue_tokens(script: Script, cluster: KubernetesCluster) -> None:
    """All chunks are read, each with the selector."""
    script.answers = [
        Answer(body={"items": [{"n": 1}, {"n": 2}], "metadata": {"continue": "on ward"}}),
        Answer(body={"items": [{"n": 3}], "metadata": {}}),
    ]
    assert cluster.list("/api/v1/secrets", label_selector="a=b,c=d") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert script.asked[0].query == {"limit": ["500"], "labelSelector": ["a=b,c=d"]}
    assert script.asked[1].query == {"limit": ["500"], "labelSelector": ["a=b,c=d"], "continue": ["on ward"]}


def test_list_of_metadata_asks_for_no_contents(script: Script, cluster: KubernetesCluster) -> None:
    """Only what is picked is kept."""
    names = ({"metadata": {"name": "a"}}, {"metadata": {"name": "b"}})
    script.answers = [
        Answer(body={"items": [names[0]], "metadata": {"continue": "on"}}),
        Answer(body={"items": [names[1]], "metadata": {}}),
    ]
    found = cluster.list_metadata(
        "/api/v1/secrets", lambda item: item["metadata"]["name"] == "b" or None, label_selector="a=b"
    )
    assert found == [True]
    assert {asked.headers["accept"] for asked in script.asked} == {METADATA_LIST}
    assert script.asked[1].query == {"limit": ["500"], "labelSelector": ["a=b"], "continue": ["on"]}


def test_metadata_that_is_large_is_listed_in_small_pages(
    script: Script, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can fill the annotations of many objects: a page that is too large is not read to its end."""
    monkeypatch.setattr(connection, "METADATA_PAGE", 10_000)
    large = {"metadata": {"name": "b", "annotations": {"x": "y" * 200_000}}}
    script.answers = [
        Answer(body={"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "one"}}),
        Answer(body={"items": [large], "metadata": {"continue": "two"}}),
        Answer(body={"items": [large], "metadata": {"continue": "three"}}),
        Answer(body={"items": [{"metadata": {"name": "c"}}], "metadata": {}}),
    ]
    assert cluster.list_metadata("/api/v1/secrets", lambda item: item["metadata"]["name"]) == ["a", "b", "c"]
    pages = [(asked.query["limit"], asked.query.get("continue")) for asked in script.asked]
    assert pages == [(["500"], None), (["500"], ["one"]), (["25"], ["one"]), (["25"], ["three"])]
    assert len(script.connections) == 2  # what is not read to its end ends its connection, and no other


def test_an_expired_list_begins_again_without_doubles(script: Script, cluster: KubernetesCluster) -> None:
    """410 in the middle throws the first chunks away."""
    script.answers = [
        Answer(body={"items": [{"n": 1}], "metadata": {"continue": "x"}}),
        status(410, "Expired"),
        Answer(body={"items": [{"n": 1}, {"n": 2}]}),
    ]
    assert cluster.list("/api/v1/secrets") == [{"n": 1}, {"n": 2}]
    assert "continue" not in script.asked[2].query


def test_an_empty_list_may_come_as_null(script: Script, cluster: KubernetesCluster) -> None:
    """Go writes an empty list as null."""
    script.answers = [Answer(body={"items": None, "metadata": {}})]
    assert cluster.list("/api/v1/secrets") == []


def test_deleting_what_is_gone_is_success(script: Script, cluster: KubernetesCluster) -> None:
    """404 on a deletion is what was wanted."""
    script.answers = [status(404, "NotFound")]
    cluster.delete(PATH, uid="u")
    assert script.asked[0].body["preconditions"] == {"uid": "u"}


def test_deleting_a_namesake_is_success_and_leaves_it_alone(script: Script, cluster: KubernetesCluster) -> None:
    """When another object has the name by now, ours is gone."""
    script.answers = [status(409, "Conflict"), Answer(body={"metadata": {"uid": "other"}})]
    cluster.delete(PATH, uid="u")


def test_a_conflict_over_our_own_object_is_told(script: Script, cluster: KubernetesCluster) -> None:
    """A 409 for another cause than the uid is a conflict."""
    script.answers = [status(409, "Conflict"), Answer(body={"metadata": {"uid": "u"}})]
    with pytest.raises(Conflict):
        cluster.delete(PATH, uid="u")


def test_an_answer_that_is_no_json_is_unreachable(script: Script) -> None:
    """A proxy's page of HTML is no object."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def serve() -> None:
            connection, _ = proxy.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        port = proxy.getsockname()[1]
        cluster = KubernetesCluster(loads(f"http://127.0.0.1:{port}"), patience=Patience(retries=0))
        with pytest.raises(Unreachable, match="no JSON"):
            cluster.get(PATH)


def test_sixteen_threads_reuse_their_connections(script: Script, cluster: KubernetesCluster) -> None:
    """Connections are pooled: as many as threads, however many requests."""

    def work() -> None:
        for _ in range(10):
            cluster.get(PATH)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(script.asked) == 160
    assert len(script.connections) <= 16
