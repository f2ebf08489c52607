"""The pages of the reasons: one for each, and the list of all; made from what the operator says of them."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from contracts.reason_places import DOMAIN_HEALTHY, VERIFIED, Where, only_warn, where
from contracts.values_page import cell, prose
from mailtls.api.status import ConditionType
from mailtls.controller.conditions import BESIDE
from mailtls.reasons.advice import settings_for
from mailtls.reasons.explanations import EXPLANATIONS, SECTIONS
from mailtls.reasons.pages import file_of
from mailtls.reasons.reason import Explanation, Reason
from mailtls.reasons.recovery import RECOVERIES, Recovery
from mailtls.reasons.software import product_name

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = "docs/reference/reasons"
_HEAD: Final = """\
# Reasons

Conditions, events, metric labels and `status.endpoints` share these words. Each has a page with its cause, what users see and what to do;
`mailtls explain REASON` prints the same in a terminal. While a resource is not Ready, `Ready` has the reason of the first condition that
is not True.

"Out of it" says how a resource gets out of a reason, and so whether it has the condition `Reconciling` ("by itself") or `Stalled`
("a person"). Three orders in a row that fail for one reason make it Stalled, too, except for `RateLimited`.
What a mail domain publishes makes neither: it never makes a resource not Ready.
This page and those of the reasons are made from `operator/mailtls/reasons/`; do not edit them.
"""
_FOOT: Final = "<!-- Made from operator/mailtls/reasons/ by tests/contracts/render.py; do not edit. -->\n"
_OUT: Final = {Recovery.NOT_NEEDED: "", Recovery.AUTOMATIC: "by itself", Recovery.MANUAL: "a person"}
_RECOVERY: Final = {
    Recovery.NOT_NEEDED: "none is needed.",
    Recovery.AUTOMATIC: "mailtls goes on, or tries again, by itself. A resource that is not Ready for this reason is `Reconciling`.",
    Recovery.MANUAL: "a person has to act. A resource that is not Ready for this reason is `Stalled`.",
}  # fmt: skip
_READ: Final = ("how-to/*.md", "tutorials/*.md", "explanation/*.md", "reference/probe.md", "reference/domain-checks.md")
_HEADING: Final = re.compile(r"^#+ (?P<words>.*)$")
_BLOCK: Final = re.compile(r"(?ms)^ *```.*?^ *```$")
_CODE: Final = re.compile(r"`([A-Za-z]+)`")
_CONDITIONS: Final = frozenset(map(str, ConditionType))
_MEASURED: Final[Mapping[str, set[Reason]]] = {
    "mailtls_endpoint_certificate_matches) == 0": {Reason.SERVING_OLD_CERTIFICATE, Reason.UNEXPECTED_CERTIFICATE},
    "_not_after_timestamp_seconds) <= time()": {Reason.CERTIFICATE_EXPIRED},
}
"""What alerts measure themselves, and the reasons that say the same."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in the documentation that names a reason: the page, and the heading that the words are under."""

    page: Path
    title: str
    heading: str

    @property
    def link(self) -> str:
        """Write a link to it, from the page of a reason."""
        words = self.title if self.heading == self.title else f"{self.title}: {self.heading}"
        anchor = "" if self.heading == self.title else f"#{_anchor(self.heading)}"
        return f"[{words}]({os.path.relpath(self.page, ROOT / FOLDER)}{anchor})"


@dataclass(slots=True)
class Alert:
    """An alert rule, as far as it is about reasons: what it fires for, and which reasons silence it."""

    name: str
    conditions: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    silenced_by: set[str] = field(default_factory=set)
    of_endpoints: bool = False
    of_domains: bool = False

    def is_about(self, reason: Reason, place: Where) -> bool:
        """Whether the reason can make it fire."""
        if reason in self.silenced_by:
            return False
        about = bool(self.conditions & {str(each) for each in place.conditions})
        if reason in only_warn():
            return reason in self.reasons
        about |= self.of_endpoints and "status.endpoints" in place.fields
        about |= self.of_domains and "status.domains" in place.fields
        return reason in self.reasons or (about and RECOVERIES[reason] is not Recovery.NOT_NEEDED)


def index() -> str:
    """Return docs/reference/reasons.md: a line for each reason, in the order in which a certificate lives."""
    lines = [_HEAD]
    for title, members in SECTIONS.items():
        lines += [f"## {title}\n", "| reason | what it means | out of it |", "| --- | --- | --- |"]
        lines += [_row(reason) for reason in members]
        lines.append("")
    return "\n".join(lines)


def _row(reason: Reason) -> str:
    anchor = f'<a id="{reason.lower()}"></a>'  # where the reason stood while all were on one page
    meaning = cell(first_sentence(EXPLANATIONS[reason].meaning))
    return f"| {anchor}[`{reason}`](reasons/{reason}.md) | {meaning} | {_OUT[RECOVERIES[reason]]} |"


def first_sentence(text: str) -> str:
    """Return the first sentence; a full stop within one has no capital letter behind it."""
    return re.split(r"(?<=\.) (?=[A-Z])", text, maxsplit=1)[0]


def pages() -> Mapping[str, str]:
    """Return the page of each reason, by its file in the repository."""
    found, alerts = mentions(), alert_rules()
    return {file_of(reason): _page(reason, found.get(reason, ()), alerts) for reason in Reason}


def _page(reason: Reason, named: tuple[Mention, ...] | list[Mention], alerts: list[Alert]) -> str:
    known = EXPLANATIONS[reason]
    parts = [
        f"# {reason}",
        prose(known.meaning),
        *_seen(known),
        "## What to do",
        prose(known.fix),
        _settings(reason),
        f"**Recovery:** {_recovery(reason)}",
        "## Where you see it",
        "\n".join(f"- {line}" for line in _places(reason, alerts)),
        *_rules(known),
        *(("## Read more", "\n".join(f"- {each.link}" for each in named)) if named else ()),
        "[All reasons](../reasons.md)",
        _FOOT,
    ]
    return "\n\n".join(part for part in parts if part)


def _seen(known: Explanation) -> Iterator[str]:
    if known.symptom:
        yield f"**What users see:** {prose(known.symptom)}"
    if known.mailbox_symptom:
        yield f"**At ports for mail programs:** {prose(known.mailbox_symptom)}"


def _settings(reason: Reason) -> str:
    rows = [f"| {product_name(software)} | {cell(how)} |" for software, how in settings_for(reason).items()]
    return "\n".join(["| server | how |", "| --- | --- |", *rows]) if rows else ""


def _recovery(reason: Reason) -> str:
    words = _RECOVERY[RECOVERIES[reason]]
    if reason not in only_warn() and set(where(reason).conditions) - BESIDE:
        return words
    return re.sub(r"A resource that .*", "It never makes a resource not Ready.", words)


def _places(reason: Reason, alerts: list[Alert]) -> Iterator[str]:
    place = where(reason)
    if reason in only_warn() and VERIFIED in place.conditions:
        place = Where((), place.fields, "")
        yield "a warning, which makes no condition False"
    if reason in only_warn() and DOMAIN_HEALTHY in place.conditions:
        place = Where((), place.fields, "")
        yield "a warning, which the message of `DomainHealthy` counts"
    if place.conditions:
        yield f"condition {' or '.join(f'`{each}`' for each in place.conditions)}{place.how}"
    if place.fields:
        yield ", ".join(each if each[0].isupper() else f"`{each}`" for each in place.fields)
    about = [each.name for each in alerts if each.is_about(reason, where(reason))]
    if about:
        links = ", ".join(f"[{name}](../alerts/{name}.md)" for name in about)
        yield f"alerts, where it {'' if reason in only_warn() else 'fails and '}lasts: {links}"
    yield f"`mailtls explain {reason}` prints this page's words in a terminal"


def _rules(known: Explanation) -> Iterator[str]:
    if known.tlsrpt:
        yield f"Senders report it as `{known.tlsrpt}` (RFC 8460 section 4.3)."
    if known.rfc:
        yield f"Rules: {known.rfc}."


@cache
def mentions() -> Mapping[Reason, tuple[Mention, ...]]:
    """Find where guides and explanations name a reason: the first place of each page."""
    found: dict[Reason, dict[Path, Mention]] = {}
    for page in sorted(page for pattern in _READ for page in (ROOT / "docs").glob(pattern)):
        for reason, mention in _mentions_in(page):
            found.setdefault(reason, {}).setdefault(page, mention)
    return {reason: tuple(by_page.values()) for reason, by_page in found.items()}


def _mentions_in(page: Path) -> Iterator[tuple[Reason, Mention]]:
    title = heading = ""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if head := _HEADING.match(line):
            heading = head["words"].replace("`", "")
            title = title or heading
        for word in _CODE.findall(line):
            if word in _NAMES and word not in _CONDITIONS:
                yield Reason(word), Mention(page, title, heading)


_NAMES: Final = frozenset(map(str, Reason))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def alert_rules() -> list[Alert]:
    """Return the alerts of the chart, as far as they are about reasons."""
    text = (ROOT / "charts" / "mailtls" / "files" / "alerts.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{[^}]*\}+", "1", text)  # thresholds and pages
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return [_alert(rule) for rule in rules]


def _alert(rule: Mapping[str, Any]) -> Alert:
    fires, *silent = str(rule["expr"]).split("unless")
    silent = [re.sub(r'reason=~"[^"]*",severity="Warn"', "", each) for each in silent]  # where it fails, it fires
    measured = {reason for series, reasons in _MEASURED.items() if series in fires for reason in reasons}
    found = Alert(rule["alert"], reasons=_reasons(fires) | measured, silenced_by=_reasons(" ".join(silent)))
    for kinds in re.findall(r'type=~?"([^"]+)",status!="True"', fires):
        found.conditions |= set(kinds.split("|"))
    if "Ready" in found.conditions:  # it sums up the others; those that have alerts of their own silence it
        found.conditions |= {"Stored", "Verified"}
    found.of_endpoints = bool(re.search(r'mailtls_endpoint_finding\{severity="Fail"', fires))
    found.of_domains = bool(re.search(r'mailtls_domain_finding\{severity="Fail"', fires))
    return found


def _reasons(expression: str) -> set[str]:
    return {each for names in re.findall(r'reason=~?"([^"]+)"', expression) for each in names.split("|")}
