"""What is typed on the command line is read as it is meant, or refused in one sentence."""

import string
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailtls.cli.targets import HOST_PORTS, BadTarget, Kind, read_port, read_ports, read_target
from mailtls.probe.target import Port, Protocol, TlsMode, TlsPolicy

ENFORCED, OPPORTUNISTIC = TlsPolicy.ENFORCED, TlsPolicy.OPPORTUNISTIC


@pytest.mark.parametrize(
    ("text", "kind", "name", "port"),
    [
        ("example.com", Kind.NAME, "example.com", None),
        ("Example.COM.", Kind.NAME, "example.com", None),
        ("bücher.example", Kind.NAME, "xn--bcher-kva.example", None),
        ("mx1.example.com:587", Kind.HOST, "mx1.example.com", 587),
        ("localhost", Kind.HOST, "localhost", None),
        ("192.0.2.1", Kind.ADDRESS, "192.0.2.1", None),
        ("192.0.2.1:2525", Kind.ADDRESS, "192.0.2.1", 2525),
        ("::1", Kind.ADDRESS, "::1", None),
        ("[::1]", Kind.ADDRESS, "::1", None),
        ("[2001:DB8:0::1]:465", Kind.ADDRESS, "2001:db8::1", 465),
    ],
)
def test_target_is_read(text: str, kind: Kind, name: str, port: int | None) -> None:
    """Domains, hosts and addresses, each with the port that stands with it."""
    wanted = read_target(text)
    assert (wanted.kind, wanted.name, [each.port for each in wanted.ports]) == (kind, name, [port] if port else [])


def test_options_say_what_a_name_is() -> None:
    """`--mx` and `--host` leave nothing to MX records."""
    assert read_target("example.com", Kind.DOMAIN).kind is Kind.DOMAIN
    assert read_target("example.com", Kind.HOST).kind is Kind.HOST
    assert read_target("192.0.2.1", Kind.HOST).kind is Kind.ADDRESS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("user@example.com", "after the @"),
        ("https://example.com", "URL"),
        ("a b", "letters, digits"),
        ("mx:", "no port after its colon"),
        ("mx:0", "from 1 to 65535"),
        ("mx:99999", "from 1 to 65535"),
        ("mx:smtp", "is no port"),
        ("[::1", "[2001:db8::1]:25"),
        ("[::1]:", "[2001:db8::1]:25"),
        ("a..b", "empty label"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(text: str, words: str) -> None:
    """The sentence says what to write instead."""
    with pytest.raises(BadTarget, match=r"\.$") as refused:
        read_target(text)
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["192.0.2.1", "example.com:25"])
def test_mail_domain_with_a_port_or_of_digits_is_refused(text: str) -> None:
    """No domain's mail is for an address."""
    with pytest.raises(BadTarget, match="is no mail domain"):
        read_target(text, Kind.DOMAIN)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("25", Port(25, TlsMode.START_TLS, OPPORTUNISTIC)),
        ("465", Port(465, TlsMode.IMPLICIT, ENFORCED)),
        ("587", Port(587, TlsMode.START_TLS, ENFORCED)),
        ("465/starttls", Port(465, TlsMode.START_TLS, ENFORCED)),
        ("2525/SMTP/Implicit", Port(2525, TlsMode.IMPLICIT, ENFORCED)),
        ("2525/tls", Port(2525, TlsMode.IMPLICIT, ENFORCED)),
        ("2525", Port(2525, TlsMode.START_TLS, ENFORCED)),
    ],
)
def test_port_implies_what_is_left_out(text: str, port: Port) -> None:
    """A known number knows its protocol and TLS mode; words overrule it."""
    assert read_port(text) == port


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "２５", "25/ftp", "25/smtp/smtp", "25/tls/starttls", "25/"])
def test_port_that_makes_no_sense_is_refused(text: str) -> None:
    """In one sentence."""
    with pytest.raises(BadTarget, match=r"\.$"):
        read_port(text)


def test_port_named_twice_is_probed_once() -> None:
    """The last word counts."""
    assert read_ports(["25", "465", "25/implicit"]) == (
        Port(25, TlsMode.IMPLICIT, ENFORCED),
        Port(465, TlsMode.IMPLICIT, ENFORCED),
    )
    assert [port.port for port in HOST_PORTS] == [25, 465, 587]
    assert {port.protocol for port in HOST_PORTS} == {Protocol.SMTP}


def complaint(read: Callable[[str], object], text: str) -> str:
    """Return what is said against the text, nothing when it is read."""
    try:
        read(text)
    except BadTarget as refused:
        return str(refused)
    return "."


def is_sentence(text: str) -> bool:
    """Whether a terminal can show it on a few lines."""
    return text.isprintable() and len(text) < 600 and text.endswith(".")


@given(st.text())
@example("\x00:25")
@example("[" * 100)
@example("\ud800")
@example("1" * 5000 + ":1")
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is typed gives a target, or a printable sentence of bounded length; never another exception."""
    assert is_sentence(complaint(read_target, text))


@given(st.text(string.digits + "/:[]smtpliacre."))
def test_any_port_is_read_or_refused(text: str) -> None:
    """The same for ports."""
    assert is_sentence(complaint(read_port, text))
