"""Probes of addresses, as nobody gave a name: no SNI, and certificates that name the address."""

import ssl
from pathlib import Path

import pytest

from mailservers.certificates import HOST, Authority, Wanted
from mailservers.smtp_tls import Mailbox, mailbox, tls_context
from mailtls.cli.targets import BadTarget, read_target
from mailtls.probe.prober import Prober
from mailtls.probe.target import Depth, Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.probe.tls.client_hello import client_hello
from mailtls.reasons.reason import Reason

AUTHORITY = Authority()
PORT = Port(1, TlsMode.START_TLS, TlsPolicy.ENFORCED)


def examine(
    directory: Path, wanted: Wanted, heard: list[str | None] | None = None, name: str = "127.0.0.1"
) -> Endpoint:
    """Probe 127.0.0.1 in full, without a name where none is given; `heard` collects the names that came as SNI."""
    served = AUTHORITY.issue(wanted)
    context = tls_context(directory, served)

    def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if heard is not None:
            heard.append(name)

    context.sni_callback = note
    with mailbox(Mailbox(context)) as port:
        aim = Target("127.0.0.1", Port(port, PORT.tls_mode, PORT.tls_policy), name, pod="127.0.0.1")
        return Prober().probe([aim], AUTHORITY.expects(served), Depth.FULL)[0]


def test_certificate_for_an_address_is_good_for_it(tmp_path: Path) -> None:
    """An address is matched by an IP-ID of the certificate (RFC 9525 section 6.4)."""
    assert examine(tmp_path, Wanted(names=(), addresses=("127.0.0.1",))).findings == ()


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(names=("127.0.0.1",)), Wanted(addresses=("127.0.0.2",))])
def test_certificate_for_something_else_is_no_match_for_an_address(wanted: Wanted, tmp_path: Path) -> None:
    """Neither a name that looks like it nor another address will do."""
    failure = examine(tmp_path, wanted).failure
    assert failure is not None
    assert failure.reason is Reason.HOSTNAME_MISMATCH


def test_address_is_never_sent_as_a_name(tmp_path: Path) -> None:
    """RFC 6066 section 3 forbids it, and strict servers abort; the one name of a full probe is the unknown one."""
    heard: list[str | None] = []
    examine(tmp_path, Wanted(addresses=("127.0.0.1",)), heard)
    assert set(heard) == {None, "unknown.invalid"}
    assert b"192.0.2.1" not in client_hello(["RC4"], "192.0.2.1")
    assert b"mx1.example.com" in client_hello(["RC4"], "mx1.example.com")


def test_trailing_dot_is_not_sent(tmp_path: Path) -> None:
    """SNI has none (RFC 6066 section 3): a server that chooses its certificate by name would not know it."""
    heard: list[str | None] = []
    assert examine(tmp_path, Wanted(), heard, f"{HOST}.").findings == ()
    assert set(heard) == {None, HOST, "unknown.invalid"}
    assert f"{HOST}.".encode() not in client_hello(["RC4"], f"{HOST}.")


@pytest.mark.parametrize("typed", ["fe80::1%lo", "[fe80::1%lo]:25", "fe80::1%\x1b[2J"])
def test_address_with_a_zone_is_refused_in_a_sentence(typed: str) -> None:
    """A zone is a name of this machine's interfaces, and no server is known by it to others."""
    with pytest.raises(BadTarget, match="without its zone"):
        read_target(typed)
