"""The registry of solvers: a provider is one module and one entry, and whatever has none is an error with a name."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from builders import toy_provider
from builders.toy_provider import Toy
from fakes.toy_service import TOKEN, ToyService, running
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.document import InvalidSpec, Node
from mailtls.api.spec import DataRef, Place, PlaceKind
from mailtls.issuance.solvers.base import ChallengeProblem, ChallengeResponse, Outcome, Solver, Stage, Surroundings
from mailtls.issuance.solvers.dns01 import Dns01
from mailtls.issuance.solvers.http01 import Http01
from mailtls.issuance.solvers.registry import SOLVERS, Solvers, UnknownSolver
from mailtls.reasons.reason import Reason

REGISTRY = SOLVERS.with_provider(toy_provider.PROVIDER)
REF = DataRef("Secret", "mail", "toy", "token")
RESPONSE = ChallengeResponse("mx.example.test", "a-token", "a-token.thumbprint", "the-digest")
RECORD = "_acme-challenge.mx.example.test"
NOWHERE = Stage(addresses=lambda _host: ((), ""), reach=lambda _address, _port: "")


@pytest.fixture
def service() -> Iterator[ToyService]:
    """The provider's service."""
    with running(ToyService()) as found:
        yield found


def written(server: str) -> dict[str, Any]:
    """Return a solver as a user writes it."""
    return {"dns01": {"delay": "2m", "toy": {"server": server, "tokenRef": {"name": "toy", "key": "token"}}}}


def read(solver: object) -> Any:
    """Read a solver of the namespace `mail`."""
    return REGISTRY.read(Node("solvers[0]", solver), "mail")


def refusal(solver: object) -> str:
    """Return the sentence that it is refused with."""
    with pytest.raises(InvalidSpec) as caught:
        read(solver)
    return str(caught.value)


def solver_at(service: ToyService, token: str = TOKEN) -> Solver:
    """Build the toy's solver."""
    return REGISTRY.build(read(written(service.url)), {REF: token.encode()}, Surroundings())


def test_provider_of_one_module_is_read_with_all_that_decisions_need_to_know() -> None:
    """The shared part of dns01 is read too, and the bulkhead and the Secret are known without another entry."""
    settings = read(written("http://127.0.0.1:1"))
    assert settings == Dns01(Toy("http://127.0.0.1:1", REF), delay=timedelta(minutes=2))
    assert (settings.name, settings.challenge_type) == ("dns01.toy", "dns-01")
    assert settings.references == (REF,)
    assert settings.place("mail") == Place(PlaceKind.DNS, "http://127.0.0.1:1")


def test_provider_of_one_module_is_a_solver_of_a_resource() -> None:
    """The parser of `acme` knows it by the registry that it is given."""
    acme = default_acme({"server": "letsencrypt", "solvers": [written("http://127.0.0.1:1")]}, "mail", REGISTRY)
    assert acme is not None
    assert acme.solvers[0].settings.name == "dns01.toy"


def test_provider_of_one_module_presents_and_cleans_up(service: ToyService) -> None:
    """Another value at the name stays as it is."""
    solver = solver_at(service)
    service.records[RECORD] = {"another"}
    assert not solver.is_visible(RESPONSE, timedelta())
    solver.present(RESPONSE)
    assert service.records[RECORD] == {"another", "the-digest"}
    assert solver.is_visible(RESPONSE, timedelta())
    solver.clean_up(RESPONSE)
    assert service.records[RECORD] == {"another"}
    hidden = solver.is_visible(RESPONSE, timedelta()).hidden_by
    assert hidden is not None
    assert hidden.reason is Reason.DNS_NOT_PROPAGATED
    assert service.url in hidden.message


@pytest.mark.parametrize("may_write", [False, True])
def test_provider_of_one_module_is_rehearsed(service: ToyService, may_write: bool) -> None:
    """A record is written only where that is allowed, and removed again."""
    changes: list[set[str]] = []
    service.on_change = lambda _name, values: changes.append(set(values))
    stage = Stage(NOWHERE.addresses, NOWHERE.reach, may_write)
    remarks = list(solver_at(service).rehearse("mx.example.test", stage))
    assert [each.outcome for each in remarks] == [Outcome.GOOD] * (2 if may_write else 1)
    assert remarks[0].message == f"{service.url} knows the token."
    assert any(changes) is may_write
    assert service.records[RECORD] == set()


def test_rehearsal_with_a_wrong_secret_says_so(service: ToyService) -> None:
    """The provider's own words reach the person."""
    with pytest.raises(ChallengeProblem, match="into the Secret toy"):
        list(solver_at(service, "another").rehearse("mx.example.test", NOWHERE))


def test_secret_that_was_corrected_is_read_again_after_a_refusal(service: ToyService) -> None:
    """No restart and no waiting: what is refused is not believed any more."""
    contents = [b"another", TOKEN.encode()]
    solvers = Solvers(REGISTRY, Surroundings(), lambda _ref: contents.pop(0))
    settings = read(written(service.url))
    with pytest.raises(ChallengeProblem):
        solvers.present(settings, RESPONSE)
    solvers.present(settings, RESPONSE)
    solvers.clean_up(settings, RESPONSE)
    assert contents == []


def test_delay_without_a_look_reads_no_secret() -> None:
    """Where nobody looks, time alone decides."""
    settings = Dns01(Toy("http://127.0.0.1:1", REF), self_check=False, delay=timedelta(minutes=2))
    solvers = Solvers(REGISTRY, Surroundings(), lambda _ref: pytest.fail("nothing is to be read"))
    assert not solvers.is_visible(settings, RESPONSE, timedelta(seconds=119))
    assert solvers.is_visible(settings, RESPONSE, timedelta(minutes=2))
    assert solvers.is_visible(Http01(self_check=False), RESPONSE)


def test_registry_names_what_there_is_to_choose_from() -> None:
    """None, two of a kind, and two kinds are each told what to write."""
    both = "give exactly one of dns01 and http01, and a solver of its own for each"
    assert refusal({}) == f"solvers[0]: {both}."
    assert refusal({"dns01": {}, "http01": {}}) == f"solvers[0]: {both}."
    assert refusal({"dns01": {}}) == "solvers[0].dns01: give exactly one of rfc2136, toy."
    assert refusal({"dns01": {"toy": {}, "rfc2136": {}}}) == "solvers[0].dns01: give exactly one of rfc2136, toy."
    assert refusal({"dns01": {"toy": {}}}) == "solvers[0].dns01.toy.server: this must be given."


def test_settings_without_an_entry_are_an_error_with_a_name() -> None:
    """They never end in another solver."""

    @dataclass(frozen=True)
    class Strange(Http01):
        name = "tls-alpn01"

    with pytest.raises(UnknownSolver, match="tls-alpn01"):
        SOLVERS.build(Strange(), {}, Surroundings())


def test_name_is_given_to_one_provider_only() -> None:
    """Else the first would answer for the second."""
    with pytest.raises(ValueError, match=r"dns01\.toy already"):
        REGISTRY.with_provider(toy_provider.PROVIDER)
