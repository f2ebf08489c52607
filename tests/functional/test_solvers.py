"""Proofs from end to end: settings and a Secret in, a record in a real BIND or an answer over HTTP out."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from functional.bind import PRIMARY, SECONDARY, Bind, Key, ZoneFile, running
from mailtls.api.spec import DataRef
from mailtls.issuance.solvers.base import ChallengeProblem, ChallengeResponse, Surroundings
from mailtls.issuance.solvers.dns01 import Dns01
from mailtls.issuance.solvers.http01 import Http01
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import Http01Server, Tokens
from mailtls.issuance.solvers.registry import SOLVERS, Solvers
from mailtls.net.addresses import AddressPolicy, parse_networks
from mailtls.reasons.reason import Reason

pytestmark = pytest.mark.bind

KEY = Key("mailtls.")
RESPONSE = ChallengeResponse("mx.example.test", "a-token", "a-token.thumbprint", "the-digest")
RECORD = "_acme-challenge.mx.example.test"


class Vault:
    """Secrets that can be changed, and how often they were read."""

    def __init__(self, content: str) -> None:
        self.content, self.reads = content, 0

    def read(self, ref: DataRef) -> bytes:
        """Return the one Secret there is."""
        assert ref.key == "secret"
        self.reads += 1
        return self.content.encode()


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[Bind]:
    """A primary that is its zone's name server."""
    zone = ZoneFile("example.test", f"@ NS ns1\nns1 A {PRIMARY}\n", "grant mailtls. zonesub TXT;")
    with running(tmp_path / "bind", [zone], [KEY]) as server:
        yield server


def solvers_of(
    bind: Bind, vault: Vault, tokens: Tokens | None = None, port: int = 80, resolvers: tuple[str, ...] = ()
) -> Solvers:
    """Make solvers whose zones find name servers by asking `bind`."""
    check = Http01Check(port, AddressPolicy(parse_networks(["127.0.0.0/8", "::1"])))
    surroundings = Surroundings(tokens or Tokens(), check, resolvers=resolvers, names=bind.names())
    return Solvers(SOLVERS, surroundings, vault.read)


def test_dns_response_is_published_seen_and_removed(bind: Bind) -> None:
    """The Secret is read once for all three."""
    vault, solver = Vault(KEY.secret), Dns01(bind.settings(KEY))
    solvers = solvers_of(bind, vault)
    hidden = solvers.is_visible(solver, RESPONSE).hidden_by
    assert hidden is not None
    assert hidden.reason is Reason.DNS_UPDATE_REFUSED
    assert f"{bind.server}: it said yes to the update, and answers without" in hidden.message
    solvers.present(solver, RESPONSE)
    assert bind.texts(RECORD) == {"the-digest"}
    assert solvers.is_visible(solver, RESPONSE).hidden_by is None
    solvers.clean_up(solver, RESPONSE)
    assert bind.texts(RECORD) == set()
    assert vault.reads == 1


def test_secret_that_is_corrected_is_taken_up_at_the_next_try(bind: Bind) -> None:
    """A refusal forgets the secret, so that nobody waits for a cache."""
    vault, solver = Vault(Key("x").secret), Dns01(bind.settings(KEY))
    solvers = solvers_of(bind, vault)
    with pytest.raises(ChallengeProblem) as caught:
        solvers.present(solver, RESPONSE)
    assert caught.value.finding.reason is Reason.DNS_UPDATE_REFUSED
    vault.content = KEY.secret
    solvers.present(solver, RESPONSE)
    assert bind.texts(RECORD) == {"the-digest"}


def test_response_without_self_check_is_ready_unseen(bind: Bind) -> None:
    """Split horizons hide the record from here, but not from the CA."""
    solvers = solvers_of(bind, Vault(KEY.secret))
    assert solvers.is_visible(Dns01(bind.settings(KEY), self_check=False), RESPONSE).hidden_by is None
    assert solvers.is_visible(Http01(self_check=False), RESPONSE).hidden_by is None


def test_response_that_nobody_looks_at_is_ready_after_the_delay(bind: Bind) -> None:
    """Who knows that a provider takes its time says how long."""
    solver = Dns01(bind.settings(KEY), self_check=False, delay=timedelta(minutes=5))
    solvers = solvers_of(bind, Vault(KEY.secret))
    hidden = solvers.is_visible(solver, RESPONSE, timedelta(seconds=299)).hidden_by
    assert hidden is not None
    assert "300 s after the TXT record for mx.example.test was published (dns01.delay)" in hidden.message
    assert solvers.is_visible(solver, RESPONSE, timedelta(minutes=5)).hidden_by is None


def test_server_that_is_gone_is_a_problem_of_a_response_not_seen(bind: Bind) -> None:
    """It passes, and is told with the server's name."""
    solver, solvers = Dns01(bind.settings(KEY)), solvers_of(bind, Vault(KEY.secret))
    bind.stop()
    with pytest.raises(ChallengeProblem) as caught:
        solvers.is_visible(solver, RESPONSE)
    assert caught.value.finding.reason is Reason.DNS_UNREACHABLE


@pytest.fixture
def walled(tmp_path: Path) -> Iterator[Bind]:
    """A hidden primary, of whose zone the only name server is behind a firewall: nothing ever comes back from there."""
    zone = ZoneFile("example.test", f"@ NS ns2\nns2 AAAA {SECONDARY}\n", "grant mailtls. zonesub TXT;")
    with (
        running(tmp_path / "bind", [zone], [KEY]) as server,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as streams,
    ):
        datagrams.bind((SECONDARY, server.port))
        streams.bind((SECONDARY, server.port))
        streams.listen()
        yield server


def test_name_servers_behind_a_firewall_are_named_and_a_minute_is_waited(walled: Bind) -> None:
    """The message offers both settings; then the CA is told to look all the same."""
    solver, solvers = Dns01(walled.settings(KEY)), solvers_of(walled, Vault(KEY.secret))
    solvers.present(solver, RESPONSE)
    hidden = solvers.is_visible(solver, RESPONSE).hidden_by
    assert hidden is not None
    assert hidden.reason is Reason.NAME_SERVERS_UNREACHABLE
    for words in (f"ns2.example.test ([::1]:{walled.port})", "domains.resolvers", "dns01.delay", "60 s after"):
        assert words in hidden.message
    assert solvers.is_visible(solver, RESPONSE, timedelta(seconds=59)).hidden_by is not None
    assert solvers.is_visible(solver, RESPONSE, timedelta(seconds=60)).hidden_by is None


def test_delay_of_the_settings_is_waited_behind_a_firewall(walled: Bind) -> None:
    """It goes before the minute, and before resolvers."""
    solver = Dns01(walled.settings(KEY), delay=timedelta(minutes=5))
    solvers = solvers_of(walled, Vault(KEY.secret), resolvers=("192.0.2.1",))
    solvers.present(solver, RESPONSE)
    assert solvers.is_visible(solver, RESPONSE, timedelta(minutes=4)).hidden_by is not None
    assert solvers.is_visible(solver, RESPONSE, timedelta(minutes=5)).hidden_by is None


def test_resolvers_of_the_installation_are_asked_behind_a_firewall(walled: Bind) -> None:
    """Their word counts, whatever the time."""
    solver = Dns01(walled.settings(KEY))
    solvers = solvers_of(walled, Vault(KEY.secret), resolvers=(walled.server,))
    solvers.present(solver, RESPONSE)
    assert solvers.is_visible(solver, RESPONSE).hidden_by is None
    late = solvers.is_visible(solver, replace(RESPONSE, dns_value="another-digest"), timedelta(hours=1)).hidden_by
    assert late is not None


def test_http_response_is_published_seen_and_removed(bind: Bind) -> None:
    """The operator's own server answers its own check."""
    tokens, solver = Tokens(), Http01()
    server = Http01Server(tokens, 0)
    server.start()
    try:
        solvers = solvers_of(bind, Vault(""), tokens, server.port)
        response = replace(RESPONSE, name="localhost")
        assert solvers.is_visible(solver, response).hidden_by is not None
        solvers.present(solver, response)
        assert solvers.is_visible(solver, response).hidden_by is None
        solvers.clean_up(solver, response)
        assert solvers.is_visible(solver, response).hidden_by is not None
        finding = solvers.is_visible(solver, response).hidden_by
        assert finding is not None
        assert finding.reason is Reason.HTTP_SELF_CHECK_FAILED
        assert "the answer is 404" in finding.message
    finally:
        server.stop()
