"""The report of a probe for other systems: Prometheus' text format, and JUnit's XML for CI."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # only written, never read

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailtls.cli.output.words import advice_on, manner, place, safe
from mailtls.cli.results import Omitted, Probed, Survey, SurveyedDomain, Verdict
from mailtls.probe.facts import LoginOutcome
from mailtls.reasons.reason import Finding, Severity

_PLACE: Final = ("host", "address", "port", "protocol")


def prometheus_report(survey: Survey) -> bytes:
    """Write the survey in the text format; what could not be looked at has no series but counts in `omitted`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Written(survey))
    return generate_latest(registry)


class _Written(Collector):
    """Hands the survey's metrics to the library, which knows the format and its escapes."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey

    def collect(self) -> Iterator[Metric]:
        yield from (self._run(), self._seconds(), self._omitted(), self._exit_code())
        yield from (self._endpoints(), self._expiry(), self._tls(), self._logins(), self._findings())
        yield from (self._domains(), self._domain_findings())

    def _run(self) -> Metric:
        at = self._survey.started_at.timestamp()
        return GaugeMetricFamily("mailtls_survey_started_timestamp_seconds", "When the probe ran.", value=at)

    def _seconds(self) -> Metric:
        took = self._survey.took.total_seconds()
        return GaugeMetricFamily("mailtls_survey_duration_seconds", "How long the probe took.", value=took)

    def _omitted(self) -> Metric:
        words = "How many names and addresses could not be looked at."
        return GaugeMetricFamily("mailtls_survey_omitted", words, value=len(self._survey.omitted))

    def _exit_code(self) -> Metric:
        code = self._survey.exit_code()
        return GaugeMetricFamily("mailtls_survey_exit_code", "Exit code of the probe: 0 is good.", value=code)

    def _endpoints(self) -> Metric:
        words = "1 when clients accept what the endpoint serves."
        family = GaugeMetricFamily("mailtls_survey_endpoint_ok", words, labels=_PLACE)
        for probed in self._survey.endpoints:
            family.add_metric(_place(probed), probed.verdict is not Verdict.FAIL)
        return family

    def _expiry(self) -> Metric:
        words = "When the served certificate expires; stays after it has."
        family = GaugeMetricFamily("mailtls_survey_endpoint_not_after_timestamp_seconds", words, labels=_PLACE)
        for probed in self._survey.endpoints:
            if probed.endpoint.served_not_after:
                family.add_metric(_place(probed), probed.endpoint.served_not_after.timestamp())
        return family

    def _tls(self) -> Metric:
        words = "TLS version and cipher that were agreed on; always 1."
        family = GaugeMetricFamily("mailtls_survey_endpoint_tls_info", words, labels=(*_PLACE, "version", "cipher"))
        for probed in self._survey.endpoints:
            if probed.endpoint.tls_version:
                family.add_metric((*_place(probed), probed.endpoint.tls_version, probed.endpoint.cipher or ""), 1)
        return family

    def _logins(self) -> Metric:
        words = "1 when the trial login was accepted; only where one was to be tried."
        family = GaugeMetricFamily("mailtls_survey_endpoint_login_ok", words, labels=_PLACE)
        for probed in self._survey.endpoints:
            if probed.login:
                family.add_metric(_place(probed), probed.login.outcome is LoginOutcome.ACCEPTED)
        return family

    def _findings(self) -> Metric:
        words = "1 for each finding about the endpoint."
        family = GaugeMetricFamily("mailtls_survey_endpoint_finding", words, labels=(*_PLACE, "reason", "severity"))
        for probed in self._survey.endpoints:
            for reason, severity in dict.fromkeys((each.reason, each.severity) for each in probed.endpoint.findings):
                family.add_metric((*_place(probed), reason, severity), 1)
        return family

    def _domains(self) -> Metric:
        words = "1 when nothing that the domain publishes fails."
        family = GaugeMetricFamily("mailtls_survey_domain_ok", words, labels=("domain",))
        for domain in self._survey.domains:
            family.add_metric((domain.name,), domain.verdict is not Verdict.FAIL)
        return family

    def _domain_findings(self) -> Metric:
        words = "1 for each finding about what the domain publishes."
        labels = ("domain", "reason", "severity")
        family = GaugeMetricFamily("mailtls_survey_domain_finding", words, labels=labels)
        for domain in self._survey.domains:
            for reason, severity in dict.fromkeys((each.reason, each.severity) for each in domain.findings):
                family.add_metric((domain.name, reason, severity), 1)
        return family


def _place(probed: Probed) -> tuple[str, str, str, str]:
    target = probed.endpoint.target
    return safe(target.pod), target.address, str(target.port.port), str(target.port.protocol)


def junit_report(survey: Survey) -> bytes:
    """Write the survey as XML; warnings are output of a test that passes."""
    root = Element("testsuites", name="mailtls probe", time=f"{survey.took.total_seconds():.3f}")
    for host, found in groupby(survey.endpoints, lambda probed: probed.endpoint.target.pod):
        _suite(root, host, [_endpoint_case(probed) for probed in found])
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


def _endpoint_case(probed: Probed) -> Element:
    target = probed.endpoint.target
    name = f"{place(probed)} {manner(target.port)}"
    return _case(target.pod, name, probed.endpoint.findings, probed)


def _domain_case(domain: SurveyedDomain) -> Element:
    return _case("mail domains", domain.display_name, domain.findings)


def _case(group: str, name: str, findings: Iterable[Finding], probed: Probed | None = None) -> Element:
    case = Element("testcase", classname=safe(group), name=safe(name))
    failing = [finding for finding in findings if finding.severity is Severity.FAIL]
    if failing:
        first = failing[0]
        failure = SubElement(case, "failure", type=str(first.reason), message=safe(first.message))
        failure.text = "\n".join(_sentence(finding, probed) for finding in failing)
    warnings = [finding for finding in findings if finding.severity is Severity.WARN]
    if warnings:
        SubElement(case, "system-out").text = "\n".join(_sentence(finding, probed) for finding in warnings)
    return case


def _omitted_case(omitted: Omitted) -> Element:
    case = Element("testcase", classname="names", name=safe(omitted.subject))
    if omitted.is_blind:
        SubElement(case, "error", type="NotLookedAt", message=safe(omitted.why))
    else:
        SubElement(case, "skipped", message=safe(omitted.why))
    return case


def _sentence(finding: Finding, probed: Probed | None) -> str:
    """Say all that the report for people says, in sentences."""
    advice = advice_on(finding, probed)
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
