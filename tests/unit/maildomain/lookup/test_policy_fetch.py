"""Fetching a policy over HTTPS from servers that do it right, and in every wrong way."""

import socket
import socketserver
import time
from datetime import timedelta

import pytest

from mailservers.certificates import Authority, Wanted
from mailservers.policy_server import Answer, page, serving
from mailtls.maildomain.facts import StsFault, StsFetch
from mailtls.maildomain.lookup.policy_fetch import LARGEST_POLICY, PATH, PolicyFetcher
from mailtls.net.addresses import AddressPolicy

HOST = "mta-sts.example.com"
BODY = "version: STSv1\nmode: none\nmax_age: 86400\n"
AUTHORITY = Authority()
GOOD = Wanted(names=(HOST,))


def fetch(answer: Answer, wanted: Wanted = GOOD, *, roots: str = AUTHORITY.roots_pem, seconds: float = 5.0) -> StsFetch:
    """Fetch from a server that answers so."""
    with serving(AUTHORITY.issue(wanted), {PATH: answer}) as port:
        return PolicyFetcher(roots, port, seconds).fetch(HOST, ["127.0.0.1"])


def drip(handler: socketserver.StreamRequestHandler) -> None:
    """Send one octet after the other, never to an end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(50):
        handler.wfile.write(b"v")
        time.sleep(0.1)


def test_policy_is_fetched() -> None:
    """Status 200, text/plain, a trusted certificate for the name."""
    assert fetch(page(BODY)) == StsFetch(body=BODY.encode())


def test_redirect_is_not_followed() -> None:
    """RFC 8461 section 3.3 forbids it."""
    answer = page("", status="301 Moved Permanently\r\nLocation: https://www.example.com/\x1b[31m")
    found = fetch(answer)
    assert found.fault in {StsFault.REDIRECT, StsFault.UNREACHABLE}
    clean = fetch(page("", status="302 Found\r\nLocation: https://www.example.com/policy"))
    assert clean == StsFetch(StsFault.REDIRECT, "302 to https://www.example.com/policy")


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", "text/plainer", "text"])
def test_other_content_type_is_a_fault(content_type: str) -> None:
    """RFC 8461 section 3.2 wants text/plain."""
    assert fetch(page(BODY, content_type)) == StsFetch(StsFault.CONTENT_TYPE, content_type)


def test_other_status_is_a_fault() -> None:
    """The policy was forgotten."""
    assert fetch(page("", status="404 Not Found")) == StsFetch(StsFault.STATUS, "HTTP status 404")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(names=(HOST,), valid_from=timedelta(days=-9), valid_until=timedelta(days=-1)), "expired"),
        (Wanted(names=("www.example.com",), common_name=HOST), "Hostname mismatch"),
        (Wanted(names=(), common_name=HOST), "Hostname mismatch"),
        (Wanted(names=(HOST,), self_signed=True), "self-signed"),
    ],
)
def test_bad_certificate_is_a_fault(wanted: Wanted, words: str) -> None:
    """Dates, names and trust as a browser checks them, no common name."""
    found = fetch(page(BODY), wanted)
    assert found.fault is StsFault.CERTIFICATE
    assert words in found.detail


def test_root_that_is_not_given_is_not_trusted() -> None:
    """Only the system's roots, unless told otherwise."""
    assert fetch(page(BODY), roots="").fault is StsFault.CERTIFICATE


def test_roots_that_are_none_are_refused() -> None:
    """At once, in one sentence."""
    with pytest.raises(ValueError, match=r"certificate in PEM\.$"):
        PolicyFetcher("no certificate")


def test_policy_of_the_largest_size_is_taken() -> None:
    """64 KiB are allowed."""
    assert len(fetch(page(b"x" * LARGEST_POLICY)).body) == LARGEST_POLICY


def test_larger_policy_is_a_fault() -> None:
    """One octet more is not read to its end."""
    assert fetch(page(b"x" * (LARGEST_POLICY + 1))).fault is StsFault.TOO_LARGE


def test_slow_server_is_cut_off() -> None:
    """The limit holds for the whole answer, not for each octet."""
    before = time.monotonic()
    assert fetch(drip, seconds=0.5).fault is StsFault.UNREACHABLE
    assert time.monotonic() - before < 3


@pytest.mark.parametrize("raw", [b"\x00\xff\x00garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000])
def test_garbage_is_a_fault(raw: bytes) -> None:
    """What answers speaks no HTTP, says nothing, or never ends its head."""
    assert fetch(raw).fault is StsFault.UNREACHABLE


def test_refused_connection_is_a_fault() -> None:
    """Nothing listens."""
    with serving(AUTHORITY.issue(GOOD), {}) as port:
        pass
    found = PolicyFetcher(port=port).fetch(HOST, ["127.0.0.1"])
    assert found == StsFetch(StsFault.UNREACHABLE, "no connection (connection refused)")


def test_policy_host_at_a_refused_address_is_not_connected_to() -> None:
    """What answers on the operator's loopback is nobody's policy."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = int(server.getsockname()[1])
        found = PolicyFetcher(port=port, policy=AddressPolicy()).fetch(HOST, ["127.0.0.1"])
        with pytest.raises(TimeoutError):
            server.accept()
    assert found.fault is StsFault.UNREACHABLE
    assert found.detail == "its address 127.0.0.1 is a loopback address, which is not connected to"
