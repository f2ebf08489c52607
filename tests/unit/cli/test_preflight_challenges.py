"""What preflight says of challenges: a line for each name, by whichever provider the registry has."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace

import pytest

from builders import toy_provider
from builders.stories import NOW, desired
from builders.toy_provider import Toy
from fakes.cluster import FakeCluster
from fakes.toy_service import TOKEN, ToyService, running
from mailtls.api.reading.document import Json
from mailtls.api.spec import DataRef, Desired, SolverSpec
from mailtls.cli.preflight.outside import challenge_lines
from mailtls.cli.preflight.place import Place
from mailtls.cli.results import Verdict
from mailtls.issuance.solvers.dns01 import Dns01
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.reasons.reason import Reason

REGISTRY = SOLVERS.with_provider(toy_provider.PROVIDER)
SECRET = "/api/v1/namespaces/mail/secrets/toy"


class RehearsingCluster(FakeCluster):
    """A cluster that would take everything."""

    def rehearse(self, _path: str, body: Json) -> Json:
        """Take it."""
        return body


@pytest.fixture
def service() -> Iterator[ToyService]:
    """The provider's service."""
    with running(ToyService()) as found:
        yield found


def wanting(service: ToyService, *names: str, zones: tuple[str, ...] = ()) -> Desired:
    """Return a resource whose names are validated at the service."""
    toy = Dns01(Toy(service.url, DataRef("Secret", "mail", "toy", "token")))
    before = desired(dns_names=names)
    return replace(before, acme=replace(before.acme, solvers=(SolverSpec(toy, zones),)))


def cluster_with(token: str) -> RehearsingCluster:
    """Return a cluster with the provider's Secret."""
    cluster = RehearsingCluster()
    cluster.objects[SECRET] = {"metadata": {"name": "toy"}, "data": {"token": b64encode(token.encode()).decode()}}
    return cluster


def test_each_name_is_rehearsed_with_its_provider_once(service: ToyService) -> None:
    """A wildcard and its parent are one record; nothing is left behind."""
    wants = wanting(service, "mx.example.test", "example.test", "*.example.test")
    lines = list(challenge_lines(wants, Place(NOW, cluster_with(TOKEN), may_write=True), REGISTRY))
    assert [(each.topic, each.verdict) for each in lines] == [("dns-01", Verdict.OK)] * 4
    assert lines[0].message == f"{service.url} knows the token."
    assert lines[1].message == "A record at _acme-challenge.mx.example.test was added and removed again."
    assert set(service.records) == {"_acme-challenge.mx.example.test", "_acme-challenge.example.test"}
    assert not any(service.records.values())


def test_refusal_of_the_provider_fails_with_its_own_words(service: ToyService) -> None:
    """The reason is that of the condition that an order would end in."""
    (line,) = challenge_lines(wanting(service, "mx.example.test"), Place(NOW, cluster_with("another")), REGISTRY)
    assert (line.verdict, line.reason) == (Verdict.FAIL, Reason.DNS_UPDATE_REFUSED)
    assert "into the Secret toy" in line.message


def test_secret_that_is_missing_fails(service: ToyService) -> None:
    """Nothing is tried with half of the settings."""
    (line,) = challenge_lines(wanting(service, "mx.example.test"), Place(NOW, RehearsingCluster()), REGISTRY)
    assert (line.verdict, line.reason) == (Verdict.FAIL, Reason.CREDENTIALS_MISSING)
    assert service.records == {}


def test_provider_with_a_secret_is_not_tried_without_a_cluster(service: ToyService) -> None:
    """Offline the Secret cannot be read, so that the line is a warning; names are shown in both forms."""
    (line,) = challenge_lines(wanting(service, "xn--bcher-kva.example"), Place(NOW), REGISTRY)
    assert line.verdict is Verdict.WARN
    expected = f"bücher.example (xn--bcher-kva.example) is validated by dns01.toy at {service.url}"
    assert line.message.startswith(expected)
    assert service.records == {}


def test_name_without_a_solver_fails(service: ToyService) -> None:
    """A zone that does not hold the name is no solver for it."""
    wants = wanting(service, "mx.example.test", zones=("example.org",))
    (line,) = challenge_lines(wants, Place(NOW, cluster_with(TOKEN)), REGISTRY)
    assert (line.verdict, line.reason) == (Verdict.FAIL, Reason.NO_SOLVER)
