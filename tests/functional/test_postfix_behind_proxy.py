"""The probe against a real Postfix that expects the PROXY protocol, or takes another address by XCLIENT."""

import time
from collections.abc import Iterator

import pytest

from mailservers.certificates import HOST, Authority
from mailservers.postfix import Postfix, missing, postfix
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Endpoint, Port, Protocol, ProxyProtocol, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason

AUTHORITY = Authority()
STORED = AUTHORITY.issue()
TRUSTING = "smtpd_authorized_xclient_hosts=127.0.0.0/8"
REJECTING = "smtpd_client_restrictions=check_client_access inline:{{192.0.2.7=reject}}"
SERVICES = {
    "proxied": ("smtpd_upstream_proxy_protocol=haproxy", "smtpd_upstream_proxy_timeout=3s"),
    "xclient": (TRUSTING,),
    "xclient-wrapper": (TRUSTING, "smtpd_tls_wrappermode=yes"),
    "xclient-rejects": (TRUSTING, REJECTING, "smtpd_delay_reject=no"),
    "distrusts": (),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix for all cases."""
    if why := missing():
        pytest.skip(why)
    with postfix(SERVICES) as running:
        for name in SERVICES:
            running.certificate(name, STORED.pem)
        yield running


def probe(
    server: Postfix,
    name: str,
    proxy: ProxyProtocol = ProxyProtocol.NONE,
    claimed: str | None = None,
    tls: TlsMode = TlsMode.START_TLS,
    patience: float = 30.0,
) -> Endpoint:
    """Probe one service, by PROXY or with a claimed address."""
    port = Port(server.ports[name], tls, TlsPolicy.ENFORCED, Protocol.SMTP, proxy, claimed)
    target = Target("127.0.0.1", port, HOST, pod="postfix-0", workload="StatefulSet/postfix")
    prober = Prober(Limits(dialog=patience, handshake=patience, overall=3 * patience))
    return prober.probe([target], AUTHORITY.expects(STORED))[0]


def reason(endpoint: Endpoint) -> Reason | None:
    """The reason of a failed endpoint."""
    return endpoint.failure.reason if endpoint.failure else None


@pytest.mark.parametrize("version", [ProxyProtocol.V1, ProxyProtocol.V2])
def test_header_opens_a_port_behind_a_proxy(version: ProxyProtocol, server: Postfix) -> None:
    """Postfix takes both versions and serves what is stored."""
    endpoint = probe(server, "proxied", version)
    assert endpoint.findings == (), server.log()
    assert endpoint.served_sha256 == STORED.sha256


def test_port_without_its_header_stays_silent(server: Postfix) -> None:
    """The message says that the header is what is missing."""
    endpoint = probe(server, "proxied", patience=3.0)
    assert reason(endpoint) is Reason.PROXY_HEADER_MISSING
    assert endpoint.failure is not None
    assert "proxyProtocol" in endpoint.failure.message


@pytest.mark.parametrize("claimed", ["192.0.2.9", "2001:db8::9"])
@pytest.mark.parametrize(
    ("name", "tls"), [("xclient", TlsMode.START_TLS), ("xclient-wrapper", TlsMode.IMPLICIT)], ids=["clear", "tls"]
)
def test_claimed_address_is_taken(name: str, tls: TlsMode, claimed: str, server: Postfix) -> None:
    """Postfix logs the claimed address as the client's, and the certificate is proven all the same."""
    endpoint = probe(server, name, claimed=claimed, tls=tls)
    assert endpoint.findings == (), server.log()
    assert _is_logged(server, f"disconnect from unknown[{claimed}]"), server.log()


def _is_logged(server: Postfix, words: str) -> bool:
    """Wait for a line of the log, which is written a little later than the answer is sent."""
    deadline = time.monotonic() + 60
    while words not in server.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    return words in server.log()


def test_refused_address_is_told(server: Postfix) -> None:
    """Where the access rules turn the claimed client away, the probe shows it."""
    endpoint = probe(server, "xclient-rejects", claimed="192.0.2.7")
    assert reason(endpoint) is Reason.XCLIENT_REFUSED
    assert endpoint.failure is not None
    assert "554" in endpoint.failure.message
    assert probe(server, "xclient-rejects", claimed="192.0.2.8").findings == ()


def test_server_that_does_not_list_xclient_is_named(server: Postfix) -> None:
    """XCLIENT is sent only where the server lists it."""
    endpoint = probe(server, "distrusts", claimed="192.0.2.9")
    assert reason(endpoint) is Reason.XCLIENT_REFUSED
    assert endpoint.failure is not None
    assert "smtpd_authorized_xclient_hosts" in endpoint.failure.message
