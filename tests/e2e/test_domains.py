"""What a mail domain publishes, watched on a real cluster: it fails and recovers, and TLS does not care."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client.parser import text_string_to_metric_families

from e2e.events import expect_told
from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from e2e.operator_process import OperatorProcess
    from testbed.api import Object
    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster


def test_tlsa_record_of_another_key_fails_the_domain_and_leaves_ready_alone(
    installation: Installation, names: NameServer
) -> None:
    """Wrong, then mended and asked for by annotation, then wrong again by a renewal that nobody told the DNS of."""
    host, domain = installation.zone.host("mx"), installation.zone.name
    postfix = MailServer(installation.sandbox, host).deploy()
    publish(installation, names, postfix.service_address())
    names.set_record(installation.zone, f"_25._tcp.{host}", "TLSA", f"3 1 1 {'ab' * 32}")
    replica = installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}], domains=[{"name": domain}])
    bad = await_health(installation, "False", "TlsaMismatch")
    assert f"3 1 1 {key_hash(installation)}" in condition_of(bad, "DomainHealthy")["message"]  # type: ignore[index]
    expect_ready(installation)
    await_failing(installation, replica, domain)

    names.set_record(installation.zone, f"_25._tcp.{host}", "TLSA", f"3 1 1 {key_hash(installation)}")
    installation.sandbox.annotate(MAIL_SERVER_TLS, "mx", mailtls_dev__probe="1")
    good = await_health(installation, "True", "DomainsHealthy")
    assert "DnssecUnknown" in reasons(good, domain)
    expect_ready(installation)
    await_failing(installation, replica)

    installation.renew("now")
    installation.await_renewed("now")
    await_health(installation, "False", "TlsaMismatch")
    expect_ready(installation)
    news = [("Normal", "Issued"), ("Normal", "Ready")]
    expect_told(installation, *news * 2, *[("Warning", "TlsaMismatch")] * 2, ("Normal", "DomainsHealthy"))


def test_domain_that_publishes_little_warns_and_one_that_is_not_there_fails(
    installation: Installation, names: NameServer
) -> None:
    """No SPF and no DMARC record are warnings; a domain that is taken off the list is forgotten."""
    publish(installation, names, "192.0.2.1")
    domain, gone = installation.zone.name, f"gone.{installation.zone.name}"
    installation.start()
    installation.apply(domains=[{"name": domain}])
    seen = await_health(installation, "True", "DomainsHealthy")
    assert reasons(seen, domain) == ["SpfMissing", "DmarcMissing"]
    assert f"2 warnings: {domain}: " in condition_of(seen, "DomainHealthy")["message"]  # type: ignore[index]
    expect_ready(installation)

    installation.apply(domains=[{"name": domain}, {"name": gone.upper()}])
    assert reasons(await_health(installation, "False", "NoMailHost"), gone) == ["NoMailHost"]
    expect_ready(installation)

    installation.apply(domains=[])
    forgotten = installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", says_nothing_of_domains)
    assert forgotten is not None
    assert "domains" not in forgotten["status"]


def says_nothing_of_domains(seen: Object | None) -> bool:
    """Whether there is no condition of domains, in a status of the spec that names none."""
    ready = condition_of(seen, "Ready")
    if seen is None or ready is None or ready["observedGeneration"] != seen["metadata"]["generation"]:
        return False
    return condition_of(seen, "DomainHealthy") is None


def publish(installation: Installation, names: NameServer, address: str) -> None:
    """Lead the domain's mail to the host of the certificate."""
    host = installation.zone.host("mx")
    names.set_record(installation.zone, host, "A", address)
    names.set_record(installation.zone, installation.zone.name, "MX", f"10 {host}.")


def await_health(installation: Installation, status: str, reason: str) -> Object:
    """Wait for what the condition says of the domains."""
    return installation.sandbox.wait_for_condition(MAIL_SERVER_TLS, "mx", "DomainHealthy", status=status, reason=reason)


def expect_ready(installation: Installation) -> None:
    """The certificate and its proof are as good as ever."""
    seen = installation.await_ready()
    verified = condition_of(seen, "Verified")
    assert verified is not None
    assert verified["status"] == "True"


def reasons(seen: Object, domain: str) -> list[str]:
    """What the status says was found about a domain."""
    (report,) = [each for each in seen["status"]["domains"] if each["name"] == domain]
    return [finding["reason"] for finding in report["findings"]]


def key_hash(installation: Installation) -> str:
    """The hash of the key in the Secret, as a TLSA record 3 1 1 has it."""
    key = installation.leaf().public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def await_failing(installation: Installation, replica: OperatorProcess, *domains: str) -> None:
    """Wait until Prometheus hears of these alone, which may be a moment after the status says so."""
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda _: failing(replica) == [*domains])


def failing(replica: OperatorProcess) -> list[str]:
    """The domains that Prometheus hears fail."""
    with urlopen(f"http://127.0.0.1:{replica.environment['MAILTLS_METRICS_PORT']}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [each for family in families if family.name == "mailtls_domain_finding" for each in family.samples]
    return [each.labels["domain"] for each in samples if each.labels["severity"] == "Fail"]
