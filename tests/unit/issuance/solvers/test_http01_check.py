"""The self-check of HTTP-01 against servers that redirect, stall and flood."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

from mailtls.issuance.solvers import http01_check
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import PATH, Http01Server, Tokens
from mailtls.net.addresses import AddressPolicy, parse_networks

TOKEN, ANSWER = "a-token", "a-token.thumbprint"
HERE = AddressPolicy(parse_networks(["127.0.0.0/8", "::1"]))


@contextmanager
def serving(
    answers: Mapping[str, str | bytes | Callable[[socketserver.StreamRequestHandler], None]],
    address: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[int]:
    """Answer each path with the raw answer given for it; `{port}` in it is the server's."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            path = self.rfile.readline().split(b" ")[1].decode()
            while self.rfile.readline() not in {b"\r\n", b""}:
                pass
            answer = answers[path]
            if callable(answer):
                answer(self)
            else:
                raw = answer.replace("{port}", str(port)).encode() if isinstance(answer, str) else answer
                self.wfile.write(raw)

    with socketserver.ThreadingTCPServer((address, port), Handler) as server:
        server.daemon_threads = True
        port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield port
        server.shutdown()


def content(body: str) -> str:
    """Make a plain answer."""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"


def redirect(location: str) -> str:
    """Make an answer that leads elsewhere."""
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"


def fault(answers: Mapping[str, str | bytes | Callable[[socketserver.StreamRequestHandler], None]]) -> str | None:
    """Look for the token at a server that answers so."""
    with serving(answers) as port:
        return Http01Check(port, HERE).fault("localhost", TOKEN, ANSWER)


def test_token_at_the_operators_own_server_is_reachable() -> None:
    """The two halves agree about host, port and path."""
    tokens = Tokens()
    tokens.present("localhost", TOKEN, ANSWER)
    server = Http01Server(tokens, 0)
    server.start()
    try:
        check = Http01Check(server.port, HERE)
        assert check.fault("localhost", TOKEN, ANSWER) is None
        assert check.fault("localhost", TOKEN, "another") is not None
        assert check.fault("localhost", "another", ANSWER) == "the answer is 404"
    finally:
        server.stop()


def test_answer_with_a_line_end_is_as_good() -> None:
    """RFC 8555 section 8.3 ignores white space at the end of the body."""
    assert fault({PATH + TOKEN: content(ANSWER + "\r\n")}) is None
    assert fault({PATH + TOKEN: content(" " + ANSWER)}) is not None


def test_redirects_are_followed_up_to_ten() -> None:
    """A CA follows redirects, relative ones as well, and gives up in a circle."""
    chain: dict[str, str] = {f"/{number}": redirect(f"/{number + 1}") for number in range(1, 10)}
    chain |= {PATH + TOKEN: redirect("http://localhost:{port}/1"), "/10": content(ANSWER)}
    assert fault(chain) is None
    assert fault({PATH + TOKEN: redirect(PATH + TOKEN)}) == "there are more than 10 redirects"


@pytest.mark.parametrize(
    "location", ["http://localhost:22/", "ftp://localhost/", "https://localhost:6443/api", "http://localhost:0/"]
)
def test_redirect_to_where_no_ca_goes_is_not_followed(location: str) -> None:
    """A resource must not make the operator knock at other ports."""
    assert "redirect" in (fault({PATH + TOKEN: redirect(location)}) or "")


def test_answer_of_another_program_is_told_without_a_word_of_it() -> None:
    """Redirects may lead to what the resource's owner cannot read."""
    said = fault({PATH + TOKEN: content("a secret page")})
    assert said == "something else than this operator answers"


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", b"\x00" * 300]
)
def test_answer_that_is_no_http_is_a_fault(answer: bytes) -> None:
    """Whatever listens on port 80, the check ends with words."""
    assert fault({PATH + TOKEN: answer})


def test_nothing_that_listens_is_a_fault() -> None:
    """A refused connection and an unknown name are told apart."""
    with serving({}) as port:
        pass
    assert "connection" in (Http01Check(port, HERE).fault("localhost", TOKEN, ANSWER) or "")
    assert Http01Check(port, HERE).fault("nobody.invalid", TOKEN, ANSWER) == "the name does not resolve"


def _drip(handler: socketserver.StreamRequestHandler) -> None:
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            handler.wfile.write(b"y")
            time.sleep(0.02)


def _flood(handler: socketserver.StreamRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 65536)


def test_answer_that_drips_takes_no_more_than_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is never held by the host of somebody else's resource."""
    monkeypatch.setattr(http01_check, "_SECONDS", 0.4)
    began = time.monotonic()
    assert fault({PATH + TOKEN: _drip}) == "no answer came in time"
    assert time.monotonic() - began < 3


def test_answer_that_never_ends_is_not_read_to_the_end() -> None:
    """Memory per look has an end."""
    assert fault({PATH + TOKEN: _flood}) == "something else than this operator answers"


def test_name_that_leads_to_a_refused_address_is_not_connected_to() -> None:
    """A tenant's name must not show what listens on the operator's own loopback."""
    connections: list[str] = []

    def note(_handler: socketserver.StreamRequestHandler) -> None:
        connections.append("came")

    with serving({PATH + TOKEN: note}) as port:
        found = Http01Check(port).fault("localhost", TOKEN, ANSWER)
    assert found == "the name leads to an address that the operator does not connect to"
    assert connections == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]"])
def test_redirect_to_a_refused_address_is_not_followed(host: str) -> None:
    """A redirect can name an address, for which nobody asks a resolver."""
    found = fault({PATH + TOKEN: redirect(f"http://{host}/latest/meta-data/")})
    assert found == "a redirect leads to an address that the operator does not connect to"


@pytest.mark.parametrize("host", ["１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "127.0.0.1"])
def test_redirect_to_a_refused_address_in_the_digits_of_any_script_is_not_dialled(host: str) -> None:
    """Clients normalise what they read as a name into an address, and ask no resolver for it."""
    came: list[str] = []

    def note(_handler: socketserver.StreamRequestHandler) -> None:
        came.append("came")

    with serving({"/secret": note}, "127.0.0.1") as inside:
        location = f"http://{host}:{inside}/secret"
        with serving({PATH + TOKEN: redirect(location), "/secret": note}, "127.0.0.9", inside) as port:
            found = Http01Check(port, AddressPolicy(parse_networks(["127.0.0.9"]))).fault("127.0.0.9", TOKEN, ANSWER)
    assert found == "a redirect leads to an address that the operator does not connect to"
    assert came == []


def test_status_behind_a_redirect_is_not_told() -> None:
    """Whoever redirects picks host and path, and could ask what answers inside the cluster."""
    found = fault({PATH + TOKEN: redirect("/elsewhere"), "/elsewhere": "HTTP/1.1 418 Teapot\r\n\r\n"})
    assert found == "a redirect leads to an answer that is not 200"
