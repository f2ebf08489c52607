"""What to say beside a finding, by protocol and server, and what `mailtls explain` prints."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import fill
from typing import Final

from mailtls.cli.results import Probed
from mailtls.probe.checks.wording import usual_software
from mailtls.probe.target import RELAY_PORT, SUBMISSION_PORTS, Port, Protocol
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
    software = probed.software or usual_software(port.protocol)
    how = setting(finding.reason, software)
    return Advice(
        known.fix,
        _symptom(known, finding, port),
        product_name(software) if how else "",
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
    """List all reasons under the headings of docs/reasons.md, each with its meaning."""
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
