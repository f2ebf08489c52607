"""Trial logins as a dialog: what a server may do that is no yes, and what is kept of its words."""

import pytest

from mailtls.probe.facts import Login, LoginOutcome, Phase, Reply
from mailtls.probe.login import LoginDialog
from mailtls.probe.target import Credentials, Port, Protocol, TlsMode, TlsPolicy

OFFERS = {
    Protocol.SMTP: ("mx1", "AUTH PLAIN"),
    Protocol.IMAP: ("IMAP4rev1", "AUTH=PLAIN"),
    Protocol.POP3: ("SASL PLAIN",),
    Protocol.SIEVE: ('"SASL" "PLAIN"',),
}


def outcome(protocol: Protocol, password: str, *answers: bytes) -> Login | None:
    """Let a server answer one line after the other."""
    listed = Reply(Phase.CAPABILITIES_IN_TLS, 250, OFFERS[protocol], "", protocol)
    dialog = LoginDialog(protocol, Credentials("user", password), listed)
    dialog.begin()
    for answer in answers:
        dialog.receive(answer + b"\r\n")
    return dialog.result


@pytest.mark.parametrize(
    ("protocol", "answers", "wanted"),
    [
        (Protocol.SMTP, (b"334 more",), LoginOutcome.INCOMPLETE),
        (Protocol.IMAP, (b"+", b"+ more"), LoginOutcome.INCOMPLETE),
        (Protocol.POP3, (b"+ ", b"+ more"), LoginOutcome.INCOMPLETE),
        (Protocol.POP3, (b"+ ", b"+OK in"), LoginOutcome.ACCEPTED),
    ],
)
def test_server_that_asks_for_more_than_there_is_has_not_agreed(
    protocol: Protocol, answers: tuple[bytes, ...], wanted: LoginOutcome
) -> None:
    """Only the protocol's own word of consent is one."""
    login = outcome(protocol, "secret", *answers)
    assert login is not None
    assert login.outcome is wanted


@pytest.mark.parametrize("repeated", [b"secret", b"s e c r e t", b"73 65 63 72 65 74", b"AHVzZXIAc2VjcmV0"])
def test_words_of_a_server_that_heard_a_password_are_not_kept(repeated: bytes) -> None:
    """It may repeat the password in any form: of its answer the code and the enhanced code are quoted alone."""
    login = outcome(Protocol.SMTP, "secret", b"535 5.7.8 no such password: " + repeated)
    assert login == Login(LoginOutcome.REFUSED, "535 5.7.8")
    assert outcome(Protocol.SMTP, "secret", b"535 " + repeated) == Login(LoginOutcome.REFUSED, "535")
    assert outcome(Protocol.IMAP, "secret", b"l1 NO [SECRET] " + repeated) == Login(LoginOutcome.REFUSED, "NO")


@pytest.mark.parametrize(
    ("protocol", "answer", "wanted"),
    [
        (Protocol.SMTP, b"454 4.7.0 Temporary authentication failure", Login(LoginOutcome.UNAVAILABLE, "454 4.7.0")),
        (Protocol.SMTP, b"421 4.3.2 shutting down", Login(LoginOutcome.UNAVAILABLE, "421 4.3.2")),
        (Protocol.SMTP, b"what?", Login(LoginOutcome.INCOMPLETE, "no reply of the protocol")),
        (Protocol.IMAP, b"l1 NO [UNAVAILABLE] later", Login(LoginOutcome.UNAVAILABLE, "NO [UNAVAILABLE]")),
        (Protocol.IMAP, b"* BYE [UNAVAILABLE] later", Login(LoginOutcome.UNAVAILABLE, "BYE [UNAVAILABLE]")),
        (
            Protocol.IMAP,
            b"l1 NO [AUTHENTICATIONFAILED] no",
            Login(LoginOutcome.REFUSED, "NO [AUTHENTICATIONFAILED]"),
        ),
        (Protocol.POP3, b"-ERR [SYS/TEMP] later", Login(LoginOutcome.UNAVAILABLE, "-ERR [SYS/TEMP]")),
        (Protocol.POP3, b"-ERR [AUTH] no", Login(LoginOutcome.REFUSED, "-ERR [AUTH]")),
        (Protocol.POP3, b"-ERR [IN-USE] another one reads", Login(LoginOutcome.ACCEPTED, "-ERR [IN-USE]")),
        (Protocol.SIEVE, b'NO (TRYLATER) "later"', Login(LoginOutcome.UNAVAILABLE, "NO [TRYLATER]")),
        (Protocol.SIEVE, b'NO "no"', Login(LoginOutcome.REFUSED, "NO")),
        (Protocol.IMAP, b"* BYE Disconnected: Authentication failed", Login(LoginOutcome.REFUSED, "BYE")),
        (Protocol.SIEVE, b'BYE "too many failed"', Login(LoginOutcome.REFUSED, "BYE")),
    ],
)
def test_refusal_for_now_is_told_from_a_wrong_password(protocol: Protocol, answer: bytes, wanted: Login) -> None:
    """A server whose authentication service is down says nothing about the password."""
    assert outcome(protocol, "secret", answer) == wanted


def test_endless_line_of_a_server_is_not_quoted() -> None:
    """The quotation might end in the midst of the password."""
    login = outcome(Protocol.SMTP, "secret", b"535 secret" * 2000)
    assert login is not None
    assert "secret" not in login.said


@pytest.mark.parametrize(("number", "is_wanted"), [(25, False), (465, True), (587, True)])
def test_nobody_logs_in_where_strangers_bring_mail(number: int, is_wanted: bool) -> None:
    """DANE and MTA-STS make senders use TLS at port 25, and users none the more."""
    assert Port(number, TlsMode.START_TLS, TlsPolicy.ENFORCED).is_for_users is is_wanted
