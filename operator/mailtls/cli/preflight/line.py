"""What a look before `kubectl apply` found: one line for each thing that was looked at."""

from collections.abc import Iterable
from dataclasses import dataclass

from mailtls.cli.errors import ExitCode
from mailtls.cli.survey_result import Verdict
from mailtls.reasons.reason import Finding, Reason


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
    """What to tell the shell: a fault that was seen outweighs what could not be seen."""
    verdicts = {line.verdict for line in lines}
    if Verdict.FAIL in verdicts or (strict and Verdict.WARN in verdicts):
        return ExitCode.FAULTY
    return ExitCode.BLIND if Verdict.UNKNOWN in verdicts else ExitCode.GOOD
