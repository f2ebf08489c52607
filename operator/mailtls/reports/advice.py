"""What to say beside a finding: by the protocol that was spoken, and the server that was seen or is usual there."""

import re
from dataclasses import dataclass
from typing import Final

from mailtls.model.explanations.explanation import EXPLANATIONS
from mailtls.model.reason import Explanation, Finding, Reason, Severity
from mailtls.model.survey import Seen
from mailtls.probe.target import RELAY_PORT, SUBMISSION_PORTS, Port, Protocol
from mailtls.reasons.advice import Server, product_name

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


def advice_on(finding: Finding, seen: Seen | None = None) -> Advice:
    """Advise on a finding about an endpoint, or where `seen` is None, about a domain or a name."""
    known = explanation(finding.reason)
    if seen is None:
        return Advice(known.fix, known.symptom, rfc=known.rfc, tlsrpt=finding.tlsrpt or known.tlsrpt)
    port = seen.endpoint.target.port
    server = product_name(seen.software or _usual(port.protocol))
    setting = {name.lower(): fix for name, fix in known.fixes.items()}.get(server.lower(), "")
    return Advice(
        known.fix,
        _symptom(known, finding, port),
        server if setting else "",
        setting,
        _rules(known.rfc, port.protocol),
        # Senders report about the hosts that a domain's MX records name (RFC 8460 section 1), so about port 25.
        finding.tlsrpt or known.tlsrpt if (port.protocol, port.port) == (Protocol.SMTP, RELAY_PORT) else "",
    )


def _usual(protocol: Protocol) -> Server:
    """The server to speak of where the greeting names none."""
    return Server.POSTFIX if protocol is Protocol.SMTP else Server.DOVECOT


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
