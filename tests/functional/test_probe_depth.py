"""Full and deep probes against a real Postfix, well kept and in the ways that one conversation does not show."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fakes.clock import WallClock
from mailservers.certificates import HOST, Authority, Wish
from mailservers.postfix import Postfix, missing, postfix
from mailtls.lifecycle.probe import verdict
from mailtls.model.endpoint import Depth, Endpoint, Target
from mailtls.model.reason import Reason, Severity
from mailtls.model.spec import Port, TlsMode, TlsPolicy
from mailtls.world.prober import Limits, MailProber

AUTHORITY = Authority()
STORED, RSA = AUTHORITY.issue(), AUTHORITY.issue(Wish(rsa_bits=2048))
FAIL, WARN = Severity.FAIL, Severity.WARN
MODERN = ("smtpd_tls_protocols=>=TLSv1.2", "smtpd_tls_mandatory_protocols=>=TLSv1.2")  # the default is TLS 1.0
SMTPS = "smtpd_tls_wrappermode=yes"


@dataclass(frozen=True, slots=True)
class Case:
    """One smtpd: its certificates in one file, its options, and what is to be found."""

    pem: bytes = STORED.pem
    options: tuple[str, ...] = ()
    tls: TlsMode = TlsMode.START_TLS
    found: tuple[tuple[Reason, Severity], ...] = ()


CASES = {
    "good": Case(),
    "good-wrapper": Case(options=(SMTPS,), tls=TlsMode.IMPLICIT),
    "two-pairs": Case(STORED.pem + RSA.pem, found=((Reason.SECOND_CERTIFICATE_STALE, FAIL),)),
    "only-tls12": Case(options=("smtpd_tls_protocols=TLSv1.2",), found=((Reason.TLS13_UNSUPPORTED, WARN),)),
    "only-tls13": Case(options=("smtpd_tls_protocols=TLSv1.3",), found=((Reason.TLS12_UNSUPPORTED, FAIL),)),
    "old-tls": Case(options=("smtpd_tls_protocols=>=TLSv1",), found=((Reason.LEGACY_TLS_ENABLED, WARN),)),
    "no-encryption": Case(
        options=("smtpd_tls_ciphers=null", "tls_null_cipherlist=eNULL:aRSA:aECDSA:@SECLEVEL=0"),
        found=((Reason.WEAK_CRYPTO, WARN),),
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix for all cases."""
    if why := missing():
        pytest.skip(why)
    with postfix({name: (*MODERN, *case.options) for name, case in CASES.items()}) as running:
        for name, case in CASES.items():
            running.certificate(name, case.pem)
        yield running


def probe(server: Postfix, name: str) -> Endpoint:
    """Probe one service of the server as deep as can be."""
    port = Port(server.ports[name], CASES[name].tls, TlsPolicy.OPPORTUNISTIC)
    target = Target("postfix-0", "StatefulSet/postfix", "127.0.0.1", port, HOST)
    prober = MailProber(WallClock(), verdict, Limits(dialog=5, handshake=5, unasked=0.5))
    return prober.probe([target], AUTHORITY.expects(STORED), Depth.DEEP)[0]


@pytest.mark.parametrize("name", CASES)
def test_service_of_postfix_gets_its_findings(name: str, server: Postfix) -> None:
    """A well kept Postfix passes a deep probe, and each other one earns the one finding that tells it apart."""
    found = probe(server, name).findings
    assert tuple((each.reason, each.severity) for each in found) == CASES[name].found, (found, server.log())
