"""Domains in a real DNS with real signatures, a real validating resolver and a real web server for the policy."""

import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import mailtls.maildomain as library
from functional.signed_zones import Child, resolving
from mailservers.certificates import Authority, Served, Wanted
from mailservers.policy_server import page, serving
from mailtls.maildomain.checks.verdict import describe_domain, judge_domain
from mailtls.maildomain.facts import DomainFacts, Mx, ServedTls
from mailtls.maildomain.lookup.domains import DomainReader
from mailtls.maildomain.lookup.policy_fetch import PATH, PolicyFetcher
from mailtls.net.answer import Dnssec
from mailtls.net.resolver import ResolverSettings
from mailtls.reasons.reason import Finding, Reason, Severity

pytestmark = pytest.mark.bind

OWN = '@ TXT "v=spf1 mx -all"\n_dmarc TXT "v=DMARC1; p=reject"\n'
HOST = "mx1 A 192.0.2.1\nmx1 AAAA 2001:db8::1\n"
AUTHORITY = Authority()
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx1.{domain}\r\nmax_age: 604800\r\n"


def served(host: str) -> Served:
    """Make a certificate for a host."""
    return AUTHORITY.issue(Wanted(names=(host,), common_name=host))


GOOD = served("mx1.good.example")


def key_hash(certificate: Served) -> str:
    """The hash of its key, as `3 1 1` has it."""
    spki = certificate.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).hexdigest()


TLSA = f"_25._tcp.mx1 TLSA 3 1 1 {key_hash(GOOD)}\n_25._tcp.mx1 TLSA 3 1 1 {'ab' * 32}\n"
STS = (
    'mta-sts A 127.0.0.1\n_mta-sts TXT "v=STSv1; id=1;"\n_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@reports.example"\n'
)
CHILDREN = {
    "good.example": Child(f"@ MX 10 mx1\n{HOST}{OWN}{TLSA}{STS}"),
    "insecure.example": Child(f"@ MX 10 mx1\n{HOST}{OWN}{TLSA}", is_signed=False),
    "island.example": Child(f"@ MX 10 mx1\n{HOST}{OWN}{TLSA}", is_delegated=False),
    "bogus.example": Child(f"@ MX 10 mx1\n{HOST}{OWN}{TLSA}", has_foreign_ds=True),
    "bogus-hosts.example": Child("@ MX 10 mx1.bogus.example.\n" + OWN),
    "torn.example": Child(f"@ MX 10 mx1\n{HOST}{OWN}{TLSA}", second=f"@ MX 10 mx1\n{HOST}{OWN}"),
    "null.example": Child('@ MX 0 .\n@ TXT "v=spf1 -all"\n_dmarc TXT "v=DMARC1; p=reject"\n'),
    "null-and-more.example": Child(f"@ MX 0 .\n@ MX 10 mx1\n{HOST}{OWN}"),
    "implicit.example": Child(f"@ A 192.0.2.1\n{OWN}"),
    "odd.example": Child(
        f"@ MX 10 192.0.2.1.\n@ MX 20 alias\nalias CNAME mx1\n@ MX 30 gone\n@ MX 40 mx1\n@ MX 50 mx1\n{HOST}{OWN}"
        f"_25._tcp.mx1 7200 CNAME keys\nkeys 60 TLSA 3 1 1 {key_hash(GOOD)}\n"
    ),
    "spf.example": Child(
        '@ MX 10 mx1\nmx1 A 192.0.2.1\n@ TXT "v=spf1 include:a.spf.example include:b.spf.example mx -all"\n'
        'a TXT "v=spf1 a:x1.spf.example a:x2.spf.example a:x3.spf.example a:mx1.spf.example ?all"\n'
        'b TXT "v=spf1 mx exists:%{i}.spf.example a:mx1.spf.example redirect=c.spf.example"\n'
        'c TXT "v=spf1 ptr include:nothing.spf.example include:spf.example -all"\n'
        'old._domainkey TXT "v=DKIM1; p="\n'
    ),
    "parent.example": Child('@ MX 10 mx1\nmx1 A 192.0.2.1\n@ TXT "v=spf1 -all"\n_dmarc TXT "v=DMARC1; p=none"\n'),
    "xn--bcher-kva.example": Child(f"@ MX 10 mx1\n{HOST}{OWN}"),
    "named.example": Child(f"@ MX 10 mx1\nmx1 A 8.8.4.1\nmx1 AAAA 2606:4700::1\n{OWN}"),
    "bare.example": Child(f"@ MX 10 mx1\nmx1 A 8.8.4.2\nmx1 A 8.8.4.3\nmx1 A 8.8.4.1\n{OWN}"),
    "4.8.8.in-addr.arpa": Child("1 PTR mx1.named.example.\n2 PTR host2.provider.example.\n", is_signed=False),
    "0.0.7.4.6.0.6.2.ip6.arpa": Child(f"1.{'0.' * 22}0 PTR mx1.named.example.\n", is_signed=False),
}


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Serve all the zones, for all tests."""
    with resolving(tmp_path_factory.mktemp("dns"), CHILDREN) as resolver:
        yield resolver


@pytest.fixture
def reader(internet: tuple[str, int]) -> DomainReader:
    """Read through the validating resolver on loopback."""
    server, port = internet
    return DomainReader(ResolverSettings((server,), timeout=10, authoritative_port=port))


def reasons(facts: DomainFacts, *seen: ServedTls) -> list[str]:
    """Judge, and return the reasons alone."""
    return [str(finding.reason) for finding in judge_domain(facts, seen)]


def only(facts: DomainFacts, reason: Reason) -> Finding:
    """Return the one finding with a reason."""
    (found,) = [finding for finding in judge_domain(facts) if finding.reason is reason]
    return found


def probed(host: str, certificate: Served) -> ServedTls:
    """Make what was seen at port 25 of a host."""
    chain = tuple(each.public_bytes(Encoding.DER) for each in certificate.chain)
    return ServedTls(host, 25, chain)


def test_address_without_a_name_that_leads_back_warns(reader: DomainReader) -> None:
    """IPv4 and IPv6 are looked up both ways; any name will do that has the address."""
    assert reasons(reader.read("named.example")) == []
    found = only(reader.read("bare.example"), Reason.REVERSE_DNS_MISSING)
    assert found.severity is Severity.WARN
    assert "The address 8.8.4.2, 8.8.4.3 of mx1.bare.example has only host2.provider.example" in found.message


def test_good_domain_has_no_finding(internet: tuple[str, int]) -> None:
    """Signed records for the served key and the next one, a policy, reports, SPF and DMARC: nothing to say."""
    server, port = internet
    web = served("mta-sts.good.example")
    with serving(web, {PATH: page(POLICY.format(domain="good.example"))}) as https:
        fetcher = PolicyFetcher(AUTHORITY.roots_pem, https)
        settings = ResolverSettings((server,), timeout=10, authoritative_port=port)
        facts = DomainReader(settings, fetcher).read("Good.Example.")
    (host,) = facts.mx
    assert (facts.domain, host.name, host.addresses) == (
        "good.example",
        "mx1.good.example",
        ("192.0.2.1", "2001:db8::1"),
    )
    assert host.tlsa[25].dnssec is Dnssec.SECURE
    assert [len(answer.values) for answer in host.authoritative[25]] == [2]
    assert judge_domain(facts, [probed("mx1.good.example", GOOD)]) == ()
    assert ("MTA-STS", "mode enforce for mx1.good.example, max_age 604800") in describe_domain(facts)


def test_renewal_with_an_unpublished_key_is_a_mismatch(reader: DomainReader) -> None:
    """The known failure: the key was renewed, the DNS was not."""
    other = served("mx1.good.example")
    (found,) = [
        each
        for each in judge_domain(reader.read("good.example"), [probed("mx1.good.example", other)])
        if each.reason is Reason.TLSA_MISMATCH
    ]
    assert found.severity is Severity.FAIL
    assert f"3 1 1 {key_hash(other)}" in found.message


@pytest.mark.parametrize("domain", ["insecure.example", "island.example"])
def test_unsigned_or_undelegated_zone_is_insecure(reader: DomainReader, domain: str) -> None:
    """Without signatures, or without a DS record at the parent, the resolver sets no AD."""
    facts = reader.read(domain)
    assert facts.mx[0].tlsa[25].dnssec is Dnssec.INSECURE
    assert only(facts, Reason.TLSA_INSECURE).severity is Severity.WARN


def test_bogus_domain_fails_its_lookups(reader: DomainReader) -> None:
    """A DS record for another key: SERVFAIL with checks, an answer without."""
    facts = reader.read("bogus.example")
    assert facts.mx_records.dnssec is Dnssec.BOGUS
    assert only(facts, Reason.DNS_LOOKUP_FAILED).severity is Severity.FAIL
    assert Reason.NO_MAIL_HOST not in reasons(facts)


def test_bogus_host_fails_although_the_domain_is_signed(reader: DomainReader) -> None:
    """The hosts' own zone counts as well."""
    facts = reader.read("bogus-hosts.example")
    assert facts.mx_records.dnssec is Dnssec.SECURE
    assert "DNSSEC is not checked" in only(facts, Reason.DNS_LOOKUP_FAILED).message


def test_distrusted_resolver_leaves_dnssec_unknown(internet: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """AD from a resolver across a network proves nothing."""
    monkeypatch.setattr("mailtls.net.resolver._is_loopback", lambda _: False)
    server, port = internet
    far = DomainReader(ResolverSettings((server,), authoritative_port=port)).read("good.example")
    named = DomainReader(ResolverSettings((server,), trusts_ad=True, authoritative_port=port)).read("good.example")
    assert far.mx[0].tlsa[25].dnssec is Dnssec.UNKNOWN
    assert named.mx[0].tlsa[25].dnssec is Dnssec.SECURE
    assert Reason.DNSSEC_UNKNOWN in reasons(far)


def test_resolver_that_does_not_validate_leaves_dnssec_unknown(internet: tuple[str, int]) -> None:
    """An authoritative server sets no AD, and not for its root either: that is no word on signatures."""
    _, port = internet
    facts = DomainReader(ResolverSettings((f"127.0.0.1:{port}",), authoritative_port=port)).read("good.example")
    assert facts.mx[0].tlsa[25].dnssec is Dnssec.UNKNOWN


def test_nameservers_with_different_records_disagree(reader: DomainReader) -> None:
    """The secondary kept an old zone."""
    facts = reader.read("torn.example")
    found = only(facts, Reason.NAMESERVERS_DISAGREE)
    assert "ns2.nowhere.invalid (::1): none" in found.evidence


def test_null_mx_alone_is_fine(reader: DomainReader) -> None:
    """A domain that takes no mail and says so."""
    facts = reader.read("null.example")
    assert facts.has_null_mx
    assert facts.mx == ()
    assert judge_domain(facts) == ()
    assert ("MX", "takes no mail, and says so (MX 0 .)") in describe_domain(facts)


def test_null_mx_beside_others_fails(reader: DomainReader) -> None:
    """RFC 7505 section 3."""
    assert reasons(reader.read("null-and-more.example")) == [Reason.NULL_MX_NOT_ALONE]


def test_domain_without_mx_uses_its_address(reader: DomainReader) -> None:
    """RFC 5321 section 5.1."""
    facts = reader.read("implicit.example")
    assert facts.is_implicit_mx
    assert [(host.name, host.addresses) for host in facts.mx] == [("implicit.example", ("192.0.2.1",))]
    assert reasons(facts) == [Reason.MX_IMPLICIT]


def test_domain_that_does_not_exist_has_one_finding(reader: DomainReader) -> None:
    """No mail host is all there is to say."""
    assert reasons(reader.read("nowhere.example")) == [Reason.NO_MAIL_HOST]


def test_odd_mx_records_are_named(reader: DomainReader) -> None:
    """An address, an alias, a host without address and a host twice; the TTL is the alias's, as it is longer."""
    facts = reader.read("odd.example")
    assert Mx(50, "mx1.odd.example") in facts.mx_records.values
    assert [host.name for host in facts.mx] == ["192.0.2.1", "alias.odd.example", "gone.odd.example", "mx1.odd.example"]
    named = reasons(facts)
    assert {
        Reason.MX_IS_ADDRESS,
        Reason.MX_IS_ALIAS,
        Reason.MX_WITHOUT_ADDRESS,
        Reason.MX_DUPLICATE,
        Reason.TLSA_TTL_TOO_LONG,
        Reason.TLSA_NO_NEXT,
    } <= set(named)
    tlsa = facts.mx[1].tlsa[25]
    assert (tlsa.name, tlsa.alias) == ("_25._tcp.mx1.odd.example", "keys.odd.example")


def test_spf_is_followed_through_includes(reader: DomainReader) -> None:
    """Lookups are counted through includes and redirects, in vain ones too, and circles end."""
    spf = reader.read("spf.example").spf
    # include a (4 a), include b (mx, exists, a, redirect c (ptr, include, include)), mx
    assert spf.lookups == 14
    assert spf.voids == 5
    assert any("nothing.spf.example" in fault for fault in spf.faults)
    assert any("in a circle" in fault for fault in spf.faults)


def test_costly_spf_and_revoked_key_are_named(reader: DomainReader) -> None:
    """What receivers make of that, and of selectors that were asked for."""
    named = reasons(reader.read("spf.example", dkim_selectors=("old", "missing._domainkey")))
    assert {
        Reason.SPF_TOO_MANY_LOOKUPS,
        Reason.SPF_VOID_LOOKUPS,
        Reason.SPF_INVALID,
        Reason.DMARC_MISSING,
        Reason.DKIM_REVOKED,
        Reason.DKIM_MISSING,
    } == set(named)


def test_subdomain_inherits_its_parents_dmarc(reader: DomainReader) -> None:
    """The walk goes up the tree (RFC 9989 section 4.10)."""
    facts = reader.read("mail.parent.example")
    assert [answer.name for answer in facts.dmarc][:2] == ["_dmarc.mail.parent.example", "_dmarc.parent.example"]
    assert ("DMARC", "policy none, from _dmarc.parent.example") in describe_domain(facts)


def test_name_in_another_script_is_read(reader: DomainReader) -> None:
    """What is shown is what was typed."""
    facts = reader.read("BÜCHER.example")
    assert (facts.domain, facts.display_name) == ("xn--bcher-kva.example", "bücher.example")
    assert judge_domain(facts) == ()


def test_addresses_of_a_host_are_read(reader: DomainReader) -> None:
    """IPv4 first."""
    assert reader.addresses("mx1.good.example") == ("192.0.2.1", "2001:db8::1")


def test_example_of_the_library_runs_as_it_is_printed(internet: tuple[str, int]) -> None:
    """The ten lines of its documentation, for a domain with faults, in a process of their own."""
    server, _ = internet
    code = dedent(str(library.__doc__).partition("::\n\n")[2].partition("\n\n`read`")[0])
    for theirs, ours in (("127.0.0.1", server), ("example.com", "spf.example"), ("mail2026", "old")):
        assert theirs in code
        code = code.replace(theirs, ours)
    environment = {"PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert len(code.splitlines()) <= 10
    assert "MX: 10 mx1.spf.example (192.0.2.1)" in run.stdout
    assert "DKIM: old: v=DKIM1; p=" in run.stdout
    assert "Warn SpfTooManyLookups: The SPF record of spf.example" in run.stdout
    assert "Warn DkimRevoked: The DKIM key at old._domainkey.spf.example is revoked" in run.stdout


def test_policy_server_with_an_expired_certificate_is_named(internet: tuple[str, int], tmp_path: Path) -> None:
    """What a user meets: the certificate of the web server was forgotten."""
    del tmp_path
    server, port = internet
    wanted = Wanted(
        names=("mta-sts.good.example",), valid_from=Wanted().valid_from * 9, valid_until=Wanted().valid_from
    )
    with serving(AUTHORITY.issue(wanted), {PATH: page(POLICY.format(domain="good.example"))}) as https:
        fetcher = PolicyFetcher(AUTHORITY.roots_pem, https)
        facts = DomainReader(ResolverSettings((server,), authoritative_port=port), fetcher).read("good.example")
    assert "expired" in only(facts, Reason.STS_WEB_PKI_INVALID).message
