"""The probe against real mail servers, set up well and in the ways that go wrong in practice."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from mailservers.case import probe
from mailservers.instance import Instance
from mailservers.tables import ALONE, EVERY_CASE, TABLES
from mailtls.reasons.reason import Severity
from mailtls.reasons.software import Software

EVERY_TABLE = TABLES | ALONE


@pytest.fixture(scope="session")
def server() -> Iterator[Callable[[str], Instance]]:
    """Start each server when its first case comes, and keep it until the last."""
    with ExitStack() as stack:

        @cache
        def start(name: str) -> Instance | AssertionError:
            table = EVERY_TABLE[name]
            try:
                return stack.enter_context(table.serve(table.cases))
            except AssertionError as failed:  # not tried again for each case
                return failed

        def get(name: str) -> Instance:
            if why := EVERY_TABLE[name].missing():
                pytest.skip(why)
            started = start(name)
            if isinstance(started, AssertionError):
                raise started
            return started

        yield get


@pytest.mark.parametrize(
    ("name", "service"), [(name, service) for name, table in EVERY_TABLE.items() for service in table.cases]
)
def test_service_of_a_server_gets_its_reason(name: str, service: str, server: Callable[[str], Instance]) -> None:
    """Each way to set a server up earns the one reason that leads to its mending."""
    case, running = EVERY_TABLE[name].cases[service], server(name)
    preset = next((each for each in Software if each in name.lower()), None)
    endpoint = probe(case, running.where(service), preset)
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
