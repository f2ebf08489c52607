"""The prober over loopback: what the network does, many targets at once, and manners."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakes.clock import WallClock
from mailservers.certificates import HOST, Authority, Served
from mailservers.scripted import Act, Script, serving
from mailtls.cli.probe_options import Options, request
from mailtls.cli.survey import survey
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Endpoint, Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.probe.wire import Wire
from mailtls.reasons.reason import Reason

AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
LIMITS = Limits(connect=1)


def target(port: int, address: str = "127.0.0.1", tls: TlsMode = TlsMode.START_TLS) -> Target:
    """Aim at a port of this machine."""
    return Target(
        address, Port(port, tls, TlsPolicy.OPPORTUNISTIC), HOST, pod=f"postfix-{port}", workload="StatefulSet/postfix"
    )


def probe(*targets: Target, limits: Limits = LIMITS) -> list[Endpoint]:
    """Probe with the good certificate as the expected one."""
    return Prober(limits).probe(targets, AUTHORITY.expects(GOOD))


def reason(endpoint: Endpoint) -> Reason | None:
    """The reason of a failed endpoint."""
    return endpoint.failure.reason if endpoint.failure else None


@contextmanager
def full_backlog() -> Iterator[int]:
    """Yield a port whose queue of connections is full, so that SYNs are dropped as a firewall drops them."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_good_server_shows_what_it_serves(tmp_path: Path) -> None:
    """The endpoint carries fingerprint, expiry, TLS version, cipher and time of the check."""
    with serving(Script(GOOD), tmp_path) as port:
        endpoint = probe(target(port))[0]
    assert endpoint.findings == ()
    assert endpoint.served_sha256 == GOOD.sha256
    assert endpoint.served_not_after == GOOD.chain[0].not_valid_after_utc
    assert (endpoint.tls_version, endpoint.cipher) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    assert abs((endpoint.checked_at - datetime.now(UTC)).total_seconds()) < 60


def test_closed_port_is_refused() -> None:
    """A reset at connect says that nothing listens."""
    assert reason(probe(target(free_port()))[0]) is Reason.CONNECTION_REFUSED


def test_dropped_packets_time_out() -> None:
    """Silence at connect is told apart from a refusal."""
    with full_backlog() as port:
        assert reason(probe(target(port))[0]) is Reason.CONNECT_TIMEOUT


def test_address_without_route_is_unreachable() -> None:
    """A link-local address without a link cannot be reached."""
    assert reason(probe(target(25, "fe80::1"))[0]) is Reason.NETWORK_UNREACHABLE


def test_name_without_address_is_a_dns_fault() -> None:
    """A name that cannot exist (RFC 6761) ends before any connection; without a resolver, nobody can tell."""
    found = survey(request(Options(targets=("mx1.invalid:25",))), WallClock())
    assert found.endpoints == ()
    assert [each.reason for each in found.unresolved] == [Reason.DNS_LOOKUP_FAILED] or found.omitted[0].is_blind


def test_impossible_target_costs_only_its_own_verdict(tmp_path: Path) -> None:
    """A fault of the probe itself is an endpoint too, and the others are probed."""
    with serving(Script(GOOD), tmp_path) as port:
        odd, good = probe(target(99999), target(port))
    assert (reason(odd), reason(good)) == (Reason.INTERNAL_ERROR, None)


def test_silent_servers_make_room_for_those_that_answer(tmp_path: Path) -> None:
    """With a single place, five servers that never speak hold it for a moment each, not until their time is up."""
    slow = Limits(dialog=6, concurrency=1, busy=0.1)
    with serving(Script(None, greeting=Act.SILENCE), tmp_path) as silent, serving(Script(GOOD), tmp_path) as port:
        endpoints = probe(*[target(silent)] * 5, target(port), limits=slow)
    assert [reason(each) for each in endpoints] == [Reason.NO_BANNER] * 5 + [None]
    waited = endpoints[-1].checked_at - min(each.checked_at for each in endpoints)
    assert waited.total_seconds() <= 0, "the last one asked must be judged before the silent ones are given up"


def test_no_more_connections_are_open_than_allowed(tmp_path: Path) -> None:
    """However many make room, the number of open connections stays bounded."""
    narrow = Limits(dialog=0.6, overall=1, concurrency=1, busy=0.01, connections=2)
    with serving(Script(None, greeting=Act.SILENCE), tmp_path) as silent:
        began = time.monotonic()
        endpoints = probe(*[target(silent)] * 4, limits=narrow)
        spent = time.monotonic() - began
    assert {reason(each) for each in endpoints} == {Reason.NO_BANNER}
    assert spent > 2 * 0.6, "four at two a time take two rounds"


def test_no_targets_are_no_endpoints() -> None:
    """Nothing to probe is no error."""
    assert probe() == []


def test_ipv6_address_is_probed() -> None:
    """Both address families are dialled."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=lambda: listener.accept()[0].sendall(b"554 no\r\n"), daemon=True).start()
        assert reason(probe(target(port, "::1"))[0]) is Reason.PROBE_DENIED


def test_dead_endpoints_delay_nobody(tmp_path: Path) -> None:
    """Beside thirty dead endpoints the living are judged at once, in the order asked."""
    with serving(Script(GOOD), tmp_path) as port, full_backlog() as dead:
        began = time.monotonic()
        endpoints = probe(*[target(dead)] * 30, *[target(port)] * 10, limits=Limits(connect=2))
        spent = time.monotonic() - began
    assert [reason(endpoint) for endpoint in endpoints] == [Reason.CONNECT_TIMEOUT] * 30 + [None] * 10
    assert spent < 3.5
    assert max(living.checked_at for living in endpoints[30:]) < min(dead.checked_at for dead in endpoints[:30])


def test_concurrency_is_limited(tmp_path: Path) -> None:
    """Never more probes at once than asked for: silent servers come one after the other."""
    with serving(Script(greeting=Act.CLOSE), tmp_path) as silent:
        assert len(probe(*[target(silent)] * 9, limits=Limits(concurrency=2))) == 9
    with full_backlog() as dead:
        began = time.monotonic()
        probe(*[target(dead)] * 4, limits=Limits(connect=0.3, concurrency=2))
        assert time.monotonic() - began >= 0.6


def test_many_threads_share_one_prober(tmp_path: Path) -> None:
    """Reconcile threads may all probe at the same time through one prober."""
    prober, expected = Prober(LIMITS), AUTHORITY.expects(GOOD)
    seen: list[Endpoint] = []
    with serving(Script(GOOD), tmp_path) as port:
        threads = [
            threading.Thread(target=lambda: seen.extend(prober.probe([target(port)] * 5, expected))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [reason(endpoint) for endpoint in seen] == [None] * 40


def test_overall_limit_ends_what_phases_allow(tmp_path: Path) -> None:
    """The whole probe, the second try by TLS included, ends within its overall limit."""
    with serving(Script(greeting=Act.SILENCE), tmp_path) as port:
        began = time.monotonic()
        endpoint = probe(target(port), limits=Limits(dialog=5, handshake=5, overall=0.5))[0]
    assert reason(endpoint) is Reason.NO_BANNER
    assert time.monotonic() - began < 2


def greeting_after(seconds: float) -> Callable[[socket.socket], None]:
    """A server that makes every client wait, as postscreen, greet_pause and delays in an ACL do."""

    def greet(connection: socket.socket) -> None:
        time.sleep(seconds)
        connection.sendall(b"220 mx1.example.com ESMTP\r\n")

    return greet


@pytest.mark.parametrize(("timeout", "found"), [(None, Reason.NO_BANNER), (timedelta(seconds=8), None)])
def test_port_has_the_patience_that_it_needs(timeout: timedelta | None, found: Reason | None, tmp_path: Path) -> None:
    """A time-out of the port's own stretches all phases, where the usual one is too short."""
    usual = Limits(connect=1, dialog=0.5, handshake=1, overall=2)
    with serving(Script(GOOD, greeting=greeting_after(1)), tmp_path) as number:
        port = replace(target(number).port, timeout=timeout)
        (endpoint,) = probe(replace(target(number), port=port), limits=usual)
    assert reason(endpoint) is found


def test_extra_connections_have_what_a_slow_conversation_has_left() -> None:
    """All connections to a port end within the time for all, so that what was seen is not lost."""

    async def shared(left: float | None) -> tuple[float, float]:
        ends_at = None if left is None else asyncio.get_running_loop().time() + left
        limits = Limits().until(ends_at)
        return round(limits.inspection), round(limits.names)

    assert asyncio.run(shared(None)) == (60, 30)
    assert asyncio.run(shared(120)) == (60, 30)
    assert asyncio.run(shared(47)) == (30, 15)
    assert asyncio.run(shared(1)) == (0, 0)


@pytest.mark.parametrize("name", ["", "probe.example.com"])
def test_server_is_greeted_by_the_name_that_is_set(name: str, tmp_path: Path) -> None:
    """EHLO gives the name before TLS and inside it, else the address."""
    heard: list[bytes] = []

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"220 mx1.example.com ESMTP\r\n")
        heard.append(connection.recv(100, socket.MSG_PEEK))

    with serving(Script(GOOD, greeting=greet), tmp_path) as port:
        expected = replace(AUTHORITY.expects(GOOD), client_name=name)
        assert Prober(LIMITS).probe([target(port)], expected)[0].findings == ()
    assert heard == [f"EHLO {name or '[127.0.0.1]'}\r\n".encode()]


def heard_by(script: Script, directory: Path, tls: TlsMode) -> list[bytes]:
    """Return what a server hears after its last scripted step."""
    heard: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        connection.sendall(b"250-mx1\r\n250 SIZE\r\n")
        heard.append(connection.recv(100))

    with serving(Script(script.served, script.implicit, ehlo_in_tls=listen), directory) as port:
        probe(target(port, tls=tls))
        for _ in range(100):
            if heard:
                break
            time.sleep(0.01)
    return heard


@pytest.mark.parametrize("tls", list(TlsMode))
def test_probe_takes_its_leave(tls: TlsMode, tmp_path: Path) -> None:
    """The server hears QUIT, so that its log shows no lost connection."""
    assert heard_by(Script(GOOD, implicit=tls is TlsMode.IMPLICIT), tmp_path, tls) == [b"QUIT\r\n"]


@pytest.mark.parametrize(("address", "name"), [("127.0.0.1", "[127.0.0.1]"), ("::1", "[IPv6:::1]")])
def test_client_names_itself_by_its_address(address: str, name: str) -> None:
    """EHLO gives an address literal, which needs no name in DNS."""

    async def dial(port: int) -> str:
        wire = await Wire.connect(address, port)
        try:
            return wire.client_name
        finally:
            wire.close()

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        assert asyncio.run(dial(listener.getsockname()[1])) == name


def test_wire_takes_addresses_only() -> None:
    """A name has as many targets as addresses: to dial the first of them would leave the others unseen."""
    with pytest.raises(ValueError, match="localhost"):
        asyncio.run(Wire.connect("localhost", 25))


def test_every_address_of_a_name_is_a_target_of_its_own() -> None:
    """What the system knows of a host is asked address by address, each by its literal."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    known = {str(where[0]) for *_, where in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    found = survey(request(Options(targets=(f"localhost:{port}",))), WallClock())
    told = [seen.endpoint.target.address for seen in found.endpoints] + [each.subject for each in found.omitted]
    assert sorted(told) == sorted(known)
    assert {seen.endpoint.target.server_name for seen in found.endpoints} == {"localhost"}


def test_private_key_is_nowhere_in_an_endpoint(tmp_path: Path) -> None:
    """What is reported holds public facts only."""
    foreign = Authority().issue()
    with serving(Script(foreign), tmp_path) as port:
        shown = repr(probe(target(port)))
    assert "PRIVATE KEY" not in shown
    assert foreign.sha256 in shown


def test_stored_fingerprint_may_be_upper_case(tmp_path: Path) -> None:
    """Fingerprints compare as numbers."""
    with serving(Script(GOOD), tmp_path) as port:
        upper = Expected(GOOD.sha256.upper(), AUTHORITY.roots_pem)
        assert Prober(LIMITS).probe([target(port)], upper)[0].failure is None


def test_roots_without_self_signed_certificate_are_anchors(tmp_path: Path) -> None:
    """A bundle that holds only an intermediate is trusted as asked."""
    with serving(Script(Served(GOOD.chain, GOOD.key)), tmp_path) as port:
        anchor = AUTHORITY.bundle_pem.replace(AUTHORITY.roots_pem, "")
        endpoint = Prober(LIMITS).probe([target(port)], Expected(GOOD.sha256, anchor))[0]
    assert endpoint.findings == ()
