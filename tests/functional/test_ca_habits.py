"""What CAs in the wild do that Pebble does not, from order to Secret, over a small CA with their habits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from cryptography import x509

from builders.hostile_ca import answer, refusal
from functional.bent_ca import BentCa, bent_ca
from functional.operator_core import KEY, Core
from mailtls.api.resource import resource_path
from mailtls.api.spec import Key
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone
from mailtls.issuance.solvers.http01_server import PATH
from mailtls.reasons.reason import Reason


@pytest.fixture
def ca() -> Iterator[BentCa]:
    """A CA without habits yet."""
    with bent_ca() as running:
        yield running


@pytest.fixture
def core(ca: BentCa) -> Core:
    """An operator over an empty cluster, with a resource just applied."""
    made = Core(cast("Any", ca))
    made.apply()
    return made


def test_ca_without_habits_issues(core: Core, ca: BentCa) -> None:
    """By one order."""
    core.run_until_ready()
    assert len(ca.orders) == 1
    assert core.events() == ["Issued"]


def test_chain_of_one_certificate_under_a_trusted_root_is_stored(core: Core, ca: BentCa) -> None:
    """Private authorities of one tier issue from their root: nothing is missing."""
    ca.one_tier = True
    core.run_until_ready()
    served = core.secret()
    assert served is not None
    assert len(x509.load_pem_x509_certificates(served["tls.crt"])) == 1


def test_leaf_alone_under_a_root_that_nobody_trusts_is_not_stored(core: Core, ca: BentCa) -> None:
    """An intermediate is missing: clients would refuse it."""
    ca.leaf_alone = True
    core.run(lambda: core.condition("Issued").get("reason") not in {"Issuing", None})
    assert core.condition("Issued")["reason"] == Reason.CERTIFICATE_CHAIN_BROKEN
    assert core.secret() is None


def test_certificate_with_more_names_is_stored_and_said(core: Core, ca: BentCa) -> None:
    """It is for this key and for every wanted name; ordering anew would bring the same."""
    ca.added = ("www.mx.example.com",)
    core.run_until_ready()
    assert core.events() == ["Issued", "CertificateNamesAdded"]
    assert "added www.mx.example.com" in core.condition("Issued")["message"]
    core.restart()
    core.reconcile(KEY)
    assert len(ca.orders) == 1


def test_name_that_is_no_longer_wanted_is_not_taken_for_an_added_one(core: Core, ca: BentCa) -> None:
    """Whoever takes a name out of the spec gets a certificate without it."""
    core.apply(dnsNames=["mx.example.com", "mail.example.com"])
    core.run_until_ready()
    core.apply(dnsNames=["mx.example.com"])
    core.run_until_ready()
    ca.added = ("mail.example.com",)
    core.annotate("mailtls.dev/renew", "1")
    core.run(lambda: len(ca.orders) == 3 and core.is_ready())
    core.apply(dnsNames=["mx.example.com", "mail.example.com"])
    core.run(lambda: len(ca.orders) == 4 and core.is_ready())


_GONE = {
    "401": refusal("unauthorized", "account deactivated", "401 Unauthorized"),
    "401 of a proxy": answer(b"<html>", "401 Unauthorized", kind="text/html"),
    "403": refusal("unauthorized", 'Account is not valid, has status "deactivated"'),
    "403 of another type": refusal("malformed", "This account was revoked"),
}


@pytest.mark.parametrize("path", ["/nonce", "/account", "/order", "/proof/", "/challenge/"])
@pytest.mark.parametrize("said", _GONE)
def test_deactivated_account_is_named_at_every_stage(core: Core, ca: BentCa, path: str, said: str) -> None:
    """With the Secret to delete; once it is gone, a new account is made without another word."""
    ca.refuse = lambda asked: _GONE[said] if asked.startswith(path) and (path[-1] == "/" or asked == path) else None
    core.run(lambda: core.condition("Issued").get("reason") not in {"Issuing", None})
    issued, account = core.condition("Issued"), _account_secret(core)
    assert issued["reason"] == Reason.ACCOUNT_REJECTED, issued
    assert issued["message"].startswith(f"Delete the Secret mail/{account}, so that a new account is made: ")
    asked = len(ca.requests)
    ca.refuse = lambda _path: None
    core.clock.advance(timedelta(hours=3))
    if said == "401 of a proxy":  # what stands before a CA may say so for a while
        core.run_until_ready()
        return
    core.reconcile(KEY)
    assert len(ca.requests) == asked  # nobody asks for this account any more
    before = core.cluster.objects.pop(f"/api/v1/namespaces/mail/secrets/{account}")
    core.run_until_ready()
    assert core.cluster.objects[f"/api/v1/namespaces/mail/secrets/{account}"]["data"] != before["data"]


@pytest.mark.parametrize("path", ["/finalize/", "/certificate/"])
@pytest.mark.parametrize("said", _GONE)
def test_account_deactivated_in_mid_order_is_named(core: Core, ca: BentCa, path: str, said: str) -> None:
    """The last stages too."""
    ca.refuse = lambda asked: _GONE[said] if asked.startswith(path) else None
    core.run(lambda: core.condition("Issued").get("reason") not in {"Issuing", None})
    assert core.condition("Issued")["reason"] == Reason.ACCOUNT_REJECTED


@pytest.mark.parametrize("said", _GONE)
def test_order_of_a_deactivated_account_is_not_taken_for_lost(ca: BentCa, said: str) -> None:
    """Else a new one would be tried, again and again."""
    account = ca.account()
    order = account.new_order(["mx.example.com"])
    ca.refuse = lambda asked: _GONE[said] if asked.startswith("/order/") else None
    with pytest.raises(AcmeProblem) as caught:
        account.poll(order)
    assert caught.value.finding.reason is Reason.ACCOUNT_REJECTED
    ca.refuse = lambda asked: refusal("unauthorized", "authorization was deactivated") if "/order/" in asked else None
    with pytest.raises(OrderGone):
        account.poll(order)


OTHER = Key("mail", "other")


def _second_resource(core: Core, name: str = "mx.example.com") -> None:
    """Apply another resource of the namespace, whose account is the same."""
    spec = core.cluster.objects[resource_path(KEY)]["spec"] | {"secretName": "other-tls", "dnsNames": [name]}
    metadata = {"name": OTHER.name, "namespace": OTHER.namespace, "uid": "uid-2", "generation": 1}
    metadata |= {"creationTimestamp": "2026-01-02T00:00:00Z", "resourceVersion": "1"}
    body = {"metadata": metadata, "spec": spec}
    core.cluster.objects[resource_path(OTHER)] = body
    core.claims.note(body)
    core.observer.note_event(OTHER)


def _look_for_the_proof(core: Core, ca: BentCa) -> None:
    """Let the CA look for what it was told of, as a CA does: at the name."""
    ca.slow = False
    (proof,) = ca.proofs.values()
    assert proof.status == "pending"
    if core.tokens.answer(proof.name, f"{PATH}{proof.token}") is None:
        proof.problem = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "no answer"}
    proof.status = "invalid" if proof.problem else "valid"


def test_order_that_another_resource_waits_for_survives_the_end_of_the_first(core: Core, ca: BentCa) -> None:
    """The CA hands one order to both: neither its authorization nor its proof is taken from under the other."""
    ca.slow = True
    core.reconcile(KEY)
    _second_resource(core)
    core.reconcile(OTHER)
    assert len(ca.orders) == 1
    core.delete()
    assert core.reconcile(KEY) is None
    _look_for_the_proof(core, ca)
    core.clock.advance(timedelta(minutes=1))
    core.reconcile(OTHER)
    assert core.secret("other-tls") is not None
    assert core.events() == ["Issued"]


def test_order_that_another_resource_finalized_is_soon_replaced(core: Core, ca: BentCa) -> None:
    """The CA handed it to both, and the certificate is for the other's key."""
    ca.slow = True
    core.reconcile(KEY)
    _second_resource(core)
    core.reconcile(OTHER)
    _look_for_the_proof(core, ca)
    core.run(core.is_ready)
    while core.secret("other-tls") is None:
        core.reconcile(OTHER)
        core.clock.advance(timedelta(seconds=5))
    assert core.clock.shift < timedelta(minutes=1)
    assert len(ca.orders) == 2


def test_unreachable_ca_is_told_to_each_resource_with_the_next_try() -> None:
    """Also to the one that has not tried itself: the CA is left alone for all of them."""
    core = Core(cast("Any", BentCa(port=1)))
    core.apply()
    core.run(lambda: "left alone" in core.condition("Issued").get("message", ""))
    _second_resource(core)
    core.reconcile(OTHER)
    status = core.cluster.objects[resource_path(OTHER)]["status"]
    issued = next(each for each in status["conditions"] if each["type"] == "Issued")
    assert issued["reason"] == Reason.ACME_UNREACHABLE
    assert "left alone, next try at 2" in issued["message"]


def test_order_whose_authorization_is_not_at_https_is_closed_at_once(core: Core, ca: BentCa) -> None:
    """It cannot be read, now or later; the next attempt comes by the usual delays, to a CA that may be mended."""
    ca.plain = True
    core.run(lambda: core.condition("Issued").get("reason") not in {"Issuing", None})
    assert core.condition("Issued")["reason"] == Reason.ACME_INSECURE
    assert core.journal()["open"] is False
    ca.plain = False
    ca.orders.clear()
    core.run_until_ready()


def test_nothing_is_taken_from_under_orders_that_are_not_read_yet(core: Core, ca: BentCa) -> None:
    """After a restart their journals say that there are such."""
    ca.slow = True
    core.reconcile(KEY)
    _second_resource(core)
    core.reconcile(OTHER)
    core.restart()
    core.delete()
    assert core.reconcile(KEY) is None
    assert [each.status for each in ca.proofs.values()] == ["pending"]
    core.observer.note_event(OTHER)
    core.reconcile(OTHER)
    _look_for_the_proof(core, ca)
    core.clock.advance(timedelta(minutes=1))
    core.reconcile(OTHER)
    assert core.secret("other-tls") is not None


def test_pending_authorization_that_nobody_else_uses_is_given_back(core: Core, ca: BentCa) -> None:
    """Also while the order of another name is open."""
    ca.slow = True
    core.reconcile(KEY)
    _second_resource(core, "mail.example.com")
    core.reconcile(OTHER)
    core.delete()
    core.reconcile(KEY)
    assert [each.status for each in ca.proofs.values()] == ["deactivated", "pending"]
    assert not core.is_held("mx-tls-next")


def test_wait_of_a_day_is_cut_told_and_ended_by_a_request(core: Core, ca: BentCa) -> None:
    """Some CAs ask for a day between polls, though the order is ready in seconds."""
    ca.slow, ca.wait = True, "86400"
    began_at = core.clock.now()
    delay = core.reconcile(KEY)
    assert delay is not None
    assert 200 < delay <= 300
    message = core.condition("Issued")["message"]
    told = datetime.strptime(message.partition("next poll at ")[2][:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert timedelta(minutes=4) < told - began_at < timedelta(minutes=6)
    _look_for_the_proof(core, ca)
    asked = len(ca.requests)
    core.reconcile(KEY)
    assert len(ca.requests) == asked
    core.annotate("mailtls.dev/renew", "now")
    core.reconcile(KEY)
    assert core.secret() is not None


def test_wait_that_a_busy_ca_asks_for_is_told_and_ended_by_a_request(core: Core, ca: BentCa) -> None:
    """A week becomes an hour; the message says until when, and the Secret is there at once after a request."""
    ca.refuse = lambda path: _BUSY if path == "/order" else None
    delay = core.reconcile(KEY)
    assert delay is not None
    assert 3500 < delay <= 3600
    assert "Next try at " in core.condition("Issued")["message"]
    ca.refuse = lambda _path: None
    asked = len(ca.requests)
    core.reconcile(KEY)
    assert len(ca.requests) == asked
    core.annotate("mailtls.dev/renew", "now")
    core.run_until_ready()
    assert core.clock.shift < timedelta(minutes=5)


_BUSY = refusal("serverInternal", "maintenance", "503 Service Unavailable", Retry_After="604800")


def _account_secret(core: Core) -> str:
    names = [path.rsplit("/", 1)[1] for path in core.cluster.objects if "/mailtls-account-" in path]
    assert len(names) == 1
    return names[0]
