"""The probe against a real Dovecot on every protocol, with and without the PROXY protocol."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mailservers.certificates import DAY, HOST, Authority, Wanted
from mailservers.connections import counts
from mailservers.mailstore import Mailstore, mailstore, missing
from mailtls.probe.conversation import Limits
from mailtls.probe.facts import Phase
from mailtls.probe.prober import Prober
from mailtls.probe.target import Depth, Endpoint, Port, Protocol, ProxyProtocol, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from mailtls.reasons.software import Software

AUTHORITY = Authority()
STORED = AUTHORITY.issue()
OLDER = AUTHORITY.issue(Wanted(valid_from=-60 * DAY, valid_until=30 * DAY))
UNRELIABLE = "sieve-Implicit"
"""Dovecot 2.3 leaves one in fifty such connections without an answer, whoever asks; RFC 5804 knows STARTTLS only."""
NAMES = [
    *(
        f"{protocol}-{tls}-{proxy}"
        for protocol in ("imap", "pop3", "sieve")
        for tls in ("StartTLS", "Implicit")
        for proxy in ("None", "V1", "V2")
    ),
    "lmtp-StartTLS-None",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Mailstore]:
    """One Dovecot for all cases."""
    if why := missing():
        pytest.skip(why)
    with mailstore(STORED) as running:
        yield running


def probe(port: Port, patience: float = 30.0) -> Endpoint:
    """Probe one port; `patience` for each phase is shorter where silence is the answer."""
    target = Target("127.0.0.1", port, HOST, pod="dovecot-0", workload="StatefulSet/dovecot", software=Software.DOVECOT)
    prober = Prober(Limits(dialog=patience, handshake=patience, overall=3 * patience))
    return prober.probe([target], AUTHORITY.expects(STORED))[0]


def reason(endpoint: Endpoint) -> Reason | None:
    """The reason of a failed endpoint."""
    return endpoint.failure.reason if endpoint.failure else None


@pytest.mark.parametrize("name", NAMES)
def test_port_of_dovecot_proves_its_certificate(name: str, server: Mailstore) -> None:
    """On each protocol, in both TLS modes and by both PROXY versions, the stored certificate is seen."""
    tries = (probe(server.ports[name], 5.0 if name.startswith(UNRELIABLE) else 30.0) for _ in range(5))
    endpoint = next((each for each in tries if not each.findings or not name.startswith(UNRELIABLE)), None)
    assert endpoint is not None
    assert endpoint.findings == (), server.log()
    assert endpoint.served_sha256 == STORED.sha256


@pytest.mark.parametrize("protocol", ["imap", "pop3", "sieve"])
def test_capabilities_are_understood(protocol: str, server: Mailstore) -> None:
    """STARTTLS and logins are found in each protocol's own form, and STARTTLS is gone inside TLS."""
    target = Target("127.0.0.1", server.ports[f"{protocol}-StartTLS-None"], HOST, pod="dovecot-0")
    ((_, facts),) = Prober().examine([target], AUTHORITY.expects(STORED))
    before, inside = facts.reply(Phase.CAPABILITIES), facts.reply(Phase.CAPABILITIES_IN_TLS)
    assert before is not None
    assert inside is not None
    assert (before.keyword("STARTTLS"), inside.keyword("STARTTLS")) == ("", None)
    assert "PLAIN LOGIN" in (inside.keyword("AUTH") or "")
    assert (inside.logins or "").startswith("PLAIN LOGIN")


@pytest.mark.parametrize("protocol", ["imap", "pop3", "sieve"])
@pytest.mark.parametrize(
    ("tls", "said"),
    [
        (TlsMode.START_TLS, Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT),
        (TlsMode.IMPLICIT, Reason.IMPLICIT_TLS_ON_STARTTLS_PORT),
    ],
)
def test_wrong_kind_of_port_is_named(protocol: str, tls: TlsMode, said: Reason, server: Mailstore) -> None:
    """A port listed as the other kind leads to the words of its protocol."""
    other = next(mode for mode in TlsMode if mode is not tls)
    endpoint = probe(
        replace(server.ports[f"{protocol}-{tls}-None"], tls_mode=other, tls_policy=TlsPolicy.ENFORCED), 3.0
    )
    assert reason(endpoint) is said
    assert endpoint.failure is not None
    assert "inet_listener" in endpoint.failure.message


@pytest.mark.parametrize("protocol", ["imap", "pop3", "sieve"])
def test_port_behind_a_proxy_is_silent_to_strangers(protocol: str, server: Mailstore) -> None:
    """Without the header the port says nothing, and the message says that it is missing."""
    endpoint = probe(replace(server.ports[f"{protocol}-StartTLS-V2"], proxy_protocol=ProxyProtocol.NONE), 3.0)
    assert reason(endpoint) is Reason.PROXY_HEADER_MISSING
    assert endpoint.failure is not None
    assert "proxyProtocol" in endpoint.failure.message


COUNTED = [
    (f"{protocol}-{tls}-None", depth)
    for protocol in ("imap", "pop3", "sieve")
    for tls in ("StartTLS", "Implicit")
    for depth in Depth
    if f"{protocol}-{tls}" != UNRELIABLE
]


@pytest.fixture(scope="module")
def settled(server: Mailstore) -> None:
    """Let Dovecot say what it has to say of the connections before."""
    settled_log(server)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(("name", "depth"), COUNTED)
def test_probe_makes_as_many_connections_as_the_page_says(name: str, depth: Depth, server: Mailstore) -> None:
    """All end by LOGOUT or QUIT but for two refused handshakes; Dovecot itself cuts off who injects a command."""
    port, before = server.ports[name], len(ended(server))
    connections, lost = counts(depth, port.tls_mode, 0)
    target = Target("127.0.0.1", port, HOST, pod="dovecot-0", workload="StatefulSet/dovecot", software=Software.DOVECOT)
    (endpoint,) = Prober(Limits(dialog=30, handshake=30, overall=90, inspection=300, unsolicited=0.5)).probe(
        [target], AUTHORITY.expects(STORED), depth
    )
    assert endpoint.findings == ()
    deadline = time.monotonic() + 60
    while len(ended(server)) < before + connections and time.monotonic() < deadline:
        time.sleep(0.05)  # the log is another process's
    talks = ended(server)[before:]
    assert len(talks) == connections
    is_cut = depth is Depth.DEEP and port.tls_mode is TlsMode.START_TLS
    assert len([each for each in talks if "logging out" not in each]) == lost + is_cut, talks


def ended(server: Mailstore) -> list[str]:
    """How each connection ended, as Dovecot tells it."""
    return [line for line in server.log().splitlines() if "-login: Info: Disconnected" in line]


def test_logins_in_clear_text_are_warned_of(server: Mailstore) -> None:
    """From loopback Dovecot takes passwords in clear text, which an enforced port must not."""
    endpoint = probe(replace(server.ports["imap-StartTLS-None"], tls_policy=TlsPolicy.ENFORCED))
    (warned,) = endpoint.findings
    assert warned.reason is Reason.AUTH_OFFERED_BEFORE_TLS
    assert "auth_allow_cleartext" in warned.message


def test_another_protocol_is_told(server: Mailstore) -> None:
    """A port listed by the wrong protocol is named so."""
    endpoint = probe(replace(server.ports["imap-StartTLS-None"], protocol=Protocol.POP3))
    assert reason(endpoint) is Reason.PROTOCOL_ERROR
    assert endpoint.failure is not None
    assert "a POP3 server" in endpoint.failure.message


def settled_log(server: Mailstore) -> str:
    """Wait until Dovecot has written what there is to say; it tells of connections a moment after their end."""
    before, deadline = "", time.monotonic() + 60
    while (now := server.log()) != before and time.monotonic() < deadline:
        before = now
        time.sleep(0.5)
    return now


def test_probe_is_no_broken_login_in_the_log(server: Mailstore) -> None:
    """A mail log is read by people: a good probe is a client that leaves politely."""
    begin = len(settled_log(server))
    for name in ("imap-StartTLS-None", "pop3-Implicit-None", "sieve-StartTLS-None"):
        assert probe(server.ports[name]).failure is None
    lines = settled_log(server)[begin:].splitlines()
    assert not [line for line in lines if "Error" in line or "SSL_accept" in line or "Connection closed" in line]


def test_reload_brings_the_new_certificate(server: Mailstore) -> None:
    """After the preset's reload command the same port serves what is stored; the probe sees both sides of it."""
    port = server.ports["imap-Implicit-None"]
    try:
        server.install(OLDER)
        server.reload()
        before = probe(port)
    finally:
        server.install(STORED)
        server.reload()
    after = probe(port)
    assert (reason(before), reason(after)) == (Reason.SERVING_OLD_CERTIFICATE, None)
