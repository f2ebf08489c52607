"""Proofs from end to end: settings and a Secret in, a record in a real BIND or an answer over HTTP out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from functional.bind import PRIMARY, Bind, Key, ZoneFile, running
from mailtls.model.address_policy import AddressPolicy, parse_networks
from mailtls.model.reason import Reason
from mailtls.model.spec import DataRef, Dns01, Http01, Rfc2136, Solver
from mailtls.world.challenges.dns01 import Rfc2136Zone
from mailtls.world.challenges.http01 import Http01Server, Tokens
from mailtls.world.challenges.http01_check import Http01Check
from mailtls.world.challenges.proofs import ProofProblem
from mailtls.world.challenges.solvers import Solvers

pytestmark = pytest.mark.bind

KEY = Key("mailtls.")
PROOF = ("mx.example.test", "a-token", "a-token.thumbprint", "the-digest")
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


def solvers_of(bind: Bind, vault: Vault, tokens: Tokens | None = None, port: int = 80) -> Solvers:
    """Make solvers whose zones find name servers by asking `bind`."""

    def zone(settings: Rfc2136, secret: bytes) -> Rfc2136Zone:
        return Rfc2136Zone(settings, secret, bind.names())

    return Solvers(
        tokens or Tokens(), vault.read, zone, Http01Check(port, AddressPolicy(parse_networks(["127.0.0.0/8", "::1"])))
    )


def test_dns_proof_is_published_seen_and_removed(bind: Bind) -> None:
    """The Secret is read once for all three."""
    vault, solver = Vault(KEY.secret), Solver(Dns01(bind.settings(KEY)))
    solvers = solvers_of(bind, vault)
    assert not solvers.is_ready(solver, *PROOF)
    assert solvers.not_seen(solver, *PROOF).reason is Reason.DNS_NOT_PROPAGATED
    assert bind.server in solvers.not_seen(solver, *PROOF).message
    solvers.present(solver, *PROOF)
    assert bind.texts(RECORD) == {"the-digest"}
    assert solvers.is_ready(solver, *PROOF)
    solvers.clean_up(solver, *PROOF)
    assert bind.texts(RECORD) == set()
    assert vault.reads == 1


def test_secret_that_is_mended_is_taken_up_at_the_next_try(bind: Bind) -> None:
    """A refusal forgets the secret, so that nobody waits for a cache."""
    vault, solver = Vault(Key("x").secret), Solver(Dns01(bind.settings(KEY)))
    solvers = solvers_of(bind, vault)
    with pytest.raises(ProofProblem) as caught:
        solvers.present(solver, *PROOF)
    assert caught.value.finding.reason is Reason.DNS_UPDATE_REFUSED
    vault.content = KEY.secret
    solvers.present(solver, *PROOF)
    assert bind.texts(RECORD) == {"the-digest"}


def test_proof_without_self_check_is_ready_unseen(bind: Bind) -> None:
    """Split horizons hide the record from here, but not from the CA."""
    solvers = solvers_of(bind, Vault(KEY.secret))
    assert solvers.is_ready(Solver(Dns01(bind.settings(KEY), self_check=False)), *PROOF)
    assert solvers.is_ready(Solver(Http01(self_check=False)), *PROOF)


def test_server_that_is_gone_is_the_finding_of_a_proof_not_seen(bind: Bind) -> None:
    """Looking once more must not end in an exception."""
    solver, solvers = Solver(Dns01(bind.settings(KEY))), solvers_of(bind, Vault(KEY.secret))
    bind.stop()
    assert solvers.not_seen(solver, *PROOF).reason is Reason.DNS_UNREACHABLE


def test_http_proof_is_published_seen_and_removed(bind: Bind) -> None:
    """The operator's own server answers its own check."""
    tokens, solver = Tokens(), Solver(Http01())
    server = Http01Server(tokens, 0)
    server.start()
    try:
        solvers = solvers_of(bind, Vault(""), tokens, server.port)
        proof = ("localhost", *PROOF[1:])
        assert not solvers.is_ready(solver, *proof)
        solvers.present(solver, *proof)
        assert solvers.is_ready(solver, *proof)
        solvers.clean_up(solver, *proof)
        assert not solvers.is_ready(solver, *proof)
        finding = solvers.not_seen(solver, *proof)
        assert finding.reason is Reason.HTTP_SELF_CHECK_FAILED
        assert "the answer is 404" in finding.message
    finally:
        server.stop()
