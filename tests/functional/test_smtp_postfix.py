"""The probe against a real Postfix, configured well and in the ways that go wrong in practice."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fakes.clock import WallClock
from mailservers.certificates import DAY, HOST, Authority, Served, Wish
from mailservers.postfix import Postfix, missing, postfix
from mailtls.lifecycle.probe import verdict
from mailtls.model.endpoint import Endpoint, Target
from mailtls.model.reason import Reason
from mailtls.model.spec import Port, TlsMode, TlsPolicy
from mailtls.world.prober import Limits, MailProber

AUTHORITY = Authority()
STORED = AUTHORITY.issue()
OLDER = AUTHORITY.issue(Wish(valid_from=-60 * DAY, valid_until=30 * DAY))
EXPIRED = AUTHORITY.issue(Wish(valid_from=-91 * DAY, valid_until=-1 * DAY))
FOREIGN = AUTHORITY.issue(Wish(names=("other.example.net",), self_signed=True))
WRONG_KEY = Served(STORED.chain, OLDER.key)
WRAPPER = "smtpd_tls_wrappermode=yes"


@dataclass(frozen=True, slots=True)
class Case:
    """One smtpd: its certificate, its options, how it is dialled, and the reason expected."""

    served: Served = STORED
    options: tuple[str, ...] = ()
    tls: TlsMode = TlsMode.START_TLS
    reason: Reason | None = None
    says: str = ""


IMPLICIT = TlsMode.IMPLICIT
CASES = {
    "good": Case(),
    "good-wrapper": Case(options=(WRAPPER,), tls=IMPLICIT),
    "tls12": Case(options=("smtpd_tls_protocols=TLSv1.2",)),
    "enforced": Case(options=("smtpd_tls_security_level=encrypt",)),
    "reloaded": Case(OLDER, reason=Reason.SERVING_OLD_CERTIFICATE, says="reload"),
    "tls-off": Case(
        options=("smtpd_tls_security_level=none",), reason=Reason.STARTTLS_NOT_ADVERTISED, says="PIPELINING"
    ),
    "wrong-key": Case(WRONG_KEY, reason=Reason.STARTTLS_UNAVAILABLE, says="454 4.7.0"),
    "missing-file": Case(
        options=("smtpd_tls_chain_files={pem}.gone",), reason=Reason.TLS_HANDSHAKE_FAILED, says="key file"
    ),
    "wrong-key-wrapper": Case(WRONG_KEY, (WRAPPER,), IMPLICIT, Reason.TLS_HANDSHAKE_FAILED, "key file"),
    "wrapper-on-587": Case(options=(WRAPPER,), reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT, says="wrappermode"),
    "no-wrapper-on-465": Case(tls=IMPLICIT, reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, says=f"220 {HOST}"),
    "foreign": Case(FOREIGN, reason=Reason.UNEXPECTED_CERTIFICATE, says="Secret"),
    "leaf-alone": Case(STORED.without_intermediate(), reason=Reason.INCOMPLETE_CHAIN, says="tls.crt"),
    "expired": Case(EXPIRED, reason=Reason.SERVING_OLD_CERTIFICATE),
    "client-certificate": Case(
        options=("smtpd_tls_security_level=encrypt", "smtpd_tls_req_ccert=yes"),
        reason=Reason.EHLO_AFTER_TLS_FAILED,
        says="req_ccert",
    ),
    "rejects": Case(
        options=("smtpd_client_restrictions=reject", "smtpd_delay_reject=no"), reason=Reason.PROBE_REJECTED, says="554"
    ),
    "hides-starttls": Case(
        options=("smtpd_discard_ehlo_keywords=starttls",), reason=Reason.STARTTLS_NOT_ADVERTISED, says="STARTTLS"
    ),
    "too-old": Case(options=("smtpd_tls_protocols=TLSv1.1",), reason=Reason.NO_SHARED_TLS_VERSION, says=">=TLSv1.2"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix for all cases."""
    if why := missing():
        pytest.skip(why)
    with postfix({name: case.options for name, case in CASES.items()}) as running:
        for name, case in CASES.items():
            running.certificate(name, case.served.pem)
        yield running


def probe(server: Postfix, name: str) -> Endpoint:
    """Probe one service of the server."""
    port = Port(server.ports[name], CASES[name].tls, TlsPolicy.OPPORTUNISTIC)
    target = Target("postfix-0", "StatefulSet/postfix", "127.0.0.1", port, HOST)
    prober = MailProber(WallClock(), verdict, Limits(dialog=3, handshake=3, overall=8))
    return prober.probe([target], AUTHORITY.expects(STORED))[0]


@pytest.mark.parametrize("name", CASES)
def test_service_of_postfix_gets_its_reason(name: str, server: Postfix) -> None:
    """Each configuration earns the one reason that leads to its mending."""
    failure = probe(server, name).failure
    assert (failure.reason if failure else None) == CASES[name].reason, (failure, server.log())
    assert failure is None or CASES[name].says in failure.message


def test_reload_brings_the_new_certificate(server: Postfix) -> None:
    """After a reload the same service serves what is stored; the probe sees both sides of it."""
    server.certificate("reloaded", OLDER.pem)
    server.reload()
    before = probe(server, "reloaded")
    server.certificate("reloaded", STORED.pem)
    server.reload()
    after = probe(server, "reloaded")
    assert (before.served_sha256, after.served_sha256) == (OLDER.sha256, STORED.sha256)
    assert after.findings == ()


def test_good_probe_leaves_no_complaint_in_the_log(server: Postfix) -> None:
    """A mail log is read by people: probes must not fill it with lost connections."""
    for name in ("good", "good-wrapper", "tls-off"):
        probe(server, name)
    lines = [line for line in server.log().splitlines() if line.split()[4].startswith(("good", "tls-off"))]
    assert lines
    assert not [line for line in lines if any(word in line for word in ("lost connection", "error", "warning"))]
