"""The server that takes updates, asked over TCP: whatever it does, one sentence says so, in time."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.tsig
import dns.update
import pytest

from mailtls.net.dns_server import DnsProblem, DnsServer, is_authoritative
from mailtls.net.effects import within

KEY = dns.tsig.Key("key.", b"a secret of thirty-two bytes, so")
Answer = Callable[[socket.socket, bytes], None]


@contextmanager
def serving(answer: Answer) -> Iterator[DnsServer]:
    """A server that does with each message what `answer` does."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as received:
                    answer(connection, received.read(int.from_bytes(received.read(2), "big")))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield DnsServer(f"127.0.0.1:{listener.getsockname()[1]}")
        over.set()


def ask(server: DnsServer, message: dns.message.Message | None = None) -> dns.message.Message:
    """Ask one thing."""
    with server.conversation() as put:
        return put(message or dns.message.make_query("example.com", "SOA"))


def problem(answer: Answer, message: dns.message.Message | None = None) -> str:
    """Return the sentence that it ends in."""
    with serving(answer) as server, pytest.raises(DnsProblem) as caught:
        ask(server, message)
    assert caught.value.transient
    return caught.value.finding.message


def update() -> dns.update.UpdateMessage:
    """Return a signed update."""
    return dns.update.UpdateMessage("example.com", keyring=KEY)


def framed(wire: bytes) -> bytes:
    """Put the length before a message (RFC 1035 section 4.2.2)."""
    return len(wire).to_bytes(2, "big") + wire


def test_server_that_drips_is_given_up_at_the_deadline() -> None:
    """Each octet is in time, the whole never is."""

    def drip(connection: socket.socket, _query: bytes) -> None:
        connection.sendall((65535).to_bytes(2, "big"))
        with suppress(OSError):
            while True:
                connection.sendall(b"\0")
                time.sleep(0.01)

    with within(0.3):
        assert "no answer in time" in problem(drip)


def test_server_that_takes_nothing_is_given_up_at_the_deadline() -> None:
    """It accepts the connection, and is silent."""
    over = threading.Event()

    def be_silent(_connection: socket.socket, _query: bytes) -> None:
        over.wait()

    with within(0.2):
        assert "no answer in time" in problem(be_silent)
    over.set()


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\x20half of it"])
def test_server_that_closes_early_is_told_so(sent: bytes) -> None:
    """Before, in and after the length."""
    assert "closed the connection" in problem(lambda connection, _query: connection.sendall(sent))


@pytest.mark.parametrize("wire", [b"", b"short", b"HTTP/1.0 400 Bad Request\r\n\r\n" * 3])
def test_server_of_another_protocol_is_told_so(wire: bytes) -> None:
    """What is no message, and what is none to the end."""
    assert "speaks no DNS" in problem(lambda connection, _query: connection.sendall(framed(wire)))


def test_answer_to_another_question_is_refused() -> None:
    """A server that mixes conversations up is not believed."""
    other = dns.message.make_response(dns.message.make_query("example.org", "SOA")).to_wire()
    assert "answers something else" in problem(lambda connection, _query: connection.sendall(framed(other)))


def test_unsigned_refusal_of_a_signed_update_is_read() -> None:
    """Servers that know nothing of TSIG still say why they refuse."""

    def refuse(connection: socket.socket, wire: bytes) -> None:
        asked = dns.message.from_wire(wire, keyring=KEY)
        asked.tsig = None
        answer = dns.message.make_response(asked)
        answer.set_rcode(dns.rcode.NOTIMP)
        connection.sendall(framed(answer.to_wire()))

    with serving(refuse) as server:
        answer = ask(server, update())
    assert answer.rcode() == dns.rcode.NOTIMP
    assert not answer.had_tsig


@pytest.mark.parametrize(("key", "is_verified"), [(KEY, True), (dns.tsig.Key("key.", b"another secret"), False)])
def test_signature_of_an_answer_is_verified(key: dns.tsig.Key, is_verified: bool) -> None:
    """One that was made with another secret is none."""

    def sign(connection: socket.socket, wire: bytes) -> None:
        asked = dns.message.from_wire(wire, keyring=KEY)
        answer = dns.message.make_response(asked)
        answer.use_tsig(key)
        answer.request_mac = asked.mac or b""
        connection.sendall(framed(answer.to_wire()))

    with serving(sign) as server:
        if is_verified:
            assert ask(server, update()).had_tsig
        else:
            with pytest.raises(dns.tsig.BadSignature):
                ask(server, update())


@pytest.mark.parametrize(
    ("flags", "rcode", "is_one"),
    [
        (dns.flags.AA, dns.rcode.NOERROR, True),
        (dns.flags.AA, dns.rcode.NXDOMAIN, True),
        (dns.flags.AA, dns.rcode.REFUSED, False),
        (dns.flags.RA, dns.rcode.NOERROR, False),
    ],
)
def test_answer_is_authoritative_by_flag_and_code(flags: dns.flags.Flag, rcode: dns.rcode.Rcode, is_one: bool) -> None:
    """There is one rule for it in the whole operator."""
    answer = dns.message.make_response(dns.message.make_query("example.com", "SOA"))
    answer.flags |= flags
    answer.set_rcode(rcode)
    assert is_authoritative(answer) is is_one
