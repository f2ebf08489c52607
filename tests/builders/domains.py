"""Facts of a domain for tests of pure code: one host, and nothing wrong, unless a test says otherwise."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from mailservers.certificates import HOST, Authority, Served
from mailtls.domains.policy import served_at
from mailtls.maildomain.facts import DomainFacts, Mx, MxHost, ServedTls, SpfFacts, StsFetch, TlsaRecord
from mailtls.net.answer import Dnssec, Records
from mailtls.probe.facts import Facts, Fault, Phase, Session, Stop, Verification
from mailtls.probe.target import Port, Target, TlsMode, TlsPolicy

DOMAIN = "example.com"
AUTHORITY = Authority()
POLICY = "version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {age}\n"


def texts(name: str, *values: str, failure: str = "") -> Records[str]:
    """TXT records at a name."""
    return Records(name, "TXT", values, 60, failure=failure)


def nothing(name: str, kind: str) -> Records[str]:
    """An answer without records."""
    return Records(name, kind)


def tlsa(*records: TlsaRecord, dnssec: Dnssec = Dnssec.SECURE, ttl: int = 60, port: int = 25) -> Records[TlsaRecord]:
    """TLSA records of the host's port."""
    return Records(f"_{port}._tcp.{HOST}", "TLSA", records, ttl, dnssec)


def host(found: Records[TlsaRecord] | None = None, **changes: Any) -> MxHost:
    """The domain's host, with TLSA records at port 25."""
    answers = (Records(HOST, "A", ("192.0.2.1",), dnssec=Dnssec.SECURE), nothing(HOST, "AAAA"))
    own = MxHost(HOST, 10, ("192.0.2.1",), {25: found} if found else {}, answers=answers)
    return replace(own, **changes)


def facts(*hosts: MxHost, **changes: Any) -> DomainFacts:
    """A domain with a good SPF and DMARC record, whose mail goes to `hosts`."""
    named = tuple(Mx(each.preference, each.name) for each in hosts)
    own = DomainFacts(
        domain=DOMAIN,
        display_name=DOMAIN,
        mx_records=Records(DOMAIN, "MX", named, 60, Dnssec.SECURE),
        mx=hosts,
        has_null_mx=False,
        is_implicit_mx=False,
        sts_record=texts(f"_mta-sts.{DOMAIN}"),
        sts_policy=None,
        tlsrpt=texts(f"_smtp._tls.{DOMAIN}", "v=TLSRPTv1; rua=mailto:tls@example.com"),
        spf=SpfFacts(texts(DOMAIN, "v=spf1 mx -all"), 1),
        dmarc=(texts(f"_dmarc.{DOMAIN}", "v=DMARC1; p=reject"),),
    )
    return replace(own, **changes)


def with_policy(*hosts: MxHost, mode: str = "enforce", mx: str = HOST, age: int = 604_800) -> DomainFacts:
    """A domain with a good policy of MTA-STS."""
    body = POLICY.format(mode=mode, mx=mx, age=age).encode()
    record = texts(f"_mta-sts.{DOMAIN}", "v=STSv1; id=1;")
    return facts(*(hosts or (host(),)), sts_record=record, sts_policy=StsFetch(body=body))


def ders(served: Served) -> tuple[bytes, ...]:
    """The chain as a probe saw it."""
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in served.chain)


def seen(
    chain: Sequence[bytes] = (),
    *,
    name: str = HOST,
    code: int = 0,
    stop: Stop | None = None,
    port: int = 25,
    is_public: bool = True,
) -> ServedTls:
    """What a probe saw, a chain or where it stopped, as the checks are given it."""
    target = Target("192.0.2.1", Port(port, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC), name)
    verdict = Verification(code, 0, "certificate has expired" if code else "", is_public=is_public)
    session = Session(tuple(chain), "TLSv1.3", "TLS_AES_256_GCM_SHA384", verdict) if chain else None
    return served_at(target, Facts(stop=stop, session=session))


NO_STARTTLS = Stop(Phase.STARTTLS, Fault.NOT_OFFERED, "PIPELINING")
