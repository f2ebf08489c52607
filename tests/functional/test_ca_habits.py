"""What CAs in the wild do that Pebble does not, from order to Secret, over a small CA with their habits."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from cryptography import x509

from functional.bent_ca import BentCa, bent_ca
from functional.operator_core import KEY, Core
from mailtls.model.reason import Reason
from mailtls.world.acme.problem import AcmeProblem, OrderGone
from unit.hostile_ca import answer, refusal


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


def _account_secret(core: Core) -> str:
    names = [path.rsplit("/", 1)[1] for path in core.cluster.objects if "/mailtls-account-" in path]
    assert len(names) == 1
    return names[0]
