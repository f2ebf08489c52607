"""The hand-made ClientHello and what is read from the answer to it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.probe.tls.client_hello import WEAK_SUITES, chosen_family, client_hello
from mailtls.probe.tls.handshake import HandshakeFailed


def server_hello(suite: int, session_id: bytes = b"") -> bytes:
    """The record in which a server chooses a suite (RFC 5246 section 7.4.1.3)."""
    body = b"\x03\x03" + bytes(32) + bytes([len(session_id)]) + session_id + suite.to_bytes(2, "big") + b"\0"
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize("family", WEAK_SUITES)
@pytest.mark.parametrize("session_id", [b"", bytes(32)])
def test_choice_is_named_by_its_family(family: str, session_id: bytes) -> None:
    """Whatever suite is chosen, its family is what a postmaster knows."""
    assert {chosen_family(server_hello(suite, session_id)) for suite in WEAK_SUITES[family]} == {family}


def test_choice_is_awaited_while_it_is_incomplete() -> None:
    """A ServerHello may come byte by byte."""
    whole = server_hello(0x0005)
    assert all(chosen_family(whole[:length]) is None for length in range(len(whole)))


def test_offer_holds_only_the_families_asked_for() -> None:
    """What was taken already is left out of the next offer."""
    offer = client_hello(["RC4"], "mx.example.com")
    assert offer[44:54] == b"\x00\x08\x00\x04\x00\x05\xc0\x07\xc0\x11"
    assert b"mx.example.com" in offer


def test_choice_of_something_strong_is_no_choice() -> None:
    """A server that answers with what was not offered took nothing weak."""
    with pytest.raises(HandshakeFailed):
        chosen_family(server_hello(0xC02F))


def test_alert_is_a_refusal() -> None:
    """A server without weak ciphers says handshake_failure."""
    with pytest.raises(HandshakeFailed):
        chosen_family(b"\x15\x03\x03\x00\x02\x02\x28")


@given(st.binary(max_size=600))
def test_hostile_answer_ends_in_a_name_or_a_refusal(data: bytes) -> None:
    """No bytes raise anything else."""
    for start in (b"", b"\x16\x03\x03", b"\x16\x03\x03\x00\x50\x02"):
        with suppress(HandshakeFailed):
            assert chosen_family(start + data) in {None, *WEAK_SUITES}
