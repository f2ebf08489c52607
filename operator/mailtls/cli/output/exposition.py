"""The report for Prometheus: the text format, for node_exporter's textfile collector."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailtls.cli.output.words import safe
from mailtls.cli.survey_result import Seen, Survey, Verdict
from mailtls.probe.facts import LoginOutcome

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
        for seen in self._survey.endpoints:
            family.add_metric(_place(seen), seen.verdict is not Verdict.FAIL)
        return family

    def _expiry(self) -> Metric:
        words = "When the served certificate expires; stays after it has."
        family = GaugeMetricFamily("mailtls_survey_endpoint_not_after_timestamp_seconds", words, labels=_PLACE)
        for seen in self._survey.endpoints:
            if seen.endpoint.served_not_after:
                family.add_metric(_place(seen), seen.endpoint.served_not_after.timestamp())
        return family

    def _tls(self) -> Metric:
        words = "TLS version and cipher that were agreed on; always 1."
        family = GaugeMetricFamily("mailtls_survey_endpoint_tls_info", words, labels=(*_PLACE, "version", "cipher"))
        for seen in self._survey.endpoints:
            if seen.endpoint.tls_version:
                family.add_metric((*_place(seen), seen.endpoint.tls_version, seen.endpoint.cipher or ""), 1)
        return family

    def _logins(self) -> Metric:
        words = "1 when the trial login was accepted; only where one was to be tried."
        family = GaugeMetricFamily("mailtls_survey_endpoint_login_ok", words, labels=_PLACE)
        for seen in self._survey.endpoints:
            if seen.login:
                family.add_metric(_place(seen), seen.login.outcome is LoginOutcome.ACCEPTED)
        return family

    def _findings(self) -> Metric:
        words = "1 for each finding about the endpoint."
        family = GaugeMetricFamily("mailtls_survey_endpoint_finding", words, labels=(*_PLACE, "reason", "severity"))
        for seen in self._survey.endpoints:
            for reason, severity in dict.fromkeys((each.reason, each.severity) for each in seen.endpoint.findings):
                family.add_metric((*_place(seen), reason, severity), 1)
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


def _place(seen: Seen) -> tuple[str, str, str, str]:
    target = seen.endpoint.target
    return safe(target.pod), target.address, str(target.port.port), str(target.port.protocol)
