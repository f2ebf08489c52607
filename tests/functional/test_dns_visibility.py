"""Looking at a value as a CA's resolver would: at all authoritative servers of a real zone, without cache."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from functional.bind import PRIMARY, SECONDARY, Bind, Key, ZoneFile, free_port, running
from mailtls.issuance.solvers.rfc2136 import Rfc2136Records

pytestmark = pytest.mark.bind

KEY = Key("mailtls.")
NAME = "_acme-challenge.mx.pair.test"
BOTH = f"@ NS ns1\n@ NS ns2\nns1 A {PRIMARY}\nns2 AAAA {SECONDARY}\n"
SILENCE = 2  # seconds, a little less than a silent server costs
ALL = "grant mailtls. zonesub TXT;"


def zone_of(bind: Bind) -> Rfc2136Records:
    """Make a zone over `bind`, which finds its name servers by asking `bind`."""
    return Rfc2136Records(bind.settings(KEY), KEY.secret.encode(), bind.names())


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Bind]:
    """A primary that tells nobody of its changes; ns2 is not there yet."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on loopback")
    port = free_port()
    with running(tmp_path / "primary", [ZoneFile("pair.test", BOTH, ALL)], [KEY], port=port) as server:
        yield server


@pytest.fixture
def secondary(primary: Bind, tmp_path: Path) -> Iterator[Bind]:
    """A secondary with an early copy of the zone."""
    copy = ZoneFile("pair.test", primary=f"primaries port {primary.port} {{ {PRIMARY}; }};")
    with running(tmp_path / "secondary", [copy], address=SECONDARY, port=primary.port) as server:
        server.await_zone("pair.test")
        yield server


def test_secondary_that_lags_hides_the_value_until_it_has_it(primary: Bind, secondary: Bind) -> None:
    """All name servers count, as a CA may ask any; each look asks anew."""
    zone = zone_of(primary)
    zone.present(NAME, "value")
    assert primary.texts(NAME) == {"value"}
    assert zone.spread(NAME, "value").late
    assert zone.spread(NAME, "value").late == (f"ns2.pair.test ({secondary.server})",)
    secondary.rndc("retransfer", "pair.test")
    _await(lambda: secondary.texts(NAME) == {"value"})
    assert not zone.spread(NAME, "value").late
    assert zone.spread(NAME, "another").late


def test_name_server_that_refuses_connections_is_left_out_without_waiting(primary: Bind) -> None:
    """A CA's resolver goes on to the next name server as well."""
    zone_of(primary).present(NAME, "value")
    assert any(seconds_of_a_look(zone_of(primary)) < SILENCE for _ in range(5))  # a busy machine is slow, too


def seconds_of_a_look(zone: Rfc2136Records) -> float:
    """How long it takes to see a value."""
    began = time.monotonic()
    assert not zone.spread(NAME, "value").late
    assert zone.spread(NAME, "another").late
    return time.monotonic() - began


def test_name_server_that_is_silent_is_waited_for_once(primary: Bind) -> None:
    """Dropped packets cost the first look some time, and the later ones none."""
    zone = zone_of(primary)
    zone.present(NAME, "value")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as mute:
        mute.bind((SECONDARY, primary.port))
        mute.setblocking(False)
        began = time.monotonic()
        assert not zone.spread(NAME, "value").late
        assert time.monotonic() - began > SILENCE
        assert heard(mute) > 0
        assert zone.spread(NAME, "another").late
        assert heard(mute) == 0


def heard(mute: socket.socket) -> int:
    """How many questions came since the last look."""
    with suppress(BlockingIOError):
        for number in count():  # noqa: B007
            mute.recv(512)
    return number


def test_name_servers_that_do_not_resolve_leave_the_word_to_the_updated_server(tmp_path: Path) -> None:
    """Zones inside a cluster often have placeholder name servers."""
    with running(tmp_path / "alone", [ZoneFile("pair.test", policy=ALL)], [KEY]) as server:
        zone = zone_of(server)
        assert zone.spread(NAME, "value").late
        zone.present(NAME, "value")
        assert not zone.spread(NAME, "value").late


def test_answer_too_long_for_a_datagram_is_read_whole(tmp_path: Path) -> None:
    """Leftovers of other clients must not hide a value."""
    records = f"@ NS ns1\nns1 A {PRIMARY}\n" + "".join(
        f'_acme-challenge.mx TXT "{number:043d}"\n' for number in range(60)
    )
    with running(tmp_path / "long", [ZoneFile("pair.test", records, ALL)], [KEY]) as server:
        zone = zone_of(server)
        assert zone.spread(NAME, "value").late
        zone.present(NAME, "value")
        assert not zone.spread(NAME, "value").late


def test_name_server_that_is_not_authoritative_is_left_out(primary: Bind, tmp_path: Path) -> None:
    """A lame server refuses; resolvers ask the next one."""
    with running(tmp_path / "lame", [ZoneFile("other.test")], address=SECONDARY, port=primary.port):
        zone = zone_of(primary)
        zone.present(NAME, "value")
        assert not zone.spread(NAME, "value").late
        assert zone.spread(NAME, "another").late == (f"ns1.pair.test ({primary.server})",)


def _await(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
