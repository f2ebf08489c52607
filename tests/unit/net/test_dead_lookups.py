"""Names whose name servers are dead leave lookups behind that nobody can call off: others are resolved all the same."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from mailtls.issuance.solvers import http01_check
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.net.addresses import AddressPolicy, look_up, parse_networks

DEAD = 100
"""As many as four workers leave behind in a minute who wait for three seconds for each name."""


@pytest.fixture
def dead_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names below `dead.example` are looked up until the test ends."""
    ended, real = threading.Event(), socket.getaddrinfo

    def find(host: Any, *rest: Any, **options: Any) -> Any:
        if str(host).endswith("dead.example"):
            ended.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", find)
    yield
    ended.set()


def _left_behind(host: str) -> None:
    with suppress(TimeoutError):
        look_up(host, 443, 0.05)


@pytest.mark.usefixtures("dead_names")
def test_servers_are_resolved_while_others_names_are_dead() -> None:
    """The CA and the DNS server of somebody else."""
    with ThreadPoolExecutor(DEAD) as pool:
        list(pool.map(_left_behind, (f"ca{number}.dead.example" for number in range(DEAD))))
    assert look_up("localhost", 443, 5)


@pytest.mark.usefixtures("dead_names")
def test_self_checks_are_made_while_others_names_are_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is refused there, which is found out only once the name has been resolved."""
    monkeypatch.setattr(http01_check, "_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    check = Http01Check(port, AddressPolicy(parse_networks(["127.0.0.0/8", "::1"])))
    with ThreadPoolExecutor(DEAD) as pool:
        found = list(pool.map(lambda number: check.fault(f"{number}.dead.example", "t", "t.x"), range(DEAD)))
    assert set(found) == {"no answer came in time"}
    monkeypatch.setattr(http01_check, "_SECONDS", 5)
    assert check.fault("localhost", "t", "t.x") not in {None, "no answer came in time"}
