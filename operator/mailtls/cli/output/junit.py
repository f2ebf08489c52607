"""The report for CI systems: JUnit's XML, one suite for the endpoints of each host and one for the domains."""

from collections.abc import Iterable
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # only written, never read

from mailtls.cli.output.advice import advice_on
from mailtls.cli.output.words import manner, place, safe
from mailtls.cli.survey_result import Omitted, Seen, Survey, SurveyedDomain
from mailtls.reasons.reason import Finding, Severity


def junit_report(survey: Survey) -> bytes:
    """Write the survey as XML; warnings are output of a test that passes."""
    root = Element("testsuites", name="mailtls probe", time=f"{survey.took.total_seconds():.3f}")
    for host, found in groupby(survey.endpoints, lambda seen: seen.endpoint.target.pod):
        _suite(root, host, [_endpoint_case(seen) for seen in found])
    _suite(root, "mail domains", [_domain_case(domain) for domain in survey.domains])
    unresolved = [_case("names", finding.subject, [finding]) for finding in survey.unresolved]
    _suite(root, "names", unresolved + [_omitted_case(each) for each in (*survey.not_offered, *survey.omitted)])
    indent(root)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _suite(root: Element, name: str, cases: list[Element]) -> None:
    if not cases:
        return
    counts = {f"{kind}s": str(sum(case.find(kind) is not None for case in cases)) for kind in ("failure", "error")}
    skipped = str(sum(case.find("skipped") is not None for case in cases))
    suite = SubElement(root, "testsuite", {"name": safe(name), "tests": str(len(cases)), **counts, "skipped": skipped})
    suite.extend(cases)


def _endpoint_case(seen: Seen) -> Element:
    target = seen.endpoint.target
    name = f"{place(seen)} {manner(target.port)}"
    return _case(target.pod, name, seen.endpoint.findings, seen)


def _domain_case(domain: SurveyedDomain) -> Element:
    return _case("mail domains", domain.display_name, domain.findings)


def _case(group: str, name: str, findings: Iterable[Finding], seen: Seen | None = None) -> Element:
    case = Element("testcase", classname=safe(group), name=safe(name))
    failing = [finding for finding in findings if finding.severity is Severity.FAIL]
    if failing:
        first = failing[0]
        failure = SubElement(case, "failure", type=str(first.reason), message=safe(first.message))
        failure.text = "\n".join(_sentence(finding, seen) for finding in failing)
    warnings = [finding for finding in findings if finding.severity is Severity.WARN]
    if warnings:
        SubElement(case, "system-out").text = "\n".join(_sentence(finding, seen) for finding in warnings)
    return case


def _omitted_case(omitted: Omitted) -> Element:
    case = Element("testcase", classname="names", name=safe(omitted.subject))
    if omitted.is_blind:
        SubElement(case, "error", type="NotLookedAt", message=safe(omitted.why))
    else:
        SubElement(case, "skipped", message=safe(omitted.why))
    return case


def _sentence(finding: Finding, seen: Seen | None) -> str:
    """Say all that the report for people says, in sentences."""
    advice = advice_on(finding, seen)
    parts = {
        f"{finding.reason}: ": finding.message,
        "Seen: ": finding.evidence,
        "Users see: ": advice.symptom,
        "Fix: ": advice.whole_fix,
        "Rules: ": advice.all_rules,
    }
    return safe(" ".join(_ended(label + words) for label, words in parts.items() if words))


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
