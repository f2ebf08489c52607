"""A placeholder before the first certificate: the operator's core against a real CA."""

from collections.abc import Iterator

import pytest

from functional.operator_core import KEY, Core
from functional.pebble import Pebble, running_pebble
from mailtls.api.resource import resource_path
from mailtls.issuance.bootstrap import LIFETIME, REMADE_BEFORE, SUBJECT
from mailtls.kube.interface import Conflict, Unreachable
from mailtls.kube.pairs import path
from mailtls.pki.certificate import Certificate, KeyMaterial, parse_chain

BOOTSTRAP = {"bootstrap": "SelfSigned"}


@pytest.fixture(scope="module")
def shared_pebble() -> Iterator[Pebble]:
    """One CA for all tests."""
    with running_pebble() as pebble:
        yield pebble


@pytest.fixture
def core(shared_pebble: Pebble) -> Core:
    """An operator over an empty cluster."""
    return Core(shared_pebble)


def served(core: Core) -> Certificate:
    """The certificate in the Secret, which goes with its key."""
    data = core.secret()
    assert data is not None
    found = parse_chain(data["tls.crt"].decode())
    assert KeyMaterial(data["tls.key"]).spki_sha256() == found.spki_sha256
    return found


def test_server_can_start_before_its_first_certificate(core: Core) -> None:
    """While the order waits, the Secret holds a pair for the names, and everything says that it is no certificate."""
    core.hold_an_order(**BOOTSTRAP)
    placeholder = served(core)
    assert placeholder.self_signed
    assert placeholder.issuer == f"CN={SUBJECT}"
    assert placeholder.names == frozenset(core.cluster.objects[resource_path(KEY)]["spec"]["dnsNames"])
    labels = core.cluster.objects[path(KEY.namespace, "mx-tls")]["metadata"]["labels"]
    assert labels["mailtls.dev/owner"] == KEY.name
    core.run(lambda: bool(core.condition("Stored")))
    stored, issued = core.condition("Stored"), core.condition("Issued")
    assert (stored["status"], stored["reason"]) == ("False", "SelfSignedPlaceholder")
    assert issued["status"] == "False"
    assert "self-signed placeholder, which no client trusts" in issued["message"]
    assert core.condition("Ready")["status"] == "False"
    assert not core.status().get("certificate")
    assert not core.status().get("stored")
    assert core.events()[:1] == ["SelfSignedPlaceholder"]


@pytest.mark.parametrize("policy", ["Always", "Never"])
def test_first_certificate_takes_the_place_of_the_placeholder(core: Core, policy: str) -> None:
    """With a key of its own, by one order, and nothing is kept that could be rolled back to."""
    core.hold_an_order(**BOOTSTRAP, privateKey={"rotationPolicy": policy})
    placeholder, before = served(core), core.pebble.orders_made()
    core.apply(acme=core.acme())
    core.run_until_ready()
    certificate = served(core)
    assert not certificate.self_signed
    assert certificate.spki_sha256 != placeholder.spki_sha256
    assert core.pebble.orders_made() <= before + 1
    assert core.secret("mx-tls-previous") is None
    core.annotate("mailtls.dev/rollback", "1")
    core.reconcile(KEY)
    assert served(core) == certificate
    assert "RollbackRefused" in core.events()


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("nth", [1, 2])
def test_crash_around_a_write_of_the_secret_ends_with_a_certificate(core: Core, nth: int, is_lost: bool) -> None:
    """Whether the process dies before or after it wrote the placeholder, or the certificate over it."""
    core.fail_once("apply", "/mx-tls", nth, Unreachable("the process died"), is_lost=is_lost)
    core.apply(**BOOTSTRAP)
    core.run_until_ready(restarts=True)
    assert not served(core).self_signed
    assert core.secret("mx-tls-previous") is None


def test_placeholder_is_made_anew_by_one_write_and_no_write_of_another_is_lost(core: Core) -> None:
    """With a key of its own, and reported once; whoever wrote the Secret meanwhile is not written over."""
    core.hold_an_order(**BOOTSTRAP)
    first = served(core)
    core.clock.advance(LIFETIME - REMADE_BEFORE)
    core.fail_once("apply", "/mx-tls", 1, Conflict(409, "Conflict", "it was written"))
    with pytest.raises(Conflict):
        core.reconcile(KEY)
    assert served(core) == first
    core.cluster.writes.clear()
    core.reconcile(KEY)
    second = served(core)
    assert (second.issuer, second.spki_sha256 == first.spki_sha256) == (f"CN={SUBJECT}", False)
    assert second.not_after > first.not_after
    assert [name for verb, name in core.cluster.writes if name.endswith("/mx-tls")] == [path(KEY.namespace, "mx-tls")]
    assert [each["event"] for each in core.status()["history"]].count("SelfSignedPlaceholder") == 1
    assert core.secret("mx-tls-previous") is None


def test_secret_that_exists_is_never_written_over(core: Core) -> None:
    """What somebody put there stays, whatever it holds."""
    core.put_secret("mx-tls", {"tls.crt": b"theirs"})
    core.apply(**BOOTSTRAP)
    core.reconcile(KEY)
    assert core.secret() == {"tls.crt": b"theirs"}


def test_secret_that_appears_meanwhile_is_left_alone(core: Core) -> None:
    """The write makes a Secret or fails: what somebody made since the look stays."""
    core.fail_once("apply", "/mx-tls", 1, Conflict(409, "Conflict", "it exists"))
    core.apply(**BOOTSTRAP)
    with pytest.raises(Conflict):
        core.reconcile(KEY)
    assert core.secret() is None
    core.put_secret("mx-tls", {"tls.crt": b"theirs"})
    core.observer.note_event(KEY)
    core.reconcile(KEY)
    assert core.secret() == {"tls.crt": b"theirs"}


def test_deleted_certificate_is_not_replaced_by_a_placeholder(core: Core) -> None:
    """Once there was a certificate, servers had it: only a certificate follows, also for a process without memory."""
    core.apply(**BOOTSTRAP)
    core.run_until_ready()
    del core.cluster.objects[path(KEY.namespace, "mx-tls")]
    core.restart()
    core.hold_an_order(**BOOTSTRAP)
    assert core.secret() is None
    core.apply(acme=core.acme())
    core.run_until_ready()
    assert not served(core).self_signed


def test_suspended_resource_makes_no_placeholder(core: Core) -> None:
    """Suspended means that nothing is written."""
    core.apply(**BOOTSTRAP, suspend=True)
    core.reconcile(KEY)
    assert core.secret() is None
