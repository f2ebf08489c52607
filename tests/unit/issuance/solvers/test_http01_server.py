"""The HTTP-01 server against friendly, slow, greedy and hostile peers, over real loopback sockets."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtls.issuance.solvers.http01_server import PATH, Http01Server, Tokens, requested_host, requested_token
from mailtls.net.http_server import Bounds

TOKEN, ANSWER = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.9jg46WB"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture
def server() -> Iterator[Http01Server]:
    """A server with one token, for mx.example.test."""
    tokens = Tokens()
    tokens.present("mx.example.test", TOKEN, ANSWER)
    running = Http01Server(tokens, 0)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def hasty() -> Iterator[Http01Server]:
    """The same, that ends connections after half a second."""
    tokens = Tokens()
    tokens.present("mx.example.test", TOKEN, ANSWER)
    running = Http01Server(tokens, 0, Bounds(seconds=0.5))
    running.start()
    yield running
    running.stop()


def connect(server: Http01Server) -> socket.socket:
    """Open a connection to the server."""
    return socket.create_connection(("127.0.0.1", server.port), 10)


def everything(connection: socket.socket) -> bytes:
    """Read until the server closes; a reset is an end as well."""
    read = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            read += chunk
    return read


def ask(server: Http01Server, request: str | bytes) -> bytes:
    """Send a request in full, and return all that comes back."""
    with connect(server) as connection:
        with suppress(OSError):  # the server may have had enough before the end
            connection.sendall(request.encode() if isinstance(request, str) else request)
        return everything(connection)


def get(server: Http01Server, path: str = PATH + TOKEN, host: str = "mx.example.test", method: str = "GET") -> bytes:
    """Ask as a CA would."""
    return ask(server, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: CA\r\nAccept: */*\r\n\r\n")


def status(answer: bytes) -> int:
    """Return the status of an answer."""
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("host", ["mx.example.test", "MX.Example.TEST", "mx.example.test:80", "mx.example.test:8089"])
def test_token_of_the_host_is_answered(server: Http01Server, host: str) -> None:
    """Names compare without case, and a port says nothing."""
    head, _, body = get(server, host=host).partition(b"\r\n\r\n")
    assert status(head) == 200
    assert body == ANSWER.encode()
    assert b"Content-Type: text/plain" in head


def test_head_request_is_answered_without_a_body(server: Http01Server) -> None:
    """HEAD tells the length only."""
    head, _, body = get(server, method="HEAD").partition(b"\r\n\r\n")
    assert status(head) == 200
    assert f"Content-Length: {len(ANSWER)}".encode() in head
    assert body == b""


@pytest.mark.parametrize(
    ("path", "host", "method"),
    [
        (PATH + TOKEN, "other.example.test", "GET"),
        (PATH + TOKEN, "127.0.0.1", "GET"),
        (PATH + TOKEN, "", "GET"),
        (PATH + TOKEN, "mx.example.test\r\nHost: other.example.test", "GET"),
        (PATH + TOKEN, "mx.example.test", "POST"),
        (PATH + TOKEN, "mx.example.test", "DELETE"),
        (PATH + TOKEN[:-1], "mx.example.test", "GET"),
        (PATH + TOKEN + "/", "mx.example.test", "GET"),
        (PATH + TOKEN + "?x=1", "mx.example.test", "GET"),
        (PATH + "%65" + TOKEN[1:], "mx.example.test", "GET"),
        (PATH + "../acme-challenge/" + TOKEN, "mx.example.test", "GET"),
        (PATH + "../../etc/passwd", "mx.example.test", "GET"),
        ("//" + PATH[1:] + TOKEN, "mx.example.test", "GET"),
        (PATH.upper() + TOKEN, "mx.example.test", "GET"),
        (PATH, "mx.example.test", "GET"),
        ("/", "mx.example.test", "GET"),
        ("*", "mx.example.test", "OPTIONS"),
        ("http://mx.example.test" + PATH + TOKEN, "mx.example.test", "GET"),
    ],
)
def test_anything_but_the_exact_request_is_refused_without_an_echo(
    server: Http01Server, path: str, host: str, method: str
) -> None:
    """Whatever is not a waiting challenge gets nothing, and none of its own words back."""
    head, _, body = get(server, path, host, method).partition(b"\r\n\r\n")
    assert status(head) in {400, 404}
    assert body == b""
    assert b"example" not in head
    assert ANSWER.encode() not in head


def test_removed_token_is_gone(server: Http01Server) -> None:
    """Removing twice is fine, and removing one leaves the others."""
    tokens = Tokens()
    tokens.present("a.test", "one", "one.key")
    tokens.present("a.test", "two", "two.key")
    tokens.remove("A.test", "one")
    tokens.remove("a.test", "one")
    assert tokens.answer("a.test", PATH + "one") is None
    assert tokens.answer("a.test", PATH + "two") == "two.key"
    assert "two" not in repr(tokens)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"EHLO mx.example.test\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 5000,
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
    ],
    ids=["tls", "smtp", "short", "version", "lines", "smuggling", "chunks"],
)
def test_garbage_is_refused_and_the_next_request_answered(hasty: Http01Server, garbage: bytes) -> None:
    """No input makes the server repeat it, nor stop serving."""
    server = hasty
    answer = ask(server, garbage)
    assert answer == b"" or status(answer) in {400, 404}
    assert len(answer) < 400
    assert b"yyy" not in answer
    assert status(get(server)) == 200


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/", "X: y\r\n" * 100), ("/", f"X: {'y' * 4000}\r\n"), (f"/{'y' * 4000}", "")],
    ids=["headers", "header", "target"],
)
def test_request_larger_than_any_ca_sends_is_refused_unread(server: Http01Server, target: str, headers: str) -> None:
    """Memory per connection has an end."""
    answer = ask(server, f"GET {target} HTTP/1.1\r\nHost: mx.example.test\r\n{headers}\r\n")
    assert status(answer) == 400
    assert b"yyy" not in answer


def test_requests_after_the_first_on_one_connection_are_not_answered(server: Http01Server) -> None:
    """One connection, one answer: nothing that is pipelined behind it is read."""
    request = f"GET {PATH}{TOKEN} HTTP/1.1\r\nHost: mx.example.test\r\n\r\n"
    answer = ask(server, request + request)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.endswith(ANSWER.encode())
    assert ask(server, request + "\x00garbage\r\n\r\n").count(b"HTTP/") == 1
    assert status(get(server)) == 200


def test_idle_connections_do_not_keep_others_waiting(server: Http01Server) -> None:
    """A bundled single-threaded server would hang here."""
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connect(server))
        began = time.monotonic()
        assert status(get(server)) == 200
        assert time.monotonic() - began < 5  # an idle connection lives for ten


def test_slow_and_idle_peers_are_dropped_in_time() -> None:
    """A header that comes byte by byte ends with the connection's time, like silence does."""
    server = Http01Server(Tokens(), 0, Bounds(seconds=0.3))
    server.start()
    try:
        with connect(server) as idle, connect(server) as slow:
            began = time.monotonic()
            with suppress(OSError):
                while time.monotonic() - began < 5:
                    slow.sendall(b"G")
                    time.sleep(0.05)
            assert time.monotonic() - began < 4
            assert everything(idle) == b""
    finally:
        server.stop()


def test_connections_over_the_limit_end_the_oldest() -> None:
    """Who holds all connections open does not lock the CA out."""
    tokens = Tokens()
    tokens.present("mx.example.test", TOKEN, ANSWER)
    server = Http01Server(tokens, 0, Bounds(connections=3))
    server.start()
    try:
        with connect(server) as first, connect(server), connect(server):
            assert status(get(server)) == 200
            assert everything(first) == b""
    finally:
        server.stop()


def test_five_hundred_requests_at_once_are_all_answered(server: Http01Server) -> None:
    """All perspectives of a CA, for all names of an order, come together."""
    with ExitStack() as stack:
        request = f"GET {PATH}{TOKEN} HTTP/1.1\r\nHost: mx.example.test\r\n\r\n".encode()
        connections = [stack.enter_context(connect(server)) for _ in range(500)]
        for connection in connections:
            connection.sendall(request)
        assert all(everything(connection).endswith(ANSWER.encode()) for connection in connections)


def test_tokens_come_and_go_while_requests_are_served(server: Http01Server) -> None:
    """Workers change the tokens from their own threads."""
    tokens = server._tokens

    def prove(number: int) -> bool:
        host, token = f"m{number}.test", f"token-{number}"
        tokens.present(host, token, f"{token}.key")
        seen = get(server, PATH + token, host).endswith(f"{token}.key".encode())
        tokens.remove(host, token)
        return seen and status(get(server, PATH + token, host)) == 404

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(prove, range(64)))


def test_stop_returns_at_once_with_open_connections_and_frees_the_port(server: Http01Server) -> None:
    """A terminating pod has five seconds for everything."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(50)]
        connections[0].sendall(b"GET / HTT")
        assert status(get(server)) == 200  # all of them are accepted by now
        port, began = server.port, time.monotonic()
        server.stop()
        assert time.monotonic() - began < 1
        assert everything(connections[0]) == b""
        server.stop()
        again = Http01Server(Tokens(), port)
        again.start()
        assert status(get(again)) == 404
        again.stop()


def test_port_that_is_taken_is_told_at_the_start(server: Http01Server) -> None:
    """Starting fails loudly and in the caller's thread."""
    with pytest.raises(OSError, match="in use"):
        Http01Server(Tokens(), server.port).start()


def test_ipv6_and_ipv4_are_both_served(server: Http01Server) -> None:
    """A pod may have addresses of both families."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6")
    with socket.create_connection(("::1", server.port), 10) as connection:
        connection.sendall(f"GET {PATH}{TOKEN} HTTP/1.1\r\nHost: mx.example.test\r\n\r\n".encode())
        assert status(everything(connection)) == 200


NAMES = st.lists(st.text("abz019", min_size=1, max_size=9), min_size=1, max_size=4).map(".".join)


@settings(deadline=None)
@given(token=st.text(ALPHABET, min_size=1, max_size=128), host=NAMES)
def test_presented_token_is_answered_for_its_host_in_any_case(token: str, host: str) -> None:
    """What was presented is found, whatever its letters."""
    tokens = Tokens()
    tokens.present(host, token, f"{token}.key")
    assert tokens.answer(host.upper(), PATH + token) == f"{token}.key"
    assert tokens.answer(f"{host}:80", PATH + token) == f"{token}.key"
    assert tokens.answer(f"x{host}", PATH + token) is None
    assert tokens.answer(host, PATH + token + "x") is None


@settings(deadline=None)
@given(path=st.one_of(st.text(), st.text().map(PATH.__add__)))
def test_any_path_yields_a_token_only_when_it_is_exactly_one(path: str) -> None:
    """A token has the alphabet of base64url, and nothing before or after it."""
    token = requested_token(path)
    if token is not None:
        assert path == PATH + token
        assert set(token) <= set(ALPHABET)
        assert token
    else:
        rest = path.removeprefix(PATH)
        assert rest in {path, ""} or not set(rest) <= set(ALPHABET) or len(rest) > 256


@settings(deadline=None)
@given(header=st.text())
def test_any_host_header_yields_a_name_or_nothing(header: str) -> None:
    """A host is lower case, without port, and part of what was sent."""
    host = requested_host(header)
    if host is not None:
        assert header.lower().startswith(host)
        assert host == host.lower()
        assert ":" not in host
        assert not set(host) & set("/\\ \r\n\t@#?%")
