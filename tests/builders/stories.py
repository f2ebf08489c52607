"""Builders of nouns for tests: a resource whose certificate is fine, to be bent one way by each test."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mailtls.api.spec import Acme, DataRef, Desired, Key, SolverSpec
from mailtls.api.status import Attempts, Schedule
from mailtls.issuance.solvers.dns01 import Dns01
from mailtls.issuance.solvers.dns_update import Rfc2136
from mailtls.kube.snapshot import ServingSecret, Staged
from mailtls.pki.certificate import Certificate, KeyAlgorithm, KeyMaterial
from mailtls.reasons.reason import Reason

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SERVER = "https://ca.test/directory"
RFC2136 = Rfc2136("ns.test", "key.", DataRef("Secret", "mail", "tsig", "secret"))


def desired(**changes: Any) -> Desired:
    """A resource with one name, no workloads and a DNS-01 solver."""
    fine = Desired(
        key=Key("mail", "mx"),
        uid="uid-1",
        generation=1,
        created_at=NOW - DAY,
        dns_names=("mx.example.test",),
        secret_name="mx-tls",
        acme=Acme(SERVER, "postmaster@example.test", (SolverSpec(Dns01(RFC2136)),)),
    )
    return replace(fine, **changes)


def certificate(**changes: Any) -> Certificate:
    """A certificate in the first third of its 90 days."""
    pem = "-----BEGIN CERTIFICATE-----\nleaf\n-----END CERTIFICATE-----\n"
    fine = Certificate(
        chain_pem=pem + pem,
        serial_number="0a",
        sha256="aa" * 32,
        spki_sha256="bb" * 32,
        issuer="CN=Test",
        names=frozenset({"mx.example.test"}),
        not_before=NOW - 10 * DAY,
        not_after=NOW + 80 * DAY,
        key_algorithm=KeyAlgorithm.ECDSA,
        key_size=256,
        chain_is_ordered=True,
        self_signed=False,
        root="Root A",
    )
    return replace(fine, **changes)


def secret(**changes: Any) -> ServingSecret:
    """The Secret with that certificate and its own key."""
    return replace(ServingSecret(certificate(), "bb" * 32, SERVER), **changes)


def schedule(**changes: Any) -> Schedule:
    """A renewal drawn for 50 days from now."""
    return replace(Schedule("aa" * 32, NOW + 50 * DAY), **changes)


def staged(**changes: Any) -> Staged:
    """A key staged for the same names, with an open order that has no URL yet."""
    fine = Staged(
        spki_sha256="cc" * 32,
        key_algorithm=KeyAlgorithm.ECDSA,
        key_size=256,
        names=("mx.example.test",),
        acme_server=SERVER,
        profile=None,
        is_open=True,
        staged_at=NOW,
        key=KeyMaterial(b""),
        csr_der=b"",
        resource_version="1",
    )
    return replace(fine, **changes)


def attempts(**changes: Any) -> Attempts:
    """One failure a moment ago, to be tried again in a minute."""
    fine = Attempts(1, Reason.RATE_LIMITED, "Too many.", NOW, NOW + timedelta(minutes=1), 1, None)
    return replace(fine, **changes)
