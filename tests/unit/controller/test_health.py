"""The health server: what the kubelet and Prometheus get to see."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mailtls.controller.health import Checks, HealthServer
from mailtls.metrics import Metrics
from mailtls.net.http_server import Bounds


class Problems:
    """What the checks answer, changeable while the server runs."""

    live: str | None = None
    ready: str | None = None


@pytest.fixture
def problems() -> Problems:
    """All is well at first."""
    return Problems()


@pytest.fixture
def address(problems: Problems) -> Iterator[str]:
    """Run a server on a free port."""
    checks = Checks(lambda: problems.live, lambda: problems.ready)
    server = HealthServer(0, checks, Metrics().text)
    yield f"http://127.0.0.1:{server.start()}"
    server.stop()


def get(url: str) -> tuple[int, str, str]:
    """Return status, content type and body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers["Content-Type"], refused.read().decode()


def test_all_is_well(address: str) -> None:
    """A healthy operator answers 200 to both probes."""
    assert get(f"{address}/healthz")[::2] == (200, "ok")
    assert get(f"{address}/readyz")[::2] == (200, "ok")


def test_each_probe_tells_its_own_problem(address: str, problems: Problems) -> None:
    """A problem is a 503 with its sentence, for the probe it concerns only."""
    problems.live = "a worker has died"
    assert get(f"{address}/healthz")[::2] == (503, "a worker has died")
    assert get(f"{address}/readyz")[0] == 200
    problems.live, problems.ready = None, "about to watch"
    assert get(f"{address}/healthz")[0] == 200
    assert get(f"{address}/readyz")[::2] == (503, "about to watch")


def test_metrics_come_in_prometheus_format(address: str) -> None:
    """The content type is the one that Prometheus 3 insists on."""
    status, content_type, body = get(f"{address}/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "mailtls_build_info{" in body


def test_anything_else_is_not_found(address: str) -> None:
    """There is nothing else to see."""
    assert get(f"{address}/")[0] == 404


def test_a_taken_port_is_said_at_the_start() -> None:
    """Who cannot listen does not begin."""
    first = HealthServer(0, Checks(lambda: None, lambda: None), bytes)
    port = first.start()
    try:
        with pytest.raises(OSError, match="in use"):
            HealthServer(port, Checks(lambda: None, lambda: None), bytes).start()
    finally:
        first.stop()


def test_stopping_is_quick_with_an_open_connection(address: str) -> None:
    """A client that keeps its connection does not hold the end up."""
    server = HealthServer(0, Checks(lambda: None, lambda: None), bytes)
    connection = urllib.request.urlopen(f"http://127.0.0.1:{server.start()}/healthz", timeout=5)
    begun = time.monotonic()
    server.stop()
    connection.close()
    assert time.monotonic() - begun < 1.5


def test_slow_clients_lock_nobody_out_and_are_ended(problems: Problems) -> None:
    """Who holds more connections than there may be is ended when others come, or when the time is over."""
    checks = Checks(lambda: problems.live, lambda: problems.ready)
    server = HealthServer(0, checks, Metrics().text, Bounds(connections=20, seconds=0.5))
    port = server.start()
    slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
    try:
        for each in slow:
            with suppress(OSError):  # the oldest are ended already
                each.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert get(f"http://127.0.0.1:{port}/healthz")[::2] == (200, "ok")
        assert get(f"http://127.0.0.1:{port}/metrics")[0] == 200
        assert all(map(_is_ended, slow))
    finally:
        for each in slow:
            each.close()
        server.stop()


def test_slow_request_does_not_hold_a_connection_for_ever(problems: Problems) -> None:
    """A client that goes on sending a header, one byte after the other, is ended when its time is over."""
    checks = Checks(lambda: problems.live, lambda: problems.ready)
    server = HealthServer(0, checks, Metrics().text, Bounds(seconds=0.3))
    port = server.start()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            with pytest.raises(OSError, match=r"reset|Broken pipe"):
                _drip(client)
    finally:
        server.stop()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(1000)) + b"\r\n",
    ],
    ids=["line", "header", "headers"],
)
def test_large_request_is_refused(address: str, request_bytes: bytes) -> None:
    """Neither a long line nor many headers are read to the end."""
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        with suppress(OSError):
            client.sendall(request_bytes)
        answer = b""
        with suppress(OSError):
            answer = client.recv(4096)
    assert b" 200 " not in answer
    assert get(f"{address}/healthz")[0] == 200


def test_connection_answers_one_request(address: str) -> None:
    """Nobody keeps one open."""
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200 ")


def _drip(client: socket.socket) -> None:
    for _ in range(1000):
        client.sendall(b"a")
        time.sleep(0.01)


def _is_ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except OSError:
        return True
