"""The health server: what the kubelet and Prometheus get to see."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from mailtls.health import Checks, HealthServer
from mailtls.world.metrics import Metrics


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
