"""Full and deep probes against servers with real OpenSSL, each broken in a way that one conversation does not show."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from OpenSSL import SSL

from mailservers.certificates import DAY, HOST, Authority, Served, Wanted
from mailservers.scripted import Act, Script, serving
from mailservers.smtp_tls import Mailbox, mailbox, tls_context
from mailtls.probe.conversation import Limits
from mailtls.probe.facts import Facts, LoginOutcome, Question
from mailtls.probe.prober import Prober
from mailtls.probe.target import Credentials, Depth, Endpoint, Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity

AUTHORITY = Authority()
GOOD, RSA = AUTHORITY.issue(), AUTHORITY.issue(Wanted(rsa_bits=2048))
EXPIRED_RSA = AUTHORITY.issue(Wanted(rsa_bits=2048, valid_from=-90 * DAY, valid_until=-1 * DAY))
LIMITS = Limits(unsolicited=0.3)
WHOM = Credentials("probe@example.com", "correct horse")


def examine(
    port: int,
    depth: Depth = Depth.FULL,
    expected: Expected | None = None,
    policy: TlsPolicy = TlsPolicy.ENFORCED,
    limits: Limits = LIMITS,
) -> tuple[Endpoint, Facts]:
    """Probe a port of this machine, where the good certificate is the stored one unless told otherwise."""
    target = Target(
        "127.0.0.1", Port(port, TlsMode.START_TLS, policy), HOST, pod="postfix-0", workload="StatefulSet/postfix"
    )
    prober = Prober(limits)
    return prober.examine([target], expected or AUTHORITY.expects(GOOD), depth)[0]


def findings(behaviour: Mailbox, depth: Depth = Depth.FULL, expected: Expected | None = None) -> tuple[Finding, ...]:
    """Probe a server of this behaviour."""
    with mailbox(behaviour) as port:
        return examine(port, depth, expected)[0].findings


def reasons(found: tuple[Finding, ...]) -> list[tuple[Reason, Severity]]:
    """What was found, without the words."""
    return [(each.reason, each.severity) for each in found]


def refusing_sni(context: ssl.SSLContext, *, names: tuple[str | None, ...]) -> ssl.SSLContext:
    """Let the server refuse clients that send any of `names`."""

    def decide(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if name in names else None

    context.sni_callback = decide
    return context


def versions(context: ssl.SSLContext, oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> ssl.SSLContext:
    """Bound the TLS versions of a server."""
    context.minimum_version, context.maximum_version = oldest, newest
    return context


def breaking_resumption(directory: Path, served: Served, version: int) -> SSL.Context:
    """A server that asks for client certificates but names no context for its sessions: OpenSSL refuses to resume."""
    key, chain = directory / "key.pem", directory / "chain.pem"
    key.write_bytes(served.key_pem)
    chain.write_bytes(served.chain_pem)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_privatekey_file(str(key))
    context.use_certificate_chain_file(str(chain))
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.set_max_proto_version(version)
    return context


def test_good_server_passes_a_deep_probe_without_a_finding(tmp_path: Path) -> None:
    """A server of today's OpenSSL with one certificate has nothing to hide, and every question is answered."""
    with mailbox(Mailbox(tls_context(tmp_path, GOOD))) as port:
        endpoint, facts = examine(port, Depth.DEEP)
    assert endpoint.findings == ()
    assert facts.inspection is not None
    assert set(facts.inspection.answers) == set(Question)
    assert (facts.inspection.injected, facts.inspection.weak_ciphers) == ("", ())


def test_quick_probe_asks_nothing_more(tmp_path: Path) -> None:
    """A quick probe is one connection, whatever a server would show to more of them."""
    behaviour = Mailbox(versions(tls_context(tmp_path, GOOD), ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2))
    with mailbox(behaviour) as port:
        endpoint, facts = examine(port, Depth.QUICK)
    assert (endpoint.findings, facts.inspection) == ((), None)
    assert len([line for line in behaviour.heard if line.startswith(b"EHLO")]) == 1


@pytest.mark.parametrize("names", [(None,), ("unknown.invalid",), (None, "unknown.invalid")])
def test_server_that_needs_sni_fails(names: tuple[str | None, ...], tmp_path: Path) -> None:
    """Refusing clients without SNI, or with another name, is named with the alert that was sent."""
    found = findings(Mailbox(refusing_sni(tls_context(tmp_path, GOOD), names=names)))
    assert reasons(found) == [(Reason.SNI_REQUIRED, Severity.FAIL)]
    assert "unrecognized name" in found[0].evidence


def test_other_certificate_for_unknown_names_is_fine(tmp_path: Path) -> None:
    """Falling back to a default certificate is what RFC 7672 section 8.1 asks for."""
    context, other = tls_context(tmp_path, RSA), tls_context(tmp_path, GOOD)

    def choose(secured: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name == HOST:
            secured.context = other

    context.sni_callback = choose
    assert findings(Mailbox(context)) == ()


def test_second_certificate_that_is_not_the_stored_one_fails(tmp_path: Path) -> None:
    """With ECDSA renewed and RSA left behind, the clients that ask for RSA see the old one."""
    found = findings(Mailbox(tls_context(tmp_path, GOOD, RSA)))
    assert reasons(found) == [(Reason.SECOND_CERTIFICATE_STALE, Severity.FAIL)]
    assert RSA.sha256 in found[0].evidence


@pytest.mark.parametrize(
    ("second", "named"), [(None, None), (RSA, RSA.sha256), (EXPIRED_RSA, None)], ids=["none", "fine", "expired"]
)
def test_second_certificate_is_named_only_where_clients_accept_it(
    second: Served | None, named: str | None, tmp_path: Path
) -> None:
    """Whether another resource keeps it is for others to say; one that has expired is wrong whoever keeps it."""
    pairs = [GOOD] if second is None else [GOOD, second]
    with mailbox(Mailbox(tls_context(tmp_path, *pairs))) as port:
        assert examine(port)[0].second_sha256 == named


def test_expired_second_certificate_fails_even_where_nothing_is_stored(tmp_path: Path) -> None:
    """Without a stored certificate the second one is measured by what clients accept."""
    anything = Expected(None, AUTHORITY.roots_pem)
    found = findings(Mailbox(tls_context(tmp_path, GOOD, EXPIRED_RSA)), expected=anything)
    assert reasons(found) == [(Reason.SECOND_CERTIFICATE_STALE, Severity.FAIL)]
    assert found[0].tlsrpt == "certificate-expired"
    assert "expired" in found[0].message
    assert findings(Mailbox(tls_context(tmp_path, GOOD, RSA)), expected=anything) == ()


@pytest.mark.parametrize(
    ("oldest", "newest", "expected"),
    [
        (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3, [(Reason.TLS12_UNSUPPORTED, Severity.FAIL)]),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, [(Reason.TLS13_UNSUPPORTED, Severity.WARN)]),
        (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_3, [(Reason.LEGACY_TLS_ENABLED, Severity.WARN)]),
        (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3, [(Reason.LEGACY_TLS_ENABLED, Severity.WARN)]),
    ],
)
def test_versions_of_tls_are_judged(
    oldest: ssl.TLSVersion, newest: ssl.TLSVersion, expected: list[tuple[Reason, Severity]], tmp_path: Path
) -> None:
    """TLS 1.2 must be there, 1.3 should be, and what is older should not."""
    assert reasons(findings(Mailbox(versions(tls_context(tmp_path, GOOD), oldest, newest)))) == expected


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_resumption_that_breaks_is_named(version: int, tmp_path: Path) -> None:
    """A server that gives tickets out and cuts off who comes back with one costs users every second connection."""
    found = findings(Mailbox(breaking_resumption(tmp_path, GOOD, version)))
    broken = [each for each in found if each.reason is Reason.RESUMPTION_FAILED]
    assert [each.severity for each in broken] == [Severity.WARN]
    assert "TLS 1.2: " in broken[0].evidence
    assert ("TLS 1.3: " in broken[0].evidence) == (version == SSL.TLS1_3_VERSION)


def test_ignored_tickets_are_fine(tmp_path: Path) -> None:
    """A server need not resume: a new session instead is all right."""
    context = tls_context(tmp_path, GOOD)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    assert findings(Mailbox(context)) == ()


def test_cipher_without_encryption_is_named(tmp_path: Path) -> None:
    """OpenSSL's NULL ciphers are taken when nothing better is offered, and a hand-made ClientHello finds that out."""
    found = findings(Mailbox(tls_context(tmp_path, GOOD, ciphers="ALL:eNULL:@SECLEVEL=0")))
    assert reasons(found) == [(Reason.WEAK_CRYPTO, Severity.WARN)]
    assert "NULL" in found[0].message


def test_command_that_survives_starttls_is_named(tmp_path: Path) -> None:
    """A server that answers inside TLS to what came in clear can be made to do anything in a client's name."""
    vulnerable = Mailbox(tls_context(tmp_path, GOOD), keeps_plaintext=True)
    found = findings(vulnerable, Depth.DEEP)
    assert reasons(found) == [(Reason.STARTTLS_COMMAND_INJECTION, Severity.FAIL)]
    assert "250 2.0.0 OK" in found[0].evidence
    assert findings(vulnerable, Depth.FULL) == ()


def test_refused_pipelining_is_safe(tmp_path: Path) -> None:
    """A server that refuses a command in one piece with STARTTLS is not to be reported."""
    assert findings(Mailbox(tls_context(tmp_path, GOOD), refuses_pipelining=True), Depth.DEEP) == ()


def with_login(expected: Expected | None = None) -> Expected:
    """Expect the good certificate, and try to log in."""
    return replace(expected or AUTHORITY.expects(GOOD), login=WHOM)


@pytest.mark.parametrize("auth", ["PLAIN LOGIN", "LOGIN"])
def test_right_password_logs_in(auth: str, tmp_path: Path) -> None:
    """PLAIN is taken where it is offered, else LOGIN."""
    users = {WHOM.username: WHOM.password}
    with mailbox(Mailbox(tls_context(tmp_path, GOOD), auth=auth, users=users)) as port:
        endpoint, facts = examine(port, expected=with_login())
    assert endpoint.findings == ()
    assert facts.inspection is not None
    assert facts.inspection.login is not None
    assert facts.inspection.login.outcome is LoginOutcome.ACCEPTED


@pytest.mark.parametrize(
    ("auth", "reply", "reason"),
    [
        ("PLAIN", b"", Reason.AUTH_FAILED),
        ("LOGIN", b"454 4.7.0 Temporary authentication failure\r\n", Reason.AUTH_UNAVAILABLE),
        ("PLAIN", b"530 5.7.0 Must issue a STARTTLS command first\r\n", Reason.TLS_REQUIRED_FOR_AUTH),
        ("PLAIN", b"538 5.7.11 Encryption required\r\n", Reason.TLS_REQUIRED_FOR_AUTH),
        ("", b"", Reason.AUTH_MISSING),
        ("GSSAPI", b"", Reason.AUTH_MISSING),
    ],
)
def test_login_that_fails_is_named(auth: str, reply: bytes, reason: Reason, tmp_path: Path) -> None:
    """Each way to be turned away has its reason, and no message repeats the password, even if the server does."""
    found = findings(Mailbox(tls_context(tmp_path, GOOD), auth=auth, auth_reply=reply), expected=with_login())
    assert reasons(found) == [(reason, Severity.FAIL)]
    assert WHOM.password not in repr(found)


@pytest.mark.parametrize("expected", [AUTHORITY.expects(GOOD), Expected(None, "")])
def test_unproven_server_never_gets_the_password(expected: Expected, tmp_path: Path) -> None:
    """A server with another certificate than the stored one, or one that nobody trusts, hears of no login."""
    behaviour = Mailbox(tls_context(tmp_path, RSA), auth="PLAIN LOGIN")
    with mailbox(behaviour) as port:
        _, facts = examine(port, expected=with_login(expected))
    assert facts.inspection is not None
    assert facts.inspection.login is not None
    assert facts.inspection.login.outcome is LoginOutcome.UNPROVEN
    assert not any(line.startswith(b"AUTH") for line in behaviour.heard)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"at_auth": Act.CLOSE}, "connection closed"),
        ({"at_auth": Act.SILENCE}, "timed out"),
        ({"auth_reply": b"334 bW9yZQ==\r\n"}, "334"),
    ],
    ids=("hangs up", "falls silent", "asks on"),
)
def test_login_without_a_verdict_fails(behaviour: dict[str, Act | bytes], said: str, tmp_path: Path) -> None:
    """A server that never says what it makes of the credentials lets nobody in."""
    server = Mailbox(tls_context(tmp_path, GOOD), **behaviour)  # type: ignore[arg-type]
    with mailbox(server) as port:
        endpoint, _ = examine(port, expected=with_login(), limits=Limits(dialog=1.0))
    assert reasons(endpoint.findings) == [(Reason.AUTH_INCOMPLETE, Severity.FAIL)]
    assert endpoint.findings[0].evidence == said


def test_login_that_is_not_tried_for_want_of_proof_is_warned_of(tmp_path: Path) -> None:
    """Who asked for a login and sees no word on it would take it for accepted."""
    with mailbox(Mailbox(tls_context(tmp_path, GOOD))) as port:
        endpoint, _ = examine(port, expected=with_login(Expected(None, "")))
    assert (Reason.AUTH_NOT_TRIED, Severity.WARN) in reasons(endpoint.findings)


@pytest.mark.parametrize("step", [Act.CLOSE, Act.RESET, Act.SILENCE, b"250-on and on\r\n" * 2000])
def test_server_that_breaks_every_session_is_not_blamed_for_resumption(step: Act | bytes, tmp_path: Path) -> None:
    """Where new sessions fail too, their end says nothing about those that are resumed."""
    with serving(Script(served=GOOD, ehlo_in_tls=step), tmp_path) as port:
        endpoint, facts = examine(port, limits=Limits(dialog=0.5))
    assert reasons(endpoint.findings) == [(Reason.EHLO_AFTER_TLS_FAILED, Severity.FAIL)]
    assert facts.inspection is not None
    assert Question.RESUMED_1_3 in facts.inspection.answers


def test_nobody_logs_in_where_strangers_deliver(tmp_path: Path) -> None:
    """A port that takes mail from strangers is not asked for a login."""
    with mailbox(Mailbox(tls_context(tmp_path, GOOD), auth="PLAIN")) as port:
        _, facts = examine(port, expected=with_login(), policy=TlsPolicy.OPPORTUNISTIC)
    assert facts.inspection is not None
    assert facts.inspection.login is None


def test_credentials_hide_their_password() -> None:
    """Neither the credentials nor what is expected shows the password when printed."""
    assert WHOM.password not in repr(WHOM) + repr(with_login())


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("a", "b\r\nQUIT"), ("a\0b", "c")])
def test_credentials_that_would_break_out_of_their_line_are_refused(username: str, password: str) -> None:
    """Line breaks and NUL in a name or password could become commands of their own."""
    with pytest.raises(ValueError, match="line breaks"):
        Credentials(username, password)


def test_server_that_has_had_enough_is_left_alone(tmp_path: Path) -> None:
    """Two connections in a row that are not even greeted end the inspection, with a warning."""
    with turning_away_after_one(tmp_path) as port:
        endpoint, facts = examine(port, policy=TlsPolicy.OPPORTUNISTIC)
    assert reasons(endpoint.findings) == [(Reason.SERVER_BUSY, Severity.WARN)]
    assert "421 4.7.0 Too many connections" in endpoint.findings[0].message
    assert facts.inspection is not None
    assert len(facts.inspection.answers) == 2


def test_starttls_that_comes_and_goes_fails(tmp_path: Path) -> None:
    """Of several servers behind one address, or by a limit, some connections are not offered TLS."""
    seen: list[int] = []

    def list_capabilities(connection: socket.socket) -> None:
        seen.append(1)
        connection.sendall(b"250-mx1\r\n250 " + (b"STARTTLS\r\n" if len(seen) % 3 else b"SIZE\r\n"))

    with serving(Script(served=GOOD, ehlo=list_capabilities), tmp_path) as port:
        endpoint, _ = examine(port, policy=TlsPolicy.OPPORTUNISTIC)
    assert (Reason.STARTTLS_NOT_ADVERTISED, Severity.FAIL) in reasons(endpoint.findings)
    assert "missing in the next («SIZE»)" in endpoint.findings[0].message


def test_login_that_a_server_turned_away_before_is_not_called_broken(tmp_path: Path) -> None:
    """A server that has had enough connections says nothing about the login, which is said."""
    with turning_away_after_one(tmp_path, b"250-mx1\r\n250 AUTH PLAIN\r\n") as port:
        endpoint, _ = examine(port, expected=with_login())
    assert reasons(endpoint.findings) == [(Reason.SERVER_BUSY, Severity.WARN), (Reason.AUTH_NOT_TRIED, Severity.WARN)]


def test_inspection_ends_in_time(tmp_path: Path) -> None:
    """A server that is slow with every connection costs no more than the time for all of them."""
    target = Port(1, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    with serving(Script(served=GOOD), tmp_path) as port:
        limits = Limits(inspection=0)
        prober = Prober(limits)
        aim = Target("127.0.0.1", replace(target, port=port), HOST, pod="postfix-0")
        endpoint, facts = prober.examine([aim], AUTHORITY.expects(GOOD), Depth.DEEP)[0]
    assert endpoint.failure is None
    assert facts.inspection is not None
    assert len(facts.inspection.answers) < len(Question)


def test_server_without_tls_is_not_looked_into() -> None:
    """Where the conversation came to no TLS there is nothing to inspect, and nothing is asked twice."""
    with serving(Script(greeting=Act.CLOSE), Path()) as port:
        _, facts = examine(port, Depth.DEEP)
    assert facts.inspection is None


@contextmanager
def turning_away_after_one(directory: Path, listing: bytes = b"250 mx1\r\n") -> Iterator[int]:
    """A server that takes one connection and answers 421 to all others."""
    seen: list[int] = []

    def greet(connection: socket.socket) -> None:
        seen.append(1)
        connection.sendall(b"220 mx1.example.com\r\n" if len(seen) == 1 else b"421 4.7.0 Too many connections\r\n")

    with serving(Script(served=GOOD, greeting=greet, ehlo_in_tls=listing), directory) as port:
        yield port
