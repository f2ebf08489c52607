"""Resolvers that fail, lie and flood: each answer becomes plain facts of bounded size, and nothing raises."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtls.maildomain.checks.verdict import describe_domain, judge_domain
from mailtls.maildomain.lookup.domains import DomainReader
from mailtls.maildomain.lookup.records import Lookup
from mailtls.net.addresses import AddressPolicy
from mailtls.net.answer import Dnssec, Records
from mailtls.net.dns_server import Address
from mailtls.net.resolver import ResolverSettings
from mailtls.reasons.reason import Reason, Severity

Respond = Callable[[dns.message.Message], bytes | None]


@contextmanager
def resolver(respond: Respond) -> Iterator[str]:
    """Answer every question so, over UDP and TCP; yields `host:port`."""
    stream, datagram = _sockets()
    with stream, datagram:
        for loop in (_datagrams, _streams):
            listener = datagram if loop is _datagrams else stream
            threading.Thread(target=loop, args=(listener, respond), daemon=True).start()
        yield f"127.0.0.1:{stream.getsockname()[1]}"
        stream.shutdown(socket.SHUT_RDWR)
        datagram.sendto(b"", datagram.getsockname())  # wakes the thread that waits, so that the port is free again


def _sockets() -> tuple[socket.socket, socket.socket]:
    """Listen on one port that is free for TCP and UDP."""
    for _ in range(20):
        datagram = socket.socket(type=socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", 0))
        try:
            return socket.create_server(datagram.getsockname()), datagram
        except OSError:
            datagram.close()
    raise AssertionError("no free port")


def _datagrams(listener: socket.socket, respond: Respond) -> None:
    with suppress(OSError):
        while True:
            asked, peer = listener.recvfrom(4096)
            if not asked:
                return
            query = dns.message.from_wire(asked)
            answer = respond(query)
            if answer is not None and len(answer) > 1200:
                short = dns.message.make_response(query)
                short.flags |= dns.flags.TC
                answer = short.to_wire()
            if answer is not None:
                listener.sendto(answer, peer)


def _streams(listener: socket.socket, respond: Respond) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError, EOFError, struct.error):
                (length,) = struct.unpack("!H", connection.recv(2))
                answer = respond(dns.message.from_wire(connection.recv(length)))
                if answer is not None:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)


def reader(server: str, seconds: float = 4.0) -> DomainReader:
    """Read through that resolver, with little patience."""
    return DomainReader(ResolverSettings((server,), timeout=seconds, overall=20.0))


def with_records(kind: str, *values: str) -> Respond:
    """Answer one kind of question with records, and the others with none."""

    def respond(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        question = query.question[0]
        if question.rdtype == dns.rdatatype.from_text(kind):
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
        return response.to_wire(max_size=65535)

    return respond


def with_code(code: dns.rcode.Rcode) -> Respond:
    """Answer every question with an error."""

    def respond(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(code)
        return response.to_wire()

    return respond


@pytest.mark.parametrize(("code", "words"), [(dns.rcode.SERVFAIL, "SERVFAIL"), (dns.rcode.REFUSED, "REFUSED")])
def test_error_of_the_resolver_is_named(code: dns.rcode.Rcode, words: str) -> None:
    """One finding for all questions, and none that says something was missing."""
    with resolver(with_code(code)) as server:
        facts = reader(server).read("example.com")
    (found,) = judge_domain(facts)
    assert (found.reason, found.severity, found.evidence) == (Reason.DNS_LOOKUP_FAILED, Severity.FAIL, words)
    assert facts.mx_records.dnssec is Dnssec.UNKNOWN
    assert dict(describe_domain(facts))["MX"] == f"could not be looked up ({words})"


def test_silent_resolver_is_named_in_time() -> None:
    """No answer at all ends by the limit."""
    with resolver(lambda _: None) as server:
        facts = reader(server, 0.5).read("example.com")
    assert "no answer in time" in {each.failure for each in facts.failures}
    assert {finding.reason for finding in judge_domain(facts)} == {Reason.DNS_LOOKUP_FAILED}


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\xff" * 100, b"garbage, and no DNS at all"])
def test_garbage_is_no_answer(raw: bytes) -> None:
    """Datagrams that are no DNS, or answer another question."""
    with resolver(lambda query: query.to_wire()[:2] + raw) as server:
        facts = reader(server, 0.5).read("example.com")
    assert facts.mx_records.failure


def test_thousands_of_records_are_cut() -> None:
    """The rest is counted, and said."""
    with resolver(with_records("MX", *(f"{number} mx{number}.example.com." for number in range(500)))) as server:
        facts = reader(server).read("example.com")
    assert len(facts.mx_records.values) == 50
    assert facts.mx_records.left_out == 450
    assert len(judge_domain(facts)) < 60


def test_huge_and_hostile_texts_are_cut_and_quoted() -> None:
    """Escape sequences reach no terminal, and no message is longer than a screen."""
    strings = " ".join(['"v=spf1 \\027[31m' + "x" * 240 + '"'] * 200)
    with resolver(with_records("TXT", strings)) as server:
        facts = reader(server).read("example.com", dkim_selectors=("s",))
    assert len(facts.spf.records.values[0]) == 8192
    for finding in judge_domain(facts):
        assert (finding.message + finding.evidence).isprintable()
        assert len(finding.message) < 700
    assert all(text.isprintable() for _, text in describe_domain(facts))


@pytest.mark.parametrize(("flag", "words"), [(0, "not authoritative for the zone"), (dns.flags.AA, "")])
def test_nameserver_that_does_not_know_the_zone_gives_no_opinion(flag: int, words: str) -> None:
    """A referral is not the word that there are no records, or every lame server would seem to disagree."""

    def respond(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.flags |= flag
        return response.to_wire()

    with resolver(respond) as server:
        host, _, port = server.partition(":")
        answer = Lookup(ResolverSettings((server,))).tlsa_at(Address(host, int(port)), "_25._tcp.mx1.example.com")
    assert (answer.values, answer.failure) == ((), words)


def test_name_server_at_a_refused_address_is_not_asked() -> None:
    """A zone names its servers itself; the resolver is the installation's and may be on loopback."""
    asked = []

    def respond(query: dns.message.Message) -> bytes | None:
        asked.append(str(query.question[0].name))
        return with_records("A", "192.0.2.1")(query)

    with resolver(respond) as server:
        host, _, port = server.partition(":")
        lookup = Lookup(ResolverSettings((server,), policy=AddressPolicy()))
        assert lookup.address("mx1.example.com", "A").values == ("192.0.2.1",)
        answer = lookup.tlsa_at(Address(host, int(port)), "_25._tcp.mx1.example.com")
    assert (answer.values, answer.failure) == ((), "a loopback address, which is not connected to")
    assert "mx1.example.com." in asked
    assert "_25._tcp.mx1.example.com." not in asked


def test_alias_in_a_circle_ends() -> None:
    """CNAMEs that lead to each other are no answer, and no loop."""

    def respond(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        name = query.question[0].name
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "b.example.com."))
        response.answer.append(dns.rrset.from_text("b.example.com.", 60, "IN", "CNAME", str(name)))
        return response.to_wire()

    with resolver(respond) as server:
        facts = reader(server).read("example.com")
    assert facts.mx == ()


def test_answer_of_another_kind_is_no_record() -> None:
    """Addresses where MX records were asked for are not taken for hosts."""

    def respond(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "NS", "ns.example.com."))
        return response.to_wire()

    with resolver(respond) as server:
        facts = reader(server).read("example.com")
    assert facts.mx_records.values == ()


@pytest.mark.parametrize("server", ["dns.example.com", "", "127.0.0.1:dns"])
def test_nameserver_that_is_no_address_is_refused(server: str) -> None:
    """One sentence, at once."""
    with pytest.raises(ValueError, match=r"is no resolver: write an address"):
        DomainReader(ResolverSettings((server,)))


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_answer_with_changed_octets_never_raises(data: st.DataObject) -> None:
    """A broken or hostile server flips octets anywhere behind the query's number, or leaves some out."""
    whole = {
        "MX": with_records("MX", "10 mx1.example.com.", "0 ."),
        "TXT": with_records("TXT", '"v=spf1 include:a.example -all"', '"v=STSv1; id=1"'),
        "TLSA": with_records("TLSA", "3 1 1 " + "ab" * 32, "2 0 0 3000"),
    }
    kind = data.draw(st.sampled_from(sorted(whole)))
    changes = data.draw(st.lists(st.tuples(st.integers(2, 150), st.integers(0, 255)), max_size=6))
    cut = data.draw(st.integers(12, 200))

    def respond(query: dns.message.Message) -> bytes:
        answer = bytearray(whole[kind](query) or b"")
        for place, octet in changes:
            answer[place % len(answer) if place % len(answer) > 1 else 2] = octet
        return bytes(answer[:cut])

    with resolver(respond) as server:
        lookup = Lookup(ResolverSettings((server,), timeout=0.1, overall=0.4))
        asked: Mapping[str, Callable[[str], Records[Any]]]
        asked = {"MX": lookup.mx, "TXT": lookup.texts, "TLSA": lookup.tlsa}
        answer = asked[kind]("example.com")
    assert answer.kind == kind
    assert len(answer.values) <= 2


@given(st.text(max_size=70))
@settings(max_examples=50, deadline=None)
def test_name_from_a_record_never_raises(name: str) -> None:
    """Names in includes and MX records are a stranger's: too long, empty labels, escapes, other scripts."""
    with resolver(with_records("TXT", '"x"')) as server:
        lookup = Lookup(ResolverSettings((server,), timeout=0.5, overall=1.0))
        assert lookup.texts(name).values in {(), ("x",)}
