"""The look of the operator at its domains: real signatures, a real resolver, and a server that is really dialled."""

import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from builders.contexts import a_context
from builders.domains import DOMAIN, facts, host, texts
from builders.stories import desired
from fakes.clock import WallClock
from fakes.domains import Dns
from functional.bind import free_port
from functional.operator_core import KEY, Core
from functional.pebble import running_pebble
from functional.signed_zones import Child, resolving
from mailservers.certificates import Authority, Served, Wanted
from mailservers.scripted import Script, serving
from mailtls.api.resource import resource_path
from mailtls.api.spec import Desired  # noqa: TC001 - as the others
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.context import Context
from mailtls.domains.execute import DomainChecking
from mailtls.domains.policy import CheckDomains
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.maildomain.facts import MailDomain, SpfFacts
from mailtls.maildomain.lookup.domains import DomainReader
from mailtls.net.resolver import ResolverSettings
from mailtls.probe.prober import Prober
from mailtls.probe.target import Port, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity

AUTHORITY = Authority()
OWN = '@ TXT "v=spf1 mx -all"\n_dmarc TXT "v=DMARC1; p=reject"\n_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@a.example"\n'


def issued(host: str) -> Served:
    """Make a certificate for a host."""
    return AUTHORITY.issue(Wanted(names=(host,), common_name=host))


def key_hash(certificate: Served) -> str:
    """The hash of its key, as `3 1 1` has it."""
    spki = certificate.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).hexdigest()


SERVED, RENEWED = issued("mx.ours.example"), issued("mx.ours.example")
TLSA = f"TLSA 3 1 1 {key_hash(SERVED)}\n_25._tcp.mx TLSA 3 1 1 {'ab' * 32}\n"
MAIL = "@ MX 10 mx\nmx A 192.0.2.1\n"
CHILDREN = {
    "ours.example": Child(f'{MAIL}{OWN}_25._tcp.mx {TLSA}s1._domainkey TXT "v=DKIM1; p="\n'),
    "theirs.example": Child(f"{MAIL}{OWN}_25._tcp.mx {TLSA}"),
    "bare.example": Child("@ MX 10 mx.ours.example.\n"),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DomainReader]:
    """Read through a validating resolver on loopback."""
    with resolving(tmp_path_factory.mktemp("dns"), CHILDREN) as (server, port):
        yield DomainReader(ResolverSettings((server,), overall=15, authoritative_port=port))


def look(reader: DomainReader, port: int, *domains: MailDomain) -> Context:
    """Look at the domains of a resource whose one pod listens at a port of loopback."""
    relay = Port(port, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    postfix = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.NONE, (Daemon("postfix", (relay,)),))
    pods = (PodState("postfix-0", "uid-0", ("127.0.0.1",), ready=True),)
    wants: Desired = desired(dns_names=("mx.ours.example",), workloads=(postfix,), domains=domains)
    watching = DomainChecking(reader, Prober(), WallClock())
    return watching.check(a_context(wants, workloads=(WorkloadState(postfix, pods=pods),)), CheckDomains())


def found(have: Context) -> dict[str, list[Finding]]:
    """The findings by domain."""
    return {report.name: list(report.findings) for report in have.domains.reports}


@pytest.mark.bind
def test_renewal_that_the_dns_does_not_know_fails_the_domain(reader: DomainReader, tmp_path: Path) -> None:
    """The same records are right for the old key and wrong for the new one; only our own hosts are compared."""
    ours, theirs = MailDomain("ours.example"), MailDomain("theirs.example")
    with serving(Script(SERVED), tmp_path) as port:
        assert found(look(reader, port, ours, theirs)) == {"ours.example": [], "theirs.example": []}
    with serving(Script(RENEWED), tmp_path) as port:
        after = found(look(reader, port, ours, theirs))
    assert [each.reason for each in after["ours.example"]] == [Reason.TLSA_MISMATCH]
    assert f"3 1 1 {key_hash(RENEWED)}" in after["ours.example"][0].message
    assert after["theirs.example"] == []


@pytest.mark.bind
def test_domain_without_records_for_senders_only_warns(reader: DomainReader, tmp_path: Path) -> None:
    """SPF, DMARC and DKIM never fail it; the MX host is another domain's."""
    with serving(Script(SERVED), tmp_path) as port:
        have = found(look(reader, port, MailDomain("bare.example"), MailDomain("ours.example", ("s1",))))
    bare = [Reason.TLS_REPORT_MISSING, Reason.SPF_MISSING, Reason.DMARC_MISSING]
    assert [each.reason for each in have["bare.example"]] == bare
    assert [each.reason for each in have["ours.example"]] == [Reason.DKIM_REVOKED]
    assert {each.severity for every in have.values() for each in every} == {Severity.WARN}


def test_dead_resolver_ends_all_domains_within_one_limit_of_time() -> None:
    """Forty domains wait no longer than one, and each says why nothing is known of it."""
    dead = DomainReader(ResolverSettings((f"127.0.0.1:{free_port()}",), timeout=1, overall=2))
    begun = time.monotonic()
    have = found(look(dead, free_port(), *(MailDomain(f"d{n}.example") for n in range(40))))
    assert time.monotonic() - begun < 75  # one after the other would take longer, on the fastest machine too
    assert len(have) == 40
    assert {every[0].reason for every in have.values()} == {Reason.DNS_LOOKUP_FAILED}


def test_operator_tells_of_domains_and_its_next_process_remembers() -> None:
    """Ready and the certificate do not care; Events come with a change only, and series outlive a restart."""
    dns = Dns([facts(host(), spf=SpfFacts(texts(DOMAIN)), sts_record=texts(DOMAIN, "v=STSv1; id=!;"))])
    with running_pebble() as pebble:
        core = Core(pebble, domains=dns)
        core.apply(domains=[{"name": DOMAIN}])
        core.run(lambda: core.condition("DomainHealthy").get("status") == "False")
        assert core.is_ready()
        assert core.condition("DomainHealthy")["reason"] == Reason.STS_RECORD_INVALID
        core.annotate("mailtls.dev/probe", "1")
        core.run(lambda: core.status().get("lastHandledProbe") == "1")
        assert core.events() == ["Issued", "StsRecordInvalid"]
        assert len(dns.asked) == 2

        dns.found = [facts(host())]
        core.restart()
        core.reporter.restore(core.cluster.objects[resource_path(KEY)])
        assert series(core) == {("StsRecordInvalid", "Fail"), ("StsFetchFailed", "Fail"), ("SpfMissing", "Warn")}
        core.run(lambda: core.condition("DomainHealthy")["status"] == "True")
        assert core.events() == ["Issued", "StsRecordInvalid", "DomainsHealthy"]
        assert series(core) == set()


def series(core: Core) -> set[tuple[str, str]]:
    """What Prometheus hears of findings."""
    families = [each for each in core.metrics.registry.collect() if each.name == "mailtls_domain_finding"]
    return {(each.labels["reason"], each.labels["severity"]) for family in families for each in family.samples}
