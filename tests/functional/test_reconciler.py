"""The operator's core against a real CA, with everything that goes wrong on the way to it."""

from collections.abc import Iterator

import pytest

from functional.operator_core import KEY, Core
from functional.pebble import Pebble, running_pebble


@pytest.fixture(scope="module")
def shared_pebble() -> Iterator[Pebble]:
    """One CA for all tests; each counts the orders that it adds."""
    with running_pebble() as pebble:
        yield pebble


@pytest.fixture
def core(shared_pebble: Pebble) -> Core:
    """An operator over an empty cluster, with a resource just applied."""
    made = Core(shared_pebble)
    made.apply()
    return made


def test_resource_becomes_ready_by_one_order(core: Core) -> None:
    """Key, order, certificate, Secret and status, and nothing left open."""
    before = core.pebble.orders_made()
    core.run_until_ready()
    assert core.pebble.orders_made() == before + 1
    served, staged = core.secret(), core.secret("mx-tls-next")
    assert served is not None
    assert staged is not None
    assert served["tls.key"] == staged["tls.key"]
    assert b'"open": false' in staged["order.json"]


def test_idle_pass_writes_nothing(core: Core) -> None:
    """A certificate that is fine costs no write."""
    core.run_until_ready()
    core.reconcile(KEY)
    core.cluster.writes.clear()
    assert core.reconcile(KEY) is not None
    assert core.cluster.writes == []


def test_renewal_with_a_kept_key_is_one_order(core: Core) -> None:
    """The staged key of a renewal under rotation Never is the one that serves already."""
    core.apply(privateKey={"rotation": "Never"})
    core.run_until_ready()
    first, before = core.secret(), core.pebble.orders_made()
    core.annotate("mailtls.dev/renew", "1")
    core.run(lambda: core.secret() != first)
    core.run_until_ready()
    second = core.secret()
    assert first is not None
    assert second is not None
    assert first["tls.key"] == second["tls.key"]
    assert first["tls.crt"] != second["tls.crt"]
    assert core.pebble.orders_made() == before + 1
