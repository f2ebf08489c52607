"""The probe against real mail servers, set up well and in the ways that go wrong in practice."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from mailservers.case import probe
from mailservers.instance import Instance
from mailservers.tables import EVERY_CASE, TABLES
from mailtls.model.reason import Severity


@pytest.fixture(scope="session")
def server() -> Iterator[Callable[[str], Instance]]:
    """Start each server when its first case comes, and keep it until the last."""
    started: dict[str, Instance] = {}
    with ExitStack() as stack:

        def get(name: str) -> Instance:
            table = TABLES[name]
            if why := table.missing():
                pytest.skip(why)
            if name not in started:
                started[name] = stack.enter_context(table.serve(table.cases))
            return started[name]

        yield get


@pytest.mark.parametrize(("name", "service"), EVERY_CASE)
def test_service_of_a_server_gets_its_reason(name: str, service: str, server: Callable[[str], Instance]) -> None:
    """Each way to set a server up earns the one reason that leads to its mending."""
    case, running = TABLES[name].cases[service], server(name)
    endpoint = probe(case, running.where(service))
    failure = endpoint.failure
    told = (endpoint.findings, running.log()[-2000:])
    assert (failure.reason if failure else None) == case.reason, told
    assert failure is None or case.says in failure.message
    warned = tuple(found.reason for found in endpoint.findings if found.severity is Severity.WARN)
    assert set(case.warns) <= set(warned), told
    assert failure or set(case.warns) == set(warned), told


def test_cases_are_as_many_as_promised() -> None:
    """The documentation speaks of at least sixty."""
    assert len(EVERY_CASE) >= 60
