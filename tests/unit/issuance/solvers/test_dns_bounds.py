"""What strangers publish about their zones costs a bounded number of lookups and a bounded time."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from mailtls.api.spec import DataRef
from mailtls.issuance.solvers import propagation
from mailtls.issuance.solvers.dns_update import Rfc2136
from mailtls.issuance.solvers.propagation import Names
from mailtls.issuance.solvers.rfc2136 import Rfc2136Records
from mailtls.net import dns_server as server
from mailtls.net import effects as deadline
from mailtls.net.addresses import AddressPolicy
from mailtls.net.dns_server import Address, Ask, DnsProblem, DnsServer
from mailtls.reasons.reason import Reason

_NAME = "_acme-challenge.mx.example.com"


class _Names(Names):
    """Counts what it is asked, and finds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dns.name.Name] = []

    def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> list[Any]:
        self.asked.append(name)
        return []


def _answers(monkeypatch: pytest.MonkeyPatch, records: Callable[[dns.name.Name, str], list[str]]) -> None:
    """Let every conversation be answered, with authority, by the records of a name and kind."""

    def ask(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        if query.opcode() == dns.opcode.UPDATE:
            answer.tsig = dns.rrset.from_text("key.", 0, "IN", "TXT", "taken")  # it counts as signed
            return answer
        asked = query.question[0]
        kind = dns.rdatatype.to_text(asked.rdtype)
        for text in [found] if (found := records(asked.name, kind)) else []:
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *text))
        return dns.message.from_wire(answer.to_wire(max_size=65535))

    @contextlib.contextmanager
    def conversation(_server: DnsServer, _until: float = 0) -> Iterator[Ask]:
        yield ask

    monkeypatch.setattr(DnsServer, "conversation", conversation)


def _zone(names: Names, policy: AddressPolicy | None = None) -> Rfc2136Records:
    settings = Rfc2136("192.0.2.1", "key.", DataRef("Secret", "mail", "tsig", "secret"), zone="example.com")
    return Rfc2136Records(settings, b"QUFBQQ==", names, policy)


def test_zone_with_two_thousand_name_servers_costs_a_few_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's zone that lists thousands of servers does not keep a worker busy for an hour."""
    names = _Names()
    servers = [f"n{number}.dead{number}.example." for number in range(2000)]
    _answers(monkeypatch, lambda _, kind: servers if kind == "NS" else [])
    _zone(names).spread(_NAME, "value")
    assert len(names.asked) == 32


def test_lookups_after_the_deadline_are_not_made() -> None:
    """A name is not asked for once the time of the step is over."""
    begun = time.monotonic()
    assert Names().within(begun - 1).addresses(dns.name.from_text("ns1.example.com")) == ()
    assert time.monotonic() - begun < 0.5


def test_server_with_sixty_silent_addresses_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All connects of a conversation share its deadline, however many addresses the server's name has."""
    given: list[float] = []
    now = 1000.0

    def connect(_address: object, seconds: float) -> socket.socket:
        nonlocal now
        given.append(seconds)
        now += seconds
        raise TimeoutError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{last}", 53)) for last in range(60)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(deadline, "monotonic", lambda: now)
    with pytest.raises(DnsProblem, match="no connection in time"), DnsServer("ns.example.com").conversation():
        pytest.fail("nothing listens there")
    assert sum(given) == pytest.approx(8.0)


def test_lookup_of_a_server_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver may take minutes; no worker waits for it."""
    over = threading.Event()
    monkeypatch.setattr(server, "_CONVERSATION_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: over.wait() and [])
    with pytest.raises(DnsProblem, match="not resolved in time"), DnsServer("ns.example.com").conversation():
        pytest.fail("nobody answered")
    over.set()


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "10.96.0.1"])
def test_server_at_a_refused_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """A tenant's DNS server is no way to the metadata service or to the API server; the message says both ways out."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 53))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("it was dialled"))
    policy = AddressPolicy(api_servers=frozenset({"10.96.0.1"}))
    with pytest.raises(DnsProblem) as caught, DnsServer("ns.example.com", policy).conversation():
        pytest.fail("nothing may be asked there")
    assert caught.value.finding.reason is Reason.ADDRESS_REFUSED
    assert not caught.value.transient
    assert "Name another DNS server than ns.example.com, or" in caught.value.finding.message
    assert "connections.allowedNetworks" in caught.value.finding.message


def test_only_admitted_addresses_of_a_server_are_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may lead to several; private ones are admitted unless the installation says otherwise."""
    dialled: list[object] = []
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 53)) for each in ("169.254.169.254", "10.0.0.5", "192.0.2.1")
    ]

    def connect(address: server.Address, _seconds: float) -> socket.socket:
        dialled.append(address.host)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(DnsProblem, match="refused"), DnsServer("ns.example.com", AddressPolicy()).conversation():
        pytest.fail("nothing listens there")
    assert dialled == ["10.0.0.5", "192.0.2.1"]


def test_name_servers_at_refused_addresses_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lists name servers in a zone has no datagrams sent to the operator's own network."""
    asked: list[server.Address] = []

    class Found(_Names):
        def addresses(self, name: dns.name.Name) -> tuple[server.Address, ...]:
            return (server.Address("127.0.0.1"), server.Address("192.0.2.9"))

    _answers(monkeypatch, lambda _, kind: ["ns.example.com."] if kind == "NS" else [])

    def ask_all(_query: dns.message.Message, addresses: Iterable[server.Address]) -> dict[server.Address, object]:
        asked.extend(addresses)
        return {}

    monkeypatch.setattr(propagation, "ask_all", ask_all)
    monkeypatch.setattr(propagation, "gives_a_sign", lambda _query, _address: True)
    _zone(Found(), AddressPolicy()).spread(_NAME, "value")
    assert asked == [server.Address("192.0.2.9")]


def test_cname_that_moved_is_asked_for_again_after_the_record_was_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order after a failed one looks where the delegation leads then, and not where it led."""
    target, asked = ["old.example.com."], []

    def records(name: dns.name.Name, kind: str) -> list[str]:
        asked.append(name.to_text())
        return list(target) if kind == "CNAME" and name == dns.name.from_text(_NAME) else []

    _answers(monkeypatch, records)
    zone = _zone(_Names())
    zone.present(_NAME, "value")
    zone.remove(_NAME, "value")
    assert "new.example.com." not in asked
    target[0] = "new.example.com."
    zone.present(_NAME, "value")
    assert "new.example.com." in asked


def test_next_order_looks_no_name_server_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a resolver is silent, each lookup takes seconds; no CNAME can have moved where there is none."""
    _answers(monkeypatch, lambda _, kind: ["ns.example.com."] if kind == "NS" else [])
    names = _Names()
    zone = _zone(names)
    for _ in range(2):
        zone.present(_NAME, "value")
        zone.spread(_NAME, "value")
        zone.remove(_NAME, "value")
    assert len(names.asked) == 2  # A and AAAA, once


def test_silent_servers_are_not_tried_over_tcp_once_the_time_is_over() -> None:
    """Three tries take six seconds, which a step that is at its end does not have; nothing is remembered then."""
    zone, query = _zone(_Names()), dns.message.make_query(_NAME, dns.rdatatype.TXT)
    begun, servers = time.monotonic(), [Address("192.0.2.1"), Address("192.0.2.2")]
    assert not zone._propagation._is_blocked(dns.name.from_text("example.com"), query, servers, begun + 1)
    assert time.monotonic() - begun < 0.5
    assert zone._propagation._blocked.get(dns.name.from_text("example.com")) is None
