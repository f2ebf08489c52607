"""What is said beside a finding: in the words of the protocol that was spoken, and of the server that was seen."""

import pytest

from builders.surveys import seen
from mailtls.cli.output.words import advice_on
from mailtls.cli.results import Probed
from mailtls.probe.facts import Facts, Fault, Phase, Reply, Stop
from mailtls.reasons.advice import setting
from mailtls.reasons.explanations import EXPLANATIONS
from mailtls.reasons.explanations.connecting import CONNECTING, STARTING_TLS
from mailtls.reasons.explanations.served import DEPTH, SERVED
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.reasons.software import Software

OF_PROBES = (*CONNECTING, *STARTING_TLS, *SERVED, *DEPTH)
OF_SENDERS = ("Gmail", "senders", "MTA-STS", "Mail to you", "Mail from")
SMTP_ALONE = ("RFC 3207", "RFC 4954", "RFC 5321", "RFC 7672", "RFC 8461")


def greeted(port: str, greeting: str = "") -> Probed:
    """An endpoint that offered no STARTTLS; its greeting names a server, or none."""
    replies = (Reply(Phase.GREETING, 220, (greeting,)),) if greeting else ()
    return seen(Facts(replies=replies, stop=Stop(Phase.STARTTLS, Fault.NOT_OFFERED, "IMAP4rev1")), port=port)


@pytest.mark.parametrize(
    ("port", "greeting", "server"),
    [
        ("25", "mx.example.com ESMTP Postfix", "Postfix"),
        ("587", "mx.example.com ESMTP Exim 4.98", "Exim"),
        ("25", "mx.example.com ESMTP OpenSMTPD", "OpenSMTPD"),
        ("143", "* OK Dovecot ready.", "Dovecot"),
    ],
)
def test_setting_is_that_of_the_server_that_names_itself(port: str, greeting: str, server: str) -> None:
    """Beside the general fix."""
    advice = advice_on(Finding(Reason.STARTTLS_NOT_ADVERTISED, "…"), greeted(port, greeting))
    known = EXPLANATIONS[Reason.STARTTLS_NOT_ADVERTISED]
    how = setting(Reason.STARTTLS_NOT_ADVERTISED, Software(server.lower()))
    assert (advice.fix, advice.server, advice.setting) == (known.fix, server, how)
    assert advice.whole_fix == f"{known.fix} {server}: {how}"


@pytest.mark.parametrize(("port", "greeting"), [("25", ""), ("110", "+OK ready"), ("4190", "")])
def test_server_that_does_not_name_itself_gets_the_general_fix_alone(port: str, greeting: str) -> None:
    """Advice for another server would only lead astray."""
    advice = advice_on(Finding(Reason.STARTTLS_NOT_ADVERTISED, "…"), greeted(port, greeting))
    assert (advice.server, advice.setting) == ("", "")
    assert advice.whole_fix == EXPLANATIONS[Reason.STARTTLS_NOT_ADVERTISED].fix


def test_server_without_a_setting_of_its_own_gets_the_general_fix_alone() -> None:
    """Never that of another server."""
    advice = advice_on(Finding(Reason.STARTTLS_UNAVAILABLE, "…"), greeted("25", "mx ESMTP OpenSMTPD"))
    assert (advice.server, advice.setting) == ("", "")
    assert advice.whole_fix == EXPLANATIONS[Reason.STARTTLS_UNAVAILABLE].fix


@pytest.mark.parametrize("reason", OF_PROBES)
def test_general_fix_names_no_setting_of_one_server(reason: Reason) -> None:
    """It is shown for every server; what holds for one stands under its name."""
    assert not any(setting in EXPLANATIONS[reason].fix for setting in ("smtpd_", "ssl_", "tls_", "master.cf"))


@pytest.mark.parametrize("port", ["465", "587", "143", "993", "110", "995", "4190"])
@pytest.mark.parametrize("reason", OF_PROBES)
def test_port_of_mail_programs_has_their_symptoms_and_no_tls_report(reason: Reason, port: str) -> None:
    """Nobody's Gmail delivers to port 993, and no sender reports about it (RFC 8460 section 1)."""
    advice = advice_on(Finding(reason, "…"), greeted(port))
    assert advice.tlsrpt == ""
    assert not any(words in advice.symptom for words in OF_SENDERS)
    assert advice.symptom == (EXPLANATIONS[reason].mailbox_symptom or EXPLANATIONS[reason].symptom)


@pytest.mark.parametrize("reason", Reason)
def test_rules_of_smtp_are_not_cited_for_imap(reason: Reason) -> None:
    """Each protocol has its own document on how TLS is started."""
    rules = advice_on(Finding(reason, "…"), greeted("143")).rfc
    assert not any(rule in rules for rule in SMTP_ALONE)
    starts = "RFC 3207" in EXPLANATIONS[reason].rfc
    assert not starts or "RFC 9051 section 6.2.1" in rules


@pytest.mark.parametrize(("port", "tlsrpt"), [("25", "starttls-not-supported"), ("24", ""), ("2525", ""), ("143", "")])
def test_tls_report_is_named_for_port_25_alone(port: str, tlsrpt: str) -> None:
    """Reports are about the hosts of MX records."""
    assert advice_on(Finding(Reason.STARTTLS_NOT_ADVERTISED, "…"), greeted(port)).tlsrpt == tlsrpt


def test_finding_may_tell_its_own_result_type() -> None:
    """One reason has several: what is wrong with the second certificate decides."""
    finding = Finding(Reason.SECOND_CERTIFICATE_STALE, "…", tlsrpt="certificate-host-mismatch")
    assert advice_on(finding, greeted("25")).tlsrpt == "certificate-host-mismatch"
    assert advice_on(Finding(Reason.SECOND_CERTIFICATE_STALE, "…"), greeted("25")).tlsrpt == ""


def test_domain_is_told_what_senders_report() -> None:
    """It has neither port nor server."""
    advice = advice_on(Finding(Reason.TLSA_INSECURE, "…"))
    assert (advice.tlsrpt, advice.setting) == ("dane-required", "")


@pytest.mark.parametrize(("severity", "is_shown"), [(Severity.FAIL, True), (Severity.WARN, False)])
def test_lmtp_is_seen_by_the_server_in_front_alone(severity: Severity, *, is_shown: bool) -> None:
    """No mail program and no stranger connects there."""
    advice = advice_on(Finding(Reason.CERTIFICATE_EXPIRED, "…", severity), greeted("24"))
    assert ("queue" in advice.symptom) is is_shown
    assert is_shown or advice.symptom == ""
