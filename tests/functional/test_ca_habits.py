"""What CAs in the wild do that Pebble does not, from order to Secret, over a small CA with their habits."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from cryptography import x509

from functional.bent_ca import BentCa, bent_ca
from functional.operator_core import KEY, Core
from mailtls.model.reason import Reason


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
