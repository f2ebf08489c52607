"""The SMTP dialog against servers that hypothesis invents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.probe.facts import Fault, Phase
from mailtls.probe.protocols.dialog import REPLY_LIMIT, Dialog
from mailtls.probe.protocols.grammars import SmtpGrammar, Stage, dialog_for
from mailtls.probe.target import Port, TlsMode, TlsPolicy
from mailtls.reasons.quoting import QUOTE_LIMIT, quote

GREETING, EHLO = b"220 mx1.example.com ESMTP\r\n", b"250-mx1.example.com\r\n250-SIZE 1\r\n250 STARTTLS\r\n"
NAME = "[192.0.2.1]"
LIKELY = st.sampled_from(
    [b"220 ", b"220-", b"250-", b"250 ", b"\r\n", b"\n", b"\r", b"STARTTLS", b"AUTH=X", b"\x00", b"\xff"]
)
STREAMS = st.lists(st.one_of(st.binary(max_size=64), LIKELY), max_size=60)


LINE_LIMIT = SmtpGrammar.line_limit


def before_tls() -> Dialog:
    """Begin on port 25."""
    return dialog_for(Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC), Stage.BEFORE_TLS, NAME)


def talk(dialog: Dialog, chunks: list[bytes]) -> list[bytes]:
    """Feed all chunks and collect what the client says."""
    return [dialog.begin(), *(dialog.receive(chunk) for chunk in chunks)]


@given(STREAMS)
def test_random_bytes_end_in_a_named_outcome_or_wait(chunks: list[bytes]) -> None:
    """No input raises, and a dialog that has ended either kept every reply or says why not."""
    dialog = before_tls()
    talk(dialog, chunks)
    if dialog.finished:
        accepted = [(reply.phase, reply.code) for reply in dialog.replies]
        good = accepted == [(Phase.GREETING, 220), (Phase.CAPABILITIES, 250), (Phase.STARTTLS, 220)]
        assert good != (dialog.stop is not None)


@given(st.binary(min_size=1, max_size=40), st.integers(1, 16384))
def test_endless_stream_is_cut_off(pattern: bytes, size: int) -> None:
    """Whatever repeats without end, the dialog stops reading within its caps and keeps no more than them."""
    chunk = (pattern * (size // len(pattern) + 1))[:size]
    dialog = before_tls()
    fed = 0
    while not dialog.finished and fed <= REPLY_LIMIT + LINE_LIMIT + 16384:
        dialog.receive(chunk)
        fed += size
    assert dialog.finished
    assert sum(len(line) for reply in dialog.replies for line in reply.lines) <= 3 * REPLY_LIMIT


def test_bytes_behind_the_last_reply_are_kept() -> None:
    """What follows the 220 of STARTTLS in the same segment is not lost: it proves an injection."""
    dialog = before_tls()
    talk(dialog, [GREETING, EHLO, b"220 go\r\n250 injected\r\n"])
    assert dialog.surplus == b"250 injected\r\n"


@pytest.mark.parametrize(
    ("phase", "chunks"),
    [
        (Phase.GREETING, [b"554 no\r\n"]),
        (Phase.CAPABILITIES, [GREETING, b"421 bye\r\n"]),
        (Phase.STARTTLS, [GREETING, EHLO, b"454 later\r\n"]),
    ],
)
def test_refusal_stops_in_its_phase(phase: Phase, chunks: list[bytes]) -> None:
    """A reply of another code ends the dialog where it came, and is kept."""
    dialog = before_tls()
    talk(dialog, chunks)
    assert dialog.stop is not None
    assert (dialog.stop.phase, dialog.stop.fault) == (phase, Fault.UNEXPECTED_REPLY)
    assert dialog.replies[-1].text == chunks[-1].decode().strip()


def test_starttls_in_the_first_line_is_a_host_name() -> None:
    """The first line of EHLO's reply is the server's name, even one named STARTTLS (RFC 5321 section 4.1.1.1)."""
    dialog = before_tls()
    talk(dialog, [GREETING, b"250 STARTTLS\r\n"])
    assert dialog.stop is not None
    assert dialog.stop.fault is Fault.NOT_OFFERED


def test_implicit_dialog_greets_and_asks_inside_tls() -> None:
    """On port 465 the greeting comes inside TLS, then EHLO, and nothing else."""
    dialog = dialog_for(Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED), Stage.INSIDE_TLS, NAME)
    assert talk(dialog, [GREETING, EHLO]) == [b"", b"EHLO [192.0.2.1]\r\n", b""]
    assert dialog.stop is None


@given(st.binary(max_size=1000))
def test_quoted_bytes_are_printable_and_short(data: bytes) -> None:
    """Nothing a server sends can move a cursor or fill a log."""
    quoted = quote(data)
    assert not quoted or quoted.isprintable()
    assert len(quoted) <= QUOTE_LIMIT
