"""Bulkheads in whole passes, against a real CA: who finds no place gives the worker back and goes on when it may."""

from collections.abc import Iterator

import pytest

from functional.operator_core import KEY, Core
from functional.pebble import Pebble, running_pebble
from mailtls.api.reading.spec import parse
from mailtls.api.resource import resource_path
from mailtls.api.spec import Key, Place, PlaceKind
from mailtls.controller.bulkheads import Bulkheads
from mailtls.controller.composition import defaults_of
from mailtls.issuance.decide import CloseOrder
from mailtls.stage import Stage
from mailtls.stages import STAGES
from mailtls.step import ca_of

OTHER = Key("other", "mx")
ONE_PLACE = 4  # workers


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    """One CA for all tests."""
    with running_pebble() as running:
        yield running


def _with_bulkheads(pebble: Pebble) -> tuple[Core, list[Key], Place]:
    woken: list[Key] = []
    core = Core(pebble, bulkheads=Bulkheads(ONE_PLACE, wake=woken.append))
    core.apply()
    return core, woken, ca_of(parse(core.cluster.objects[resource_path(KEY)], defaults_of(core.settings())).acme.server)


def test_resource_in_line_asks_the_ca_for_nothing_and_goes_on_with_the_same_key(pebble: Pebble) -> None:
    """It is told that a certificate is being issued; when it is its turn, it orders once, without a search."""
    core, woken, place = _with_bulkheads(pebble)
    with core.bulkheads.reconciling(OTHER) as other, other.permit(frozenset({place})) as permit:
        assert core.reconcile(KEY) is None  # no timer: it is woken
        staged = core.secret("mx-tls-next")
        assert staged is not None
        assert core.requests("new-order") == core.requests("directory") == 0
        assert core.condition("Issued")["reason"] == "Issuing"
        permit.outcomes = {place: False}
    assert woken == [KEY]
    core.run_until_ready()
    stored = core.secret()
    assert stored is not None
    assert stored["tls.key"] == staged["tls.key"]
    assert (core.requests("new-order"), core.requests("orders")) == (1, 0)


def test_resource_in_line_whose_pass_was_lost_looks_for_its_order_first(pebble: Pebble) -> None:
    """After a restart nobody knows that the CA has not heard of it."""
    core, _, place = _with_bulkheads(pebble)
    with core.bulkheads.reconciling(OTHER) as other, other.permit(frozenset({place})):
        core.reconcile(KEY)
    core.bulkheads = Bulkheads(ONE_PLACE)
    core.restart()
    core.run_until_ready()
    assert (core.requests("new-order"), core.requests("orders")) == (1, 1)


def test_deleted_resource_in_line_for_a_dead_dns_server_is_let_go_in_the_end(pebble: Pebble) -> None:
    """Another one holds the only place at the DNS server of its proof; its namespace does not wait for that."""
    core, _, _ = _with_bulkheads(pebble)
    core.hold_an_order()
    core.delete()
    with core.bulkheads.reconciling(OTHER) as other, other.permit(frozenset({Place(PlaceKind.DNS, "127.0.0.1:1")})):
        core.run(lambda: not core.is_held("mx-tls-next"))
    assert core.bulkheads.waiting() == 0


def test_certificate_that_is_stored_is_told_while_its_order_waits_to_be_closed(
    pebble: Pebble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing needs places at the CA and the DNS server; being Ready needs neither."""
    core, _, place = _with_bulkheads(pebble)
    core.run_until_ready()
    before = core.status()["certificate"]["serialNumber"]
    for step in (stage.step for stage in STAGES if isinstance(stage, Stage)):
        waits_on = (place,) if step is CloseOrder else ()
        monkeypatch.setattr(step, "places", lambda _step, _desired, waits_on=waits_on: waits_on)
    with core.bulkheads.reconciling(OTHER) as other, other.permit(frozenset({place})) as permit:
        permit.outcomes = {place: False}
    with core.bulkheads.reconciling(OTHER) as other, other.permit(frozenset({place})):
        core.annotate("mailtls.dev/renew", "1")
        core.run(lambda: core.bulkheads.waiting() == 1)
        assert core.status()["certificate"]["serialNumber"] != before
        assert core.is_ready()
        assert core.journal()["open"]
    core.run(lambda: not core.journal()["open"])
