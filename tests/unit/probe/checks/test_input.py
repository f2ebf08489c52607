"""What is shown beside a finding: all of it, cut part by part, and in the words of whoever reads it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mailservers.certificates import HOST, Authority, Wanted
from mailtls.probe.checks.input import EVIDENCE_LIMIT
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Fault, Phase, Reply, Session, Stop, Verification
from mailtls.probe.target import Port, ProxyProtocol, Target, TlsMode, TlsPolicy
from mailtls.reasons.advice import setting
from mailtls.reasons.reason import Finding, Reason
from mailtls.reasons.software import Software, product_name

AUTHORITY = Authority("An authority of a very long name indeed")
GOOD = AUTHORITY.issue(Wanted(common_name="a common name of sixty-four characters that fills its field wholly"[:64]))
NOW = datetime.now(UTC)
STARTTLS, IMPLICIT = TlsMode.START_TLS, TlsMode.IMPLICIT
SELF_SIGNED = Facts(
    session=Session(
        tuple(each.public_bytes(Encoding.DER) for each in GOOD.chain),
        "TLSv1.3",
        "TLS_AES_256_GCM_SHA384",
        Verification(18, 0, "self-signed certificate"),
    )
)


def found(
    facts: Facts,
    *,
    by_hand: bool = False,
    tls: TlsMode = STARTTLS,
    proxy: ProxyProtocol = ProxyProtocol.NONE,
    preset: Software | None = None,
) -> Finding:
    """The only finding on a port of this kind."""
    port = Port(25, tls, TlsPolicy.ENFORCED, proxy_protocol=proxy)
    expected = replace(AUTHORITY.expects(GOOD), by_hand=by_hand)
    target = Target("192.0.2.25", port, HOST, pod="mx", software=preset)
    (finding,) = judge(target, expected, facts, NOW).findings
    return finding


def test_long_names_hide_no_other_part_of_the_evidence() -> None:
    """Fingerprint, dates, subject and issuer are all there, although together they are longer than any one may be."""
    evidence = found(SELF_SIGNED).evidence
    issuer = AUTHORITY.intermediate.subject.rfc4514_string()
    assert evidence.endswith(f"subject {GOOD.chain[0].subject.rfc4514_string()}, issued by {issuer}")
    assert GOOD.sha256 in evidence
    assert len(evidence) > 200


def test_evidence_is_bounded_whatever_is_served() -> None:
    """A chain of names without end must not flood a report."""
    words = Verification(18, 0, "w" * 5000)
    session = SELF_SIGNED.session
    assert session is not None
    assert len(found(Facts(session=replace(session, verification=words))).evidence) == EVIDENCE_LIMIT


def test_unreadable_roots_are_said_in_a_sentence_without_a_code() -> None:
    """-1 is no code of OpenSSL: nobody could look it up."""
    session = SELF_SIGNED.session
    assert session is not None
    facts = Facts(session=replace(session, verification=Verification(-1, 0, "it holds something else")))
    finding = found(facts)
    assert finding.message.startswith("The roots of `probe.trust` cannot be read (it holds something else)")
    assert "OpenSSL" not in finding.evidence


@pytest.mark.parametrize(("by_hand", "words"), [(False, "`probe.trust`"), (True, "--ca-file")])
def test_findings_speak_of_what_their_reader_can_change(by_hand: bool, words: str) -> None:
    """In a cluster that is a field of the resource, on a command line an option."""
    message = found(SELF_SIGNED, by_hand=by_hand).message
    assert words in message
    assert ("Secret" in message) is not by_hand


GREETED = Reply(Phase.GREETING, 220, ("mx1.example.com ESMTP",))
OUT_OF_TURN = Facts(Stop(Phase.CAPABILITIES, Fault.GARBLED, "out of turn"), (GREETED,))
UNKNOWN = Facts(
    Stop(Phase.CAPABILITIES, Fault.UNEXPECTED_REPLY), (GREETED, Reply(Phase.CAPABILITIES, 502, ("not recognized",)))
)
SILENT = Facts(Stop(Phase.GREETING, Fault.TIMED_OUT))
CLOSED = Facts(Stop(Phase.HANDSHAKE, Fault.CLOSED))
V1, NONE = ProxyProtocol.V1, ProxyProtocol.NONE


@pytest.mark.parametrize(
    ("facts", "tls", "proxy", "reason", "words"),
    [
        (OUT_OF_TURN, STARTTLS, V1, Reason.PROTOCOL_ERROR, "drop `proxyProtocol` of this port"),
        (UNKNOWN, STARTTLS, V1, Reason.PROTOCOL_ERROR, "drop `proxyProtocol` of this port"),
        (CLOSED, IMPLICIT, V1, Reason.TLS_HANDSHAKE_FAILED, "drop or change `proxyProtocol` of this port"),
        (SILENT, STARTTLS, V1, Reason.NO_BANNER, "drop or change `proxyProtocol` of this port"),
        (SILENT, STARTTLS, NONE, Reason.NO_BANNER, "set `proxyProtocol` of this port"),
        (CLOSED, IMPLICIT, NONE, Reason.TLS_HANDSHAKE_FAILED, "set `proxyProtocol` of this port"),
    ],
)
def test_header_of_the_proxy_protocol_is_named_where_it_may_be_the_trouble(
    facts: Facts, tls: TlsMode, proxy: ProxyProtocol, reason: Reason, words: str
) -> None:
    """Both ways, whenever the answer to it comes: sent to a port that does not want it, and kept from one that does."""
    finding = found(facts, tls=tls, proxy=proxy)
    assert finding.reason is reason
    assert words in finding.message


@pytest.mark.parametrize("facts", [OUT_OF_TURN, UNKNOWN])
def test_header_that_was_not_sent_is_not_blamed(facts: Facts) -> None:
    """A server that answers oddly by itself has another trouble."""
    assert "PROXY" not in found(facts).message


@pytest.mark.parametrize(
    ("greeting", "preset", "software"),
    [
        ("mx ESMTP Exim 4.98", Software.POSTFIX, Software.EXIM),
        ("mx ESMTP", Software.EXIM, Software.EXIM),
        ("mx ESMTP", Software.POSTFIX, Software.POSTFIX),
    ],
)
def test_condition_names_the_setting_of_the_server_that_names_itself_or_of_the_preset(
    greeting: str, preset: Software, software: Software
) -> None:
    """The sentence is the one of the documentation; the command line shows it apart from the message."""
    heard = Reply(Phase.GREETING, 220, (greeting,))
    facts = Facts(stop=Stop(Phase.STARTTLS, Fault.NOT_OFFERED, "PIPELINING"), replies=(heard,))
    how = setting(Reason.STARTTLS_NOT_ADVERTISED, software)
    assert how
    assert found(facts, preset=preset).message.endswith(f". {product_name(software)}: {how}")
    assert how not in found(facts, by_hand=True, preset=preset).message


@pytest.mark.parametrize(
    "facts", [SELF_SIGNED, Facts(stop=Stop(Phase.STARTTLS, Fault.NOT_OFFERED), replies=(GREETED,))]
)
def test_server_that_nobody_names_gets_advice_without_a_product(facts: Facts) -> None:
    """Advice for another server would only lead astray."""
    message = found(facts).message
    assert message
    assert not any(product_name(each) in message for each in Software if each is not Software.GENERIC)


def test_server_without_a_setting_of_its_own_adds_nothing_to_the_message() -> None:
    """Never that of another server."""
    heard = Reply(Phase.GREETING, 220, ("mx ESMTP OpenSMTPD",))
    facts = Facts(
        stop=Stop(Phase.STARTTLS, Fault.UNEXPECTED_REPLY, "454"), replies=(heard, Reply(Phase.STARTTLS, 454, ("no",)))
    )
    assert not any(product_name(each) in found(facts).message for each in Software if each is not Software.GENERIC)
