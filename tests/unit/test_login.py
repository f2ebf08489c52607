"""Trial logins as a dialog: what a server may do that is no yes, and what is kept of its words."""

import pytest

from mailtls.model.credentials import Credentials
from mailtls.model.facts import Phase, Reply
from mailtls.model.inspection import Login, LoginOutcome
from mailtls.model.spec import Port, Protocol, TlsMode, TlsPolicy
from mailtls.world.inspection import is_for_users
from mailtls.world.login import LoginDialog

OFFERS = {
    Protocol.SMTP: ("mx1", "AUTH PLAIN"),
    Protocol.IMAP: ("IMAP4rev1", "AUTH=PLAIN"),
    Protocol.POP3: ("SASL PLAIN",),
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
        (Protocol.SMTP, (b"334 more",), LoginOutcome.BROKEN_OFF),
        (Protocol.IMAP, (b"+", b"+ more"), LoginOutcome.BROKEN_OFF),
        (Protocol.POP3, (b"+ ", b"+ more"), LoginOutcome.BROKEN_OFF),
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


@pytest.mark.parametrize("password", ["pässword", "correct horse" * 30, 'with "quotes"'])
def test_password_that_a_server_repeats_is_withheld(password: str) -> None:
    """Also where the line is made printable, or cut, before it is kept."""
    login = outcome(Protocol.SMTP, password, b"535 no such user or password: " + password.encode())
    assert login == Login(LoginOutcome.REFUSED, "535 no such user or password: (withheld)")


def test_endless_line_of_a_server_is_not_quoted() -> None:
    """The quotation might end in the midst of the password."""
    login = outcome(Protocol.SMTP, "secret", b"535 secret" * 2000)
    assert login is not None
    assert "secret" not in login.said


@pytest.mark.parametrize(("number", "is_wanted"), [(25, False), (465, True), (587, True)])
def test_nobody_logs_in_where_strangers_bring_mail(number: int, is_wanted: bool) -> None:
    """DANE and MTA-STS make senders use TLS at port 25, and users none the more."""
    assert is_for_users(Port(number, TlsMode.START_TLS, TlsPolicy.ENFORCED)) is is_wanted
