"""Words that all reports share; everything that a stranger sent is escaped here."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Final

from mailtls.cli.output.advice import explanation
from mailtls.cli.results import Line, Probed, Survey, Verdict
from mailtls.pki.served_certificate import ServedCertificate, key_band
from mailtls.probe.facts import Login, LoginOutcome
from mailtls.probe.target import Port, TlsMode

_WIDTH: Final = 110
_TOPIC: Final = 10
_MARKS: Final = {Verdict.UNKNOWN: "????"}


def preflight_line(line: Line) -> str:
    """Write one line, wrapped under its beginning; faults end in the reason, and what to do about it."""
    mark = _MARKS.get(line.verdict, line.verdict.upper())
    head = f"{mark:<5}{line.topic:<{_TOPIC}} "
    said = [f"{line.message}{f' ({line.reason})' if line.reason else ''}"]
    if line.verdict is Verdict.FAIL and line.reason:
        said.append(f"Fix: {explanation(line.reason).fix}")
    room, margin = _WIDTH - len(head), " " * len(head)
    lines = [part for text in said for part in wrap(safe(text), room, break_on_hyphens=False)]
    return head + f"\n{margin}".join(lines)


def preflight_summary(lines: Iterable[Line]) -> str:
    """Count what was found."""
    verdicts = [line.verdict for line in lines]
    words = ((Verdict.OK, "good"), (Verdict.WARN, "doubtful"), (Verdict.FAIL, "failing"), (Verdict.UNKNOWN, "not seen"))
    return ", ".join(f"{verdicts.count(each)} {word}" for each, word in words if each in verdicts) + "."


_DAY: Final = timedelta(days=1)
_LOGINS: Final = {
    LoginOutcome.ACCEPTED: "accepted",
    LoginOutcome.REFUSED: "refused",
    LoginOutcome.UNAVAILABLE: "refused for now",
    LoginOutcome.TLS_WANTED: "refused for want of TLS, which is there",
    LoginOutcome.NOT_OFFERED: "not tried, as no way that we know is offered",
    LoginOutcome.UNPROVEN: "not tried, as the server did not prove who it is",
    LoginOutcome.NOT_REACHED: "not tried, as the probe did not come that far",
    LoginOutcome.INCOMPLETE: "incomplete",
}
_MODES: Final = {TlsMode.START_TLS: "STARTTLS", TlsMode.IMPLICIT: "implicit TLS"}


def safe(text: str) -> str:
    r"""Escape what could move a cursor, turn the direction of a line, or break XML: `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def place(probed: Probed) -> str:
    """Write where it was: `192.0.2.1:25`, `[2001:db8::1]:25`."""
    target = probed.endpoint.target
    address = f"[{target.address}]" if ":" in target.address else target.address
    return f"{address}:{target.port.port}"


def manner(port: Port) -> str:
    """Write how a port was spoken to: `SMTP, STARTTLS, opportunistic`."""
    return f"{port.protocol.upper()}, {_MODES[port.tls_mode]}, {port.tls_policy.lower()}"


def key_words(served: ServedCertificate) -> str:
    """Write which key a certificate has, and what NCSC thinks of it: `RSA 2048, phase out (NCSC)`."""
    band = key_band(served.key_kind, served.key_bits)
    return f"{served.key_kind} {served.key_bits}, {band} (NCSC)" if band else "neither RSA nor ECDSA"


def login_words(login: Login) -> str:
    """Write what came of a trial login: accepted, refused, or not tried, and why."""
    words = _LOGINS[login.outcome]
    return f"{words} ({login.said})" if login.said else words


def days_left(not_after: datetime, now: datetime) -> int:
    """Whole days until then, negative when it is past for a day or more."""
    return int((not_after - now) / _DAY)


def summary(survey: Survey) -> str:
    """Put everything into one line."""
    parts = [_counted(len(survey.endpoints), "endpoint")]
    for verdict, word in ((Verdict.OK, "good"), (Verdict.WARN, "with warnings"), (Verdict.FAIL, "failing")):
        if count := survey.count(verdict):
            parts.append(f"{count} {word}")
    parts.extend(f"{safe(domain.display_name)} {_about(domain.verdict)}" for domain in survey.domains)
    if survey.unresolved:
        parts.append(f"{_counted(len(survey.unresolved), 'name')} unknown")
    if survey.not_offered:
        parts.append(f"{_counted(len(survey.not_offered), 'port')} not offered")
    if survey.omitted:
        parts.append(f"{len(survey.omitted)} not looked at")
    return f"{_HEADLINE[survey.verdict]}: {', '.join(parts)}; {survey.took.total_seconds():.1f} s."


_HEADLINE: Final = {
    Verdict.OK: "All is well",
    Verdict.WARN: "Well, with warnings",
    Verdict.FAIL: "Something fails",
    Verdict.UNKNOWN: "Could not look",
}


def _about(verdict: Verdict) -> str:
    return {Verdict.OK: "publishes what it should", Verdict.WARN: "has warnings"}.get(verdict, "has faults")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
