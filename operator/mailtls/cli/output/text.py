"""The report for people, as rich lays it out; nothing in it is taken for markup, wherever it comes from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

from mailtls.cli.output.words import advice_on, days_left, key_words, login_words, manner, place, safe, summary
from mailtls.cli.results import Omitted, Probed, Survey, SurveyedDomain, Verdict
from mailtls.pki.served_certificate import ServedCertificate
from mailtls.reasons.reason import Finding, Severity
from mailtls.times import format_minute

NAMES_SHOWN: Final = 8
STYLES: Final = {
    Verdict.OK: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.UNKNOWN: "bold magenta",
}
_LABEL_WIDTH: Final = 13
_NARROWEST: Final = 20
_SEVERITIES: Final = {Severity.FAIL: Verdict.FAIL, Severity.WARN: Verdict.WARN}


def text_report(survey: Survey, *, quiet: bool = False) -> RenderableType:
    """Lay out everything; `quiet` leaves out what is well."""
    blocks = list(_blocks(survey, quiet=quiet))
    last = Text(summary(survey), style=STYLES[survey.verdict])
    return Group(*(part for block in blocks for part in (block, Text())), last)


def _blocks(survey: Survey, *, quiet: bool) -> Iterator[RenderableType]:
    if survey.unresolved:
        yield from (finding_block(finding, None, finding.subject) for finding in survey.unresolved)
    for probed in survey.endpoints:
        if not quiet or probed.verdict is not Verdict.OK:
            yield endpoint_block(probed)
    for domain in survey.domains:
        if not quiet or domain.verdict is not Verdict.OK:
            yield domain_block(domain)
    if survey.not_offered and not quiet:
        yield omitted_block(survey.not_offered, "Not offered")
    if survey.omitted:
        yield omitted_block(survey.omitted)


def endpoint_block(probed: Probed) -> RenderableType:
    """One address and port: what it serves, then what is wrong."""
    target = probed.endpoint.target
    head = _head(probed.verdict, f"{safe(target.pod)}  {place(probed)}", manner(target.port))
    return Group(head, _rows(_facts(probed)), *_findings(probed.endpoint.findings, probed))


def domain_block(domain: SurveyedDomain) -> RenderableType:
    """One mail domain: what it publishes, then what is wrong with that."""
    shown = domain.display_name if domain.display_name == domain.name else f"{domain.display_name} ({domain.name})"
    head = _head(domain.verdict, safe(shown), "mail domain")
    return Group(head, _rows(domain.published), *_findings(domain.findings, None))


def omitted_block(omitted: Iterable[Omitted], title: str = "Not looked at") -> RenderableType:
    """What was not looked at or is not there, and why."""
    lines = [Text(f"  {safe(each.why)}", style="bold magenta" if each.is_blind else "dim") for each in omitted]
    return Group(Text(title, style="bold"), *lines)


def finding_block(finding: Finding, probed: Probed | None, subject: str = "") -> RenderableType:
    """One finding: the sentence, what was seen, what users see of it, what to do, and the rules behind it."""
    verdict = _SEVERITIES[finding.severity]
    title = Text.assemble((f"{_marker(verdict)} ", STYLES[verdict]), (str(finding.reason), "bold"))
    if subject:
        title.append(f"  {safe(subject)}")
    advice = advice_on(finding, probed)
    rows = [
        ("why", finding.message),
        ("seen", finding.evidence),
        ("users see", advice.symptom),
        ("fix", advice.fix),
        (f"in {advice.server}", advice.setting),
        ("rules", advice.all_rules),
    ]
    return Group(Text("  ").append_text(title), _rows([row for row in rows if row[1]]))


def _findings(findings: Iterable[Finding], probed: Probed | None) -> Iterator[RenderableType]:
    for finding in findings:
        yield finding_block(finding, probed, finding.subject)


def _head(verdict: Verdict, what: str, how: str) -> Text:
    return Text.assemble((f"{_marker(verdict)} ", STYLES[verdict]), (what, "bold"), (f"  {how}", "dim"))


def _marker(verdict: Verdict) -> str:
    return f"{verdict.upper():<4}"


def _facts(probed: Probed) -> Iterator[tuple[str, str]]:
    endpoint = probed.endpoint
    if probed.greeting:
        yield "greeting", probed.greeting
    if endpoint.tls_version:
        yield "TLS", f"{endpoint.tls_version}, {endpoint.cipher}"
    if probed.login:
        yield "login", login_words(probed.login)
    if probed.leaf:
        yield from _certificate(probed.leaf, endpoint.checked_at)


def _certificate(leaf: ServedCertificate, now: datetime) -> Iterator[tuple[str, str]]:
    yield "certificate", leaf.subject or "no subject"
    yield "key", key_words(leaf)
    more = f" and {len(leaf.identities) - NAMES_SHOWN} more" if len(leaf.identities) > NAMES_SHOWN else ""
    yield "names", (", ".join(leaf.identities[:NAMES_SHOWN]) or "none") + more
    yield "issuer", leaf.issuer
    yield (
        "valid until",
        f"{format_minute(leaf.not_after)}, {_left(days_left(leaf.not_after, now), is_past=leaf.not_after < now)}",
    )
    yield "SHA-256", leaf.sha256


def _left(days: int, *, is_past: bool) -> str:
    if is_past:
        return "expired" if days == 0 else f"expired {_days(-days)} ago"
    return f"{_days(days)} left"


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


@dataclass(frozen=True, slots=True)
class _Rows:
    """Labelled lines; long values go on under their beginning, and no line ends in blanks."""

    rows: tuple[tuple[str, str], ...]
    indent: int

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Text]:
        margin = self.indent + _LABEL_WIDTH + 1
        width = max(options.max_width - margin, _NARROWEST)
        for label, value in self.rows:
            first, *others = wrap(safe(value), width, break_on_hyphens=False) or [""]
            yield Text.assemble(" " * self.indent, (f"{label:<{_LABEL_WIDTH}} ", "dim"), first)
            yield from (Text(f"{' ' * margin}{other}") for other in others)


def _rows(rows: Iterable[tuple[str, str]], indent: int = 5) -> RenderableType:
    return _Rows(tuple(rows), indent)
