"""What `probe` and `preflight` found, as the values that every report is made from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from mailtls.cli.errors import ExitCode
from mailtls.pki.served_certificate import ServedCertificate, read_served
from mailtls.probe.facts import Facts, Login, Phase
from mailtls.probe.target import Depth, Endpoint
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.reasons.software import Software, software_of


class Verdict(StrEnum):
    """How something is, in one word; `UNKNOWN`: nobody could look."""

    OK = "OK"
    WARN = "Warn"
    FAIL = "Fail"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Probed:
    """One endpoint with its verdict and the facts behind it; `domain` is the mail domain that led to it, or empty."""

    endpoint: Endpoint
    facts: Facts = field(default_factory=Facts)
    domain: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return worst(self.endpoint.findings)

    @property
    def leaf(self) -> ServedCertificate | None:
        """The served certificate, None when none was seen or it cannot be read."""
        return read_served(self.facts.session.chain[0]) if self.facts.session else None

    @property
    def software(self) -> Software | None:
        """The server, where it names itself."""
        return software_of(line for reply in self.facts.replies[:1] for line in reply.lines)

    @property
    def login(self) -> Login | None:
        """What came of the trial login, None where none was asked for."""
        return self.facts.inspection.login if self.facts.inspection else None

    @property
    def greeting(self) -> str:
        """The first line that the server said, quoted and bounded."""
        reply = self.facts.reply(Phase.GREETING)
        return reply.text if reply else ""


@dataclass(frozen=True, slots=True)
class SurveyedDomain:
    """One mail domain: the hosts that take its mail, what it publishes by topic (MX, DANE ...), and what is wrong."""

    name: str
    display_name: str
    hosts: tuple[str, ...] = ()
    published: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return worst(self.findings)


@dataclass(frozen=True, slots=True)
class Omitted:
    """Something that was asked for and not looked at; `why` is one sentence.

    `is_blind` says that it was not for the lack of a faculty of this machine alone, such as IPv6, but for want of any
    answer at all.
    """

    subject: str
    why: str
    is_blind: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that one run found, in the order in which it was asked.

    `not_offered` are ports that nobody named and nobody listens on, at a host that answers on others.
    """

    started_at: datetime
    took: timedelta
    depth: Depth = Depth.QUICK
    domains: tuple[SurveyedDomain, ...] = ()
    endpoints: tuple[Probed, ...] = ()
    unresolved: tuple[Finding, ...] = ()  # names that the DNS does not know, by `subject`
    omitted: tuple[Omitted, ...] = ()
    not_offered: tuple[Omitted, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, of domains, names and endpoints."""
        domains = (found for domain in self.domains for found in domain.findings)
        endpoints = (found for probed in self.endpoints for found in probed.endpoint.findings)
        return (*self.unresolved, *domains, *endpoints)

    @property
    def verdict(self) -> Verdict:
        """One word for all: a failure that was seen outweighs what could not be seen."""
        found = worst(self.findings)
        if found is not Verdict.FAIL and self._is_blind:
            return Verdict.UNKNOWN
        return found

    @property
    def _is_blind(self) -> bool:
        blocked = [_is_blocked(probed.endpoint) for probed in self.endpoints]
        saw_nothing = all(blocked) if blocked else not self.domains
        return saw_nothing or any(omitted.is_blind for omitted in self.omitted)

    def count(self, verdict: Verdict) -> int:
        """How many endpoints are like that."""
        return sum(probed.verdict is verdict for probed in self.endpoints)

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """The exit code for the shell; `strict` takes warnings for failures."""
        match self.verdict:
            case Verdict.FAIL:
                return ExitCode.FAULTY
            case Verdict.UNKNOWN:
                return ExitCode.BLIND
            case Verdict.WARN if strict:
                return ExitCode.FAULTY
        return ExitCode.GOOD


def _is_blocked(endpoint: Endpoint) -> bool:
    """Whether no packet came back: as good as not having asked."""
    return any(finding.reason is Reason.PORT_BLOCKED for finding in endpoint.findings)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict on something with these findings."""
    severities = {finding.severity for finding in findings}
    if Severity.FAIL in severities:
        return Verdict.FAIL
    return Verdict.WARN if Severity.WARN in severities else Verdict.OK


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at; `UNKNOWN`: it could not be, and the message says why."""

    topic: str
    verdict: Verdict
    message: str
    reason: Reason | None = None


def good(topic: str, message: str) -> Line:
    """It is well."""
    return Line(topic, Verdict.OK, message)


def doubtful(topic: str, message: str, reason: Reason | None = None) -> Line:
    """It may go wrong, or cannot be known from here."""
    return Line(topic, Verdict.WARN, message, reason)


def bad(topic: str, finding: Finding) -> Line:
    """It would go wrong."""
    return Line(topic, Verdict.FAIL, finding.message, finding.reason)


def unseen(topic: str, message: str) -> Line:
    """It could not be looked at."""
    return Line(topic, Verdict.UNKNOWN, message)


def exit_code(lines: Iterable[Line], *, strict: bool = False) -> ExitCode:
    """The exit code for the shell: a fault that was seen outweighs what could not be seen."""
    verdicts = {line.verdict for line in lines}
    if Verdict.FAIL in verdicts or (strict and Verdict.WARN in verdicts):
        return ExitCode.FAULTY
    return ExitCode.BLIND if Verdict.UNKNOWN in verdicts else ExitCode.GOOD
