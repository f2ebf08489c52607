"""The operator's core against a real CA, with everything that goes wrong on the way to it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from functional.operator_core import KEY, Core
from functional.pebble import Pebble, running_pebble
from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import PrivateKeyPolicy
from mailtls.world import keys

LONGEST_WAIT = 90.0  # seconds
RFC2136 = {"server": "127.0.0.1:1", "tsigKeyName": "key.", "tsigSecretRef": {"name": "tsig", "key": "key"}}


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


def test_missing_account_key_is_waited_for(core: Core) -> None:
    """Nobody tells the operator that a Secret it does not own was created: it looks again soon, and goes on."""
    core.apply(acme=core.acme() | {"accountKeySecretRef": {"name": "my-account", "key": "key.pem"}})
    delay = core.reconcile(KEY)
    assert core.condition("Ready")["reason"] == "CredentialsMissing"
    assert delay is not None
    assert delay <= LONGEST_WAIT
    core.put_secret("my-account", {"key.pem": keys.generate(PrivateKeyPolicy()).pem})
    core.clock.advance(timedelta(minutes=2))
    core.run_until_ready()


def test_unusable_dns_key_neither_loops_nor_orders_again(core: Core) -> None:
    """The open order waits for the key to be mended; what cannot be removed either is not tried in a loop."""
    before = core.pebble.orders_made()
    core.put_secret("tsig", {"key": b"no base64 at all!"})
    core.apply(acme=core.acme() | {"solvers": [{"dns01": {"selfCheck": False, "rfc2136": RFC2136}}]})
    for _ in range(5):
        core.reconcile(KEY)
        core.clock.advance(timedelta(minutes=2))
    assert core.condition("Ready")["reason"] == "CredentialsMissing"
    assert core.pebble.orders_made() == before + 1
    core.apply(acme=core.acme())
    core.run_until_ready()


def test_proof_that_cannot_be_removed_does_not_spoil_the_certificate(core: Core) -> None:
    """The certificate is stored; closing the order is tried again later, and given up at last."""
    core.spoil_clean_up(Finding(Reason.DNS_UPDATE_REFUSED, "The DNS server refuses the update."))
    core.run(lambda: core.condition("Ready").get("status") == "True")
    assert "attempts" not in core.status()
    assert core.events() == ["Issued"]
    assert core.journal()["open"]
    core.run(lambda: not core.journal()["open"])
    assert "attempts" not in core.status()
