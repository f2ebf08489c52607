"""The dialogs of every protocol, against good servers, servers that refuse, and those that hypothesis invents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.dialogs import CAPA, CAPABILITY, EHLO, GOOD, PHASES, SIEVE, begin, outcome, talk
from mailtls.probe.facts import Fault, Phase, Reply
from mailtls.probe.protocols.dialog import REPLY_LIMIT
from mailtls.probe.protocols.grammars import Stage, farewell
from mailtls.probe.target import Protocol

EVERY = list(Protocol)
LIKELY = st.sampled_from(
    [b"220 ", b"220-", b"250-", b"250 ", b"\r\n", b"\n", b"\r", b"AUTH=X",
     b"* ", b"OK ", b"CAPABILITY ", b"a1 ", b"a2 ", b"+OK ", b"-ERR ", b".",
     b'"SASL" ', b'"', b"{3}\r\n", b"{99999}\r\n", b"NO", b"BYE", b"STARTTLS", b"STLS", b"\x00", b"\xff"]
)  # fmt: skip
STREAMS = st.lists(st.one_of(st.binary(max_size=64), LIKELY), max_size=60)


@pytest.mark.parametrize("protocol", EVERY)
@given(size=st.integers(0, 9))
def test_good_server_is_led_to_tls_however_it_is_cut(protocol: Protocol, size: int) -> None:
    """Commands come one at a time, each after its reply, whatever segments TCP makes of the replies."""
    dialog, speech = begin(protocol), GOOD[protocol]
    assert talk(dialog, speech.answers, size) == list(speech.commands)
    assert (dialog.finished, dialog.stop, dialog.surplus) == (True, None, b"")
    assert [reply.phase for reply in dialog.replies] == list(PHASES)
    assert (dialog.replies[1].keyword("STARTTLS"), dialog.replies[1].keyword("AUTH")) == ("", "PLAIN LOGIN")


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("protocol", EVERY)
@given(chunks=STREAMS)
def test_random_bytes_end_in_a_named_outcome_or_wait(protocol: Protocol, stage: Stage, chunks: list[bytes]) -> None:
    """No input raises, makes the client say another command, or is called good without a good reply in each phase."""
    dialog = begin(protocol, stage)
    said = talk(dialog, tuple(chunks))
    if stage is Stage.BEFORE_TLS:
        assert said == list(GOOD[protocol].commands[: len(said)])
    if dialog.finished and dialog.stop is None:
        assert tuple(reply.phase for reply in dialog.replies) == stage.value
        assert not any(reply.is_refusal for reply in dialog.replies)
    assert all(line.isprintable() for reply in dialog.replies for line in reply.lines)


@pytest.mark.parametrize("protocol", EVERY)
@given(chunks=STREAMS, size=st.integers(1, 7))
def test_reply_is_the_same_however_it_is_cut(protocol: Protocol, chunks: list[bytes], size: int) -> None:
    """One reply reads the same in all cuts, good or bad; what stands behind it depends on the cut."""

    def first(pieces: list[bytes]) -> tuple[list[Reply], object]:
        dialog = begin(protocol, Stage.AFTER_STARTTLS)
        for piece in pieces:
            dialog.receive(piece)
            if dialog.replies:
                return dialog.replies, None
        return [], dialog.stop

    stream = b"".join(chunks)
    assert first([stream]) == first([stream[start : start + size] for start in range(0, len(stream), size)])


@pytest.mark.parametrize("protocol", EVERY)
@given(pattern=st.one_of(st.binary(min_size=1, max_size=40), LIKELY), size=st.integers(64, 16384))
def test_endless_stream_is_cut_off(protocol: Protocol, pattern: bytes, size: int) -> None:
    """Whatever repeats without end, the dialog stops reading within its caps and keeps no more than them."""
    chunk = (pattern * (size // len(pattern) + 1))[:size]
    dialog = begin(protocol)
    fed = 0
    while not dialog.finished and fed <= 4 * (REPLY_LIMIT + 16384):
        dialog.receive(chunk)
        fed += size
    assert dialog.finished
    assert sum(len(line) for reply in dialog.replies for line in reply.lines) <= 4 * 3 * REPLY_LIMIT


@pytest.mark.parametrize("protocol", EVERY)
def test_dialog_inside_tls_hears_the_greeting_first(protocol: Protocol) -> None:
    """On an implicit port the greeting and the capabilities come inside TLS, and nothing else is asked."""
    dialog, speech = begin(protocol, Stage.INSIDE_TLS), GOOD[protocol]
    listing = speech.answers[1].replace(b"a1 ", b"a3 ")
    assert talk(dialog, (speech.answers[0], listing)) == [speech.commands[0].replace(b"a1", b"a3")]
    assert (dialog.finished, dialog.stop) == (True, None)


def test_sieve_lists_its_capabilities_unasked_after_starttls() -> None:
    """After STARTTLS the client is silent and the server lists what it can (RFC 5804 section 2.2)."""
    dialog = begin(Protocol.SIEVE, Stage.AFTER_STARTTLS)
    assert talk(dialog, (SIEVE,)) == []
    assert (dialog.finished, dialog.stop) == (True, None)


@pytest.mark.parametrize(
    ("protocol", "answers", "phase", "fault", "transient"),
    [
        (Protocol.SMTP, (b"421 busy\r\n",), Phase.GREETING, Fault.UNEXPECTED_REPLY, True),
        (Protocol.LMTP, (b"220 x\r\n", b"500 EHLO?\r\n"), Phase.CAPABILITIES, Fault.UNEXPECTED_REPLY, False),
        (Protocol.IMAP, (b"* BYE [UNAVAILABLE] full\r\n",), Phase.GREETING, Fault.UNEXPECTED_REPLY, True),
        (Protocol.IMAP, (b"* BYE go away\r\n",), Phase.GREETING, Fault.UNEXPECTED_REPLY, False),
        (Protocol.IMAP, (b"* PREAUTH hello\r\n",), Phase.GREETING, Fault.UNEXPECTED_REPLY, False),
        (Protocol.IMAP, (b"* OK x\r\n", b"* BYE bye\r\n"), Phase.CAPABILITIES, Fault.UNEXPECTED_REPLY, False),
        (Protocol.IMAP, (b"* OK x\r\n", b"a1 BAD what\r\n"), Phase.CAPABILITIES, Fault.UNEXPECTED_REPLY, False),
        (Protocol.IMAP, (b"* OK x\r\n", CAPABILITY, b"a2 NO off\r\n"), Phase.STARTTLS, Fault.UNEXPECTED_REPLY, False),
        (Protocol.IMAP, (b"* OK x\r\n", b"a1 OK\r\n"), Phase.STARTTLS, Fault.NOT_OFFERED, None),
        (Protocol.IMAP, (b"* OK x\r\n", b"b7 OK\r\n"), Phase.CAPABILITIES, Fault.GARBLED, None),
        (Protocol.IMAP, (b"* OK x\r\n* OK y\r\n",), Phase.GREETING, Fault.GARBLED, None),
        (Protocol.POP3, (b"-ERR [SYS/TEMP] later\r\n",), Phase.GREETING, Fault.UNEXPECTED_REPLY, True),
        (Protocol.POP3, (b"+OK x\r\n", b"-ERR what\r\n"), Phase.CAPABILITIES, Fault.UNEXPECTED_REPLY, False),
        (Protocol.POP3, (b"+OK x\r\n", b"+OK\r\n.\r\n"), Phase.STARTTLS, Fault.NOT_OFFERED, None),
        (Protocol.POP3, (b"+OK x\r\n", CAPA, b"-ERR no\r\n"), Phase.STARTTLS, Fault.UNEXPECTED_REPLY, False),
        (Protocol.POP3, (b"220 x\r\n",), Phase.GREETING, Fault.GARBLED, None),
        (Protocol.SIEVE, (b'BYE (TRYLATER) "full"\r\n',), Phase.GREETING, Fault.UNEXPECTED_REPLY, True),
        (Protocol.SIEVE, (SIEVE, b'OK "x"\r\n'), Phase.STARTTLS, Fault.NOT_OFFERED, None),
        (Protocol.SIEVE, (SIEVE, SIEVE, b"NO {3}\r\nbad\r\n"), Phase.STARTTLS, Fault.UNEXPECTED_REPLY, False),
        (Protocol.SIEVE, (b"* OK x\r\n",), Phase.GREETING, Fault.GARBLED, None),
    ],
)
def test_refusal_stops_in_its_phase(
    protocol: Protocol, answers: tuple[bytes, ...], phase: Phase, fault: Fault, transient: bool | None
) -> None:
    """Each way to say no ends the dialog where it came, and is understood as for now or for good."""
    dialog = begin(protocol)
    talk(dialog, answers)
    assert dialog.stop is not None
    assert (dialog.stop.phase, dialog.stop.fault) == (phase, fault)
    if transient is not None:
        assert dialog.replies[-1].is_transient is transient


@pytest.mark.parametrize("protocol", EVERY)
def test_bytes_behind_the_word_to_start_are_kept(protocol: Protocol) -> None:
    """What follows the last reply in the same segment is not lost: it proves an injection."""
    dialog, speech = begin(protocol), GOOD[protocol]
    talk(dialog, (*speech.answers[:-1], speech.answers[-1] + b"injected\r\n"))
    assert outcome(dialog)[1:] == (None, dialog.replies, b"injected\r\n")


def test_literal_in_a_reply_of_sieve_is_read_by_its_length() -> None:
    """A string by its length may hold lines that look like the end of a reply (RFC 5804 section 4)."""
    dialog = begin(Protocol.SIEVE)
    talk(dialog, (b'"NOTIFY" {10}\r\nOK\r\nOK "x"\r\n"STARTTLS"\r\nOK "ready"\r\n',))
    assert dialog.stop is None
    assert dialog.phase is Phase.CAPABILITIES
    assert dialog.replies[0].keyword("STARTTLS") == ""


def test_names_of_capabilities_may_be_literals_in_sieve() -> None:
    """A name is a string, quoted or by its length (RFC 5804 section 1.7)."""
    dialog = begin(Protocol.SIEVE)
    listing = b'"IMPLEMENTATION" {7}\r\nExample\r\n{8}\r\nSTARTTLS\r\nOK\r\n'
    assert talk(dialog, (listing, listing)) == [b"CAPABILITY\r\n", b"STARTTLS\r\n"]


def test_imap_may_list_its_capabilities_right_after_its_greeting() -> None:
    """Untagged data may come at any time (RFC 9051 section 7); what comes behind the word to start may not."""
    dialog = begin(Protocol.IMAP)
    said = talk(
        dialog, (b"* OK ready\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\n", b"a1 OK\r\n", b"a2 OK go\r\n* CAPABILITY X\r\n")
    )
    assert said == [b"a1 CAPABILITY\r\n", b"a2 STARTTLS\r\n"]
    assert (dialog.finished, dialog.stop, dialog.surplus) == (True, None, b"* CAPABILITY X\r\n")


def test_imap_may_greet_by_preauth_inside_tls() -> None:
    """Where TLS came first, a login by certificate is no obstacle."""
    dialog = begin(Protocol.IMAP, Stage.INSIDE_TLS)
    assert talk(dialog, (b"* PREAUTH hello\r\n",)) == [b"a3 CAPABILITY\r\n"]


@pytest.mark.parametrize(
    ("address", "claim"),
    [
        ("192.0.2.9", b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.9\r\n"),
        ("2001:db8::9", b"XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::9\r\n"),
    ],
)
def test_claimed_address_comes_before_starttls(address: str, claim: bytes) -> None:
    """XCLIENT is followed by a new greeting, and all is asked again."""
    dialog = begin(Protocol.SMTP, claimed=address)
    greeting, listing = b"220 mx1\r\n", EHLO.replace(b"250 STARTTLS", b"250-STARTTLS\r\n250 XCLIENT NAME ADDR")
    hello = b"EHLO [192.0.2.1]\r\n"
    said = talk(dialog, (greeting, listing, greeting, EHLO, b"220 go\r\n"))
    assert said == [hello, claim, hello, b"STARTTLS\r\n"]
    assert (dialog.finished, dialog.stop) == (True, None)


def test_unlisted_xclient_is_never_sent() -> None:
    """A server that does not know the command, or does not trust us, is not asked."""
    dialog = begin(Protocol.SMTP, claimed="192.0.2.9")
    assert talk(dialog, (b"220 mx1\r\n", EHLO)) == [b"EHLO [192.0.2.1]\r\n"]
    assert dialog.stop is not None
    assert (dialog.stop.phase, dialog.stop.fault) == (Phase.XCLIENT, Fault.NOT_OFFERED)


@pytest.mark.parametrize(
    ("protocol", "lines", "logins"),
    [
        (Protocol.SMTP, ("mx1", "STARTTLS"), None),
        (Protocol.SMTP, ("mx1", "AUTH=LOGIN"), "LOGIN"),
        (Protocol.IMAP, ("IMAP4rev1", "LOGINDISABLED"), None),
        (Protocol.IMAP, ("IMAP4rev1",), "LOGIN"),
        (Protocol.IMAP, ("IMAP4rev1", "auth=plain", "LOGINDISABLED"), "plain"),
        (Protocol.POP3, ("STLS", "TOP"), None),
        (Protocol.POP3, ("USER", "SASL PLAIN"), "PLAIN USER"),
        (Protocol.SIEVE, ('"SASL" ""', '"STARTTLS"'), None),
        (Protocol.SIEVE, ('"SASL" "PLAIN"',), "PLAIN"),
    ],
)
def test_ways_to_log_in_are_found(protocol: Protocol, lines: tuple[str, ...], logins: str | None) -> None:
    """Mechanisms and the protocol's own command count; LOGINDISABLED and an empty list mean none."""
    assert Reply(Phase.CAPABILITIES, 250, lines, "", protocol).logins == logins


def test_farewell_is_one_line_of_the_protocol() -> None:
    """Every protocol has its own word to leave."""
    words = [farewell(protocol) for protocol in EVERY]
    assert words == [b"QUIT\r\n", b"QUIT\r\n", b"a9 LOGOUT\r\n", b"QUIT\r\n", b"LOGOUT\r\n"]
