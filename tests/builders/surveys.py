"""Surveys to render: a good host, a broken one that says hostile things, a domain, and names without an answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from mailservers.certificates import Authority, Served
from mailtls.cli.output.text import text_report
from mailtls.cli.results import Omitted, Probed, Survey, SurveyedDomain
from mailtls.cli.targets import read_port
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Fault, Inspection, Login, LoginOutcome, Phase, Reply, Session, Stop
from mailtls.probe.target import Expected, Target
from mailtls.reasons.reason import Finding, Reason, Severity

NOW = datetime.now(UTC).replace(microsecond=0)
SERVED = Authority().issue()
HOSTILE = '[red]\x1b[2J\u202e</failure>"\\\n'


def seen(facts: Facts, host: str = "mx1.example.com", port: str = "25", address: str = "192.0.2.1") -> Probed:
    """Judge made-up facts as the prober does."""
    target = Target(address, read_port(port), host, pod=host)
    return Probed(judge(target, Expected(by_hand=True), facts, NOW), facts, "example.com")


def good(served: Served = SERVED) -> Probed:
    """A Postfix whose certificate clients accept."""
    chain = tuple(each.public_bytes(Encoding.DER) for each in served.chain)
    replies = (Reply(Phase.GREETING, 220, ("mx1.example.com ESMTP Postfix",)),)
    return seen(Facts(replies=replies, session=Session(chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384")))


def logged_in(outcome: LoginOutcome, said: str = "") -> Probed:
    """The same Postfix where users send, and what came of a trial login."""
    facts = good().facts
    return seen(replace(facts, inspection=Inspection(login=Login(outcome, said))), port="587")


def refused(host: str = "mx2.example.com") -> Probed:
    """A host with IPv6 that nobody answers on."""
    facts = Facts(stop=Stop(Phase.CONNECT, Fault.REFUSED, "Connection refused"))
    return seen(facts, host, "465", "2001:db8::2")


def domain(*findings: Finding) -> SurveyedDomain:
    """A domain in another script."""
    published = (("MX", "10 mx1.example.com (192.0.2.1)"), ("SPF", HOSTILE))
    return SurveyedDomain("xn--bcher-kva.example", "bücher.example", ("mx1.example.com",), published, findings)


MISSING = Finding(Reason.SPF_MISSING, "There is no SPF record.", Severity.WARN, subject="xn--bcher-kva.example")
ORPHAN = Finding(Reason.DNS_LOOKUP_FAILED, f"No address for {HOSTILE}.", evidence=HOSTILE, subject=HOSTILE)
NO_IPV6 = Omitted("2001:db8::9", "This machine has no way to 2001:db8::9.")
NO_ANSWER = Omitted("example.org", f"Nobody answered {HOSTILE}.", is_blind=True)


def survey(**parts: object) -> Survey:
    """A survey of these parts."""
    return Survey(NOW, timedelta(seconds=1.5), **parts)  # type: ignore[arg-type]


def everything() -> Survey:
    """A survey with one of each."""
    return survey(
        endpoints=(good(), refused()), domains=(domain(MISSING),), unresolved=(ORPHAN,), omitted=(NO_IPV6, NO_ANSWER)
    )


def text(found: Survey, *, quiet: bool = False) -> str:
    """Render as into a file of 100 columns."""
    file = StringIO()
    Console(file=file, width=100, markup=False, highlight=False).print(text_report(found, quiet=quiet))
    return file.getvalue()
