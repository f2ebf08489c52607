"""The verdict of a survey, its exit code, and its renderings: stable, and safe whatever a server says."""

import json
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft7Validator, ValidationError
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from builders import surveys
from builders.surveys import (
    HOSTILE,
    MISSING,
    NO_ANSWER,
    NO_IPV6,
    NOW,
    ORPHAN,
    domain,
    good,
    logged_in,
    refused,
    survey,
    text,
)
from mailtls.cli.output.exports import junit_report, prometheus_report
from mailtls.cli.output.machine import json_report, json_schema
from mailtls.cli.output.words import days_left, safe
from mailtls.cli.results import Survey, Verdict
from mailtls.probe.facts import LoginOutcome
from mailtls.reasons.explanations import EXPLANATIONS
from mailtls.reasons.reason import Finding, Reason
from mailtls.reasons.software import Software, software_of

CASES = {
    "good": (survey(endpoints=(good(),)), Verdict.OK, 0, 0),
    "a port of two fails": (survey(endpoints=(good(), refused())), Verdict.FAIL, 1, 1),
    "warnings": (survey(domains=(domain(MISSING),)), Verdict.WARN, 0, 1),
    "unknown name": (survey(unresolved=(ORPHAN,)), Verdict.FAIL, 1, 1),
    "no resolver": (survey(omitted=(NO_ANSWER,)), Verdict.UNKNOWN, 3, 3),
    "one of two names unanswered": (survey(endpoints=(good(),), omitted=(NO_ANSWER,)), Verdict.UNKNOWN, 3, 3),
    "a fault that was seen counts more": (survey(endpoints=(refused(),), omitted=(NO_ANSWER,)), Verdict.FAIL, 1, 1),
    "no IPv6 here": (survey(endpoints=(good(),), omitted=(NO_IPV6,)), Verdict.OK, 0, 0),
    "nothing but IPv6": (survey(omitted=(NO_IPV6,)), Verdict.UNKNOWN, 3, 3),
}
EVERYTHING = surveys.everything()


@pytest.mark.parametrize("name", CASES)
def test_survey_earns_its_verdict_and_exit_code(name: str) -> None:
    """Cron and CI can tell a fault from not having been able to look, and ignore what this machine cannot do."""
    found, verdict, code, strict = CASES[name]
    assert (found.verdict, found.exit_code(), found.exit_code(strict=True)) == (verdict, code, strict)


def test_text_report_of_a_good_endpoint_is_as_documented() -> None:
    """The whole block, word by word."""
    leaf = good().leaf
    assert leaf is not None
    assert text(survey(endpoints=(good(),))) == (
        "OK   mx1.example.com  192.0.2.1:25  SMTP, STARTTLS, opportunistic\n"
        "     greeting      220 mx1.example.com ESMTP Postfix\n"
        "     TLS           TLSv1.3, TLS_AES_256_GCM_SHA384\n"
        "     certificate   CN=mx1.example.com\n"
        "     key           ECDSA 256, good (NCSC)\n"
        "     names         mx1.example.com\n"
        "     issuer        CN=Test Root Intermediate\n"
        f"     valid until   {leaf.not_after:%Y-%m-%d %H:%M} UTC, {days_left(leaf.not_after, NOW)} days left\n"
        f"     SHA-256       {leaf.sha256}\n"
        "\n"
        "All is well: 1 endpoint, 1 good; 1.5 s.\n"
    )


def test_text_report_of_a_fault_says_why_what_users_see_and_what_to_do() -> None:
    """The block of a finding, word by word."""
    shown = text(survey(domains=(domain(MISSING),)))
    known = EXPLANATIONS[Reason.SPF_MISSING]
    assert "WARN bücher.example (xn--bcher-kva.example)  mail domain\n" in shown
    assert "  WARN SpfMissing  xn--bcher-kva.example\n     why           There is no SPF record.\n" in shown
    for words in (known.symptom, known.fix, known.rfc):
        assert " ".join(words.split()) in " ".join(shown.split())


def test_text_report_shows_markup_and_control_characters_as_they_are() -> None:
    """A server must not color, move or turn around what a postmaster reads."""
    shown = text(EVERYTHING)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]\\x1b[2J\\u202e</failure>" in shown


def test_quiet_report_leaves_out_what_is_well() -> None:
    """Cron's mail is about faults alone."""
    shown = text(survey(endpoints=(good(), refused())), quiet=True)
    assert "mx1.example.com" not in shown
    assert "mx2.example.com  [2001:db8::2]:465  SMTP, implicit TLS, enforced" in shown


@pytest.mark.parametrize("found", [EVERYTHING, *(case[0] for case in CASES.values())])
def test_json_report_fits_its_schema(found: Survey) -> None:
    """Programs can rely on the shape, which the package brings along."""
    report = json.loads(json_report(found))
    Draft7Validator(json_schema()).validate(report)
    assert report["exitCode"] == found.exit_code()
    assert len(report["endpoints"]) == len(found.endpoints)


def test_json_schema_refuses_unknown_fields() -> None:
    """The schema says something: a field that nobody documented is an error."""
    report = json.loads(json_report(EVERYTHING))
    report["endpoints"][0]["surprise"] = 1
    with pytest.raises(ValidationError):
        Draft7Validator(json_schema()).validate(report)


def test_json_report_has_fix_and_evidence_of_each_finding() -> None:
    """All that a person reads is there for programs too."""
    report = json.loads(json_report(EVERYTHING))
    (finding,) = report["unresolved"]
    assert finding["fix"] == EXPLANATIONS[Reason.DNS_LOOKUP_FAILED].fix
    assert finding["evidence"] == safe(HOSTILE)


def test_junit_report_parses_and_counts_what_fails() -> None:
    """CI systems show one failing test per endpoint, with reason and fix."""
    root = ET.fromstring(junit_report(EVERYTHING))  # noqa: S314 - our own
    failures = {case.get("name"): case.find("failure") for case in root.iter("testcase")}
    failing = failures["[2001:db8::2]:465 SMTP, implicit TLS, enforced"]
    assert failing is not None
    assert failing.get("type") == "ConnectionRefused"
    assert EXPLANATIONS[Reason.CONNECTION_REFUSED].fix in (failing.text or "")
    assert sum(int(suite.get("failures", 0)) for suite in root) == 2
    assert (len(list(root.iter("error"))), len(list(root.iter("skipped")))) == (1, 1)
    assert failures["192.0.2.1:25 SMTP, STARTTLS, opportunistic"] is None


def test_junit_report_says_what_users_see_and_which_rules_there_are() -> None:
    """The same as the report for people, in sentences that end."""
    mismatch = Finding(Reason.TLSA_MISMATCH, "No record matches", evidence="3 1 1 ab…, issued by X")
    root = ET.fromstring(junit_report(survey(domains=(domain(mismatch),))))  # noqa: S314 - our own
    text, known = next(root.iter("failure")).text or "", EXPLANATIONS[Reason.TLSA_MISMATCH]
    assert text.startswith("TlsaMismatch: No record matches. Seen: 3 1 1 ab…, issued by X. Users see: ")
    assert known.symptom in text
    assert text.endswith(f"Rules: {known.rfc}, TLSRPT {known.tlsrpt}.")


def parsed(found: Survey) -> dict[str, list[Sample]]:
    """Read the metrics as Prometheus' own library does."""
    written = prometheus_report(found).decode()
    return {each.name: each.samples for each in text_string_to_metric_families(written)}


def test_prometheus_report_parses_with_every_endpoint() -> None:
    """node_exporter would refuse the whole file for one wrong line."""
    families = parsed(EVERYTHING)
    ok = {sample.labels["host"]: sample.value for sample in families["mailtls_survey_endpoint_ok"]}
    assert ok == {"mx1.example.com": 1, "mx2.example.com": 0}
    (finding,) = families["mailtls_survey_endpoint_finding"]
    assert (finding.labels["reason"], finding.labels["severity"]) == ("ConnectionRefused", "Fail")
    assert families["mailtls_survey_exit_code"][0].value == 1


@pytest.mark.parametrize(
    ("outcome", "said", "row"),
    [
        (LoginOutcome.ACCEPTED, "235 2.7.0", "login         accepted (235 2.7.0)"),
        (LoginOutcome.REFUSED, "535 5.7.8", "login         refused (535 5.7.8)"),
        (LoginOutcome.UNPROVEN, "", "login         not tried, as the server did not prove who it is"),
    ],
)
def test_every_report_tells_what_came_of_a_login(outcome: LoginOutcome, said: str, row: str) -> None:
    """Who asked for a login wants to read that it was tried, also where all is well."""
    found = survey(endpoints=(logged_in(outcome, said), refused()))
    assert row in text(found)
    assert [each["login"] for each in json.loads(json_report(found))["endpoints"]] == [outcome, None]
    (sample,) = parsed(found)["mailtls_survey_endpoint_login_ok"]
    assert (sample.labels["port"], sample.value) == ("587", outcome is LoginOutcome.ACCEPTED)


def test_every_outcome_of_a_login_fits_the_schema() -> None:
    """An outcome that the schema does not know would break who checks reports by it."""
    found = survey(endpoints=tuple(logged_in(outcome) for outcome in LoginOutcome))
    Draft7Validator(json_schema()).validate(json.loads(json_report(found)))


def test_prometheus_report_escapes_hostile_labels() -> None:
    """A name with quotes and line breaks stays one label."""
    found = survey(endpoints=(refused(HOSTILE),))
    families = parsed(found)
    assert families["mailtls_survey_endpoint_ok"][0].labels["host"] == safe(HOSTILE)


@pytest.mark.parametrize(
    ("greeting", "software"),
    [
        ("mx1.example.com ESMTP Postfix (Debian/GNU)", Software.POSTFIX),
        ("mx ESMTP Exim 4.98 Tue, 24 Nov 2026", Software.EXIM),
        ("mail.example.com ESMTP OpenSMTPD", Software.OPENSMTPD),
        ("[CAPABILITY IMAP4rev1] Dovecot ready.", Software.DOVECOT),
        ("[CAPABILITY IMAP4rev1] Courier-IMAP ready. Copyright 1998-2024 Double Precision, Inc.", Software.COURIER),
        ("mx1 Cyrus IMAP 3.10.2-Debian-3.10.2-1 server ready", Software.CYRUS),
        ("mx1.example.com ESMTP Sendmail 8.17.1.9/8.17.1.9/Debian-2+deb12u2; Mon, 30 Nov 2026", Software.SENDMAIL),
        ("postfix.example.com ESMTP mox v0.0.17", Software.MOX),
        ("mox.example.com ESMTP", None),
        ("mx.example.com ESMTP", None),
    ],
)
def test_software_is_told_by_its_greeting(greeting: str, software: Software | None) -> None:
    """Real greetings name their server, or do not."""
    assert software_of([greeting]) is software


def test_days_are_counted_in_whole_days() -> None:
    """A certificate that expired an hour ago is not a day over."""
    leaf = good().leaf
    assert leaf is not None
    assert days_left(NOW, NOW) == 0
    assert days_left(leaf.not_after, NOW) in {88, 89}
    assert days_left(NOW, leaf.not_after) in {-88, -89}
