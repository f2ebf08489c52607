"""Words that all reports share, and what stands beside a finding; what a stranger sent is escaped here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from textwrap import fill, wrap
from typing import Final

from mailtls.cli.results import Line, Probed, Survey, Verdict
from mailtls.pki.served_certificate import ServedCertificate, key_band
from mailtls.probe.facts import Login, LoginOutcome
from mailtls.probe.target import RELAY_PORT, SUBMISSION_PORTS, Port, Protocol, TlsMode
from mailtls.reasons.advice import setting, settings_for
from mailtls.reasons.explanations import EXPLANATIONS, SECTIONS
from mailtls.reasons.reason import Explanation, Finding, Reason, Severity
from mailtls.reasons.software import product_name

_DELIVERY: Final = frozenset({Protocol.SMTP, Protocol.LMTP})
_QUEUED: Final = "Mail that was taken waits in the queue of the mail server in front, and comes back after days."
_OF_SMTP: Final = re.compile(r"RFC (?:3207|4954|5321|6409|7672|8461) sections? ")
# Where the other protocols say what RFC 3207 says of SMTP: how TLS is started, and what must be forgotten then.
_STARTING_TLS: Final = {
    Protocol.IMAP: "RFC 9051 section 6.2.1",
    Protocol.POP3: "RFC 2595 section 4",
    Protocol.SIEVE: "RFC 5804 section 2.2",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """The words beside a finding, empty where there are none; `setting` is how to do what `fix` says in `server`."""

    fix: str
    symptom: str = ""
    server: str = ""
    setting: str = ""
    rfc: str = ""
    tlsrpt: str = ""

    @property
    def whole_fix(self) -> str:
        """The fix and the setting in one."""
        return f"{self.fix} {self.server}: {self.setting}" if self.setting else self.fix

    @property
    def all_rules(self) -> str:
        """The sections that rule it, and the result type that senders report."""
        return ", ".join(part for part in (self.rfc, self.tlsrpt and f"TLSRPT {self.tlsrpt}") if part)


def explanation(reason: Reason) -> Explanation:
    """Return what the reason means; every reason has one, which a test holds."""
    return EXPLANATIONS.get(reason, Explanation("", ""))


def advice_on(finding: Finding, probed: Probed | None = None) -> Advice:
    """Advise on a finding about an endpoint, or where `probed` is None, about a domain or a name."""
    known = explanation(finding.reason)
    if probed is None:
        return Advice(known.fix, known.symptom, rfc=known.rfc, tlsrpt=finding.tlsrpt or known.tlsrpt)
    port = probed.endpoint.target.port
    software = probed.software
    how = setting(finding.reason, software) if software else ""
    return Advice(
        known.fix,
        _symptom(known, finding, port),
        product_name(software) if software and how else "",
        how,
        _rules(known.rfc, port.protocol),
        # Senders report about the hosts that a domain's MX records name (RFC 8460 section 1), so about port 25.
        finding.tlsrpt or known.tlsrpt if (port.protocol, port.port) == (Protocol.SMTP, RELAY_PORT) else "",
    )


def _symptom(known: Explanation, finding: Finding, port: Port) -> str:
    if port.protocol is Protocol.LMTP:  # no user and no stranger connects there
        return _QUEUED if finding.severity is Severity.FAIL else ""
    for_programs = port.protocol is not Protocol.SMTP or port.port in SUBMISSION_PORTS
    return (for_programs and known.mailbox_symptom) or known.symptom


def _rules(rfc: str, protocol: Protocol) -> str:
    """Leave out what rules SMTP alone where another protocol is spoken."""
    if protocol in _DELIVERY or not rfc:
        return rfc
    rules = rfc.split(", ")
    kept = [rule for rule in rules if not _OF_SMTP.match(rule)]
    if any(rule.startswith("RFC 3207 ") for rule in rules):
        kept.append(_STARTING_TLS[protocol])
    return ", ".join(kept)


WIDTH: Final = 80
_INDENT: Final = "  "


def explained(word: str) -> str | None:
    """Explain the reason of that name, in any case; None when there is none."""
    reason = next((each for each in Reason if each.lower() == word.strip().lower()), None)
    return None if reason is None else "\n".join(_parts(reason, EXPLANATIONS[reason])) + "\n"


def listed() -> str:
    """List all reasons under the headings of docs/reference/reasons.md, each with its meaning."""
    return "\n".join(_list()) + "\n"


def found(words: str) -> str | None:
    """List the reasons whose explanations hold all of the words, those that users see first; None when none does."""
    wanted = words.lower().split()
    by_symptom = [each for each in Reason if _holds(EXPLANATIONS[each].symptoms, wanted)]
    others = [each for each in Reason if each not in by_symptom and _holds(_all_words(EXPLANATIONS[each]), wanted)]
    if not wanted or not by_symptom + others:
        return None
    return "\n".join(line for reason in by_symptom + others for line in _entry(reason)) + "\n"


def _holds(text: str, wanted: Iterable[str]) -> bool:
    return all(word in text.lower() for word in wanted)


def _all_words(known: Explanation) -> str:
    return f"{known.symptoms} {known.meaning}"


def _entry(reason: Reason) -> tuple[str, str]:
    return f"{_INDENT}{reason}", _filled(EXPLANATIONS[reason].meaning, _INDENT * 3)


def _parts(reason: Reason, known: Explanation) -> Iterator[str]:
    yield from (str(reason), "", _paragraph(known.meaning))
    if known.symptom:
        yield from ("", "What users see:", _paragraph(known.symptom))
    if known.mailbox_symptom:
        yield from ("", "At ports for mail programs (IMAP, POP3, submission):", _paragraph(known.mailbox_symptom))
    yield from ("", "What to do:", _paragraph(known.fix))
    for software, how in settings_for(reason).items():
        yield from ("", f"With {product_name(software)}:", _paragraph(how))
    if known.rfc:
        yield from ("", f"Rules: {known.rfc}")
    if known.tlsrpt:
        yield from ("", f"Senders report it as {known.tlsrpt} (RFC 8460 section 4.3).")


def _paragraph(text: str) -> str:
    return _filled(text, _INDENT)


def _list() -> Iterator[str]:
    for number, (section, reasons) in enumerate(SECTIONS.items()):
        yield from ([""] if number else [])
        yield section
        for reason in reasons:
            yield from _entry(reason)


def _filled(text: str, indent: str) -> str:
    """Break lines between words only: what is split at a hyphen cannot be copied."""
    return fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


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
