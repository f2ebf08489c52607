"""Says in a few lines what a mail domain publishes, also where nothing is wrong with it."""

from collections.abc import Iterator

from mailtls.maildomain.checks.mta_sts import policy_of
from mailtls.maildomain.checks.sender_policy import dmarc_policy
from mailtls.maildomain.facts import DomainFacts
from mailtls.maildomain.records.mta_sts import ReportInvalid, parse_report
from mailtls.maildomain.records.spf import is_spf_record
from mailtls.reasons.quoting import quote, shorten

Line = tuple[str, str]


def describe_domain(facts: DomainFacts) -> tuple[Line, ...]:
    """Return pairs of a topic (MX, DANE, MTA-STS, TLSRPT, SPF, DMARC, DKIM) and what there is of it."""
    return (
        *_hosts(facts),
        *_dane(facts),
        ("MTA-STS", _sts(facts)),
        ("TLSRPT", _reports(facts)),
        ("SPF", _spf(facts)),
        ("DMARC", _dmarc(facts)),
        *(("DKIM", f"{selector}: {_first(answer.values)}") for selector, answer in facts.dkim.items()),
    )


def _hosts(facts: DomainFacts) -> Iterator[Line]:
    if facts.has_null_mx and not facts.mx:
        yield "MX", "takes no mail, and says so (MX 0 .)"
    elif not facts.mx:
        yield "MX", f"could not be looked up ({facts.mx_records.failure})" if facts.mx_records.failure else "none"
    for host in facts.mx:
        preference = "no MX record;" if facts.is_implicit_mx else str(host.preference)
        yield "MX", f"{preference} {shorten(host.name)} ({', '.join(host.addresses) or 'no address'})"
    if facts.mx_records.left_out:
        yield "MX", f"{facts.mx_records.left_out} more, which are not checked"


def _dane(facts: DomainFacts) -> Iterator[Line]:
    found = [(host, port, records) for host in facts.mx for port, records in host.tlsa.items() if records.values]
    if not found:
        yield "DANE", "no TLSA records"
    for host, port, records in found:
        parameters = ", ".join(dict.fromkeys(record.parameters for record in records.values))
        yield "DANE", f"{host.name}:{port}: {len(records.values)} TLSA ({parameters}), DNSSEC {records.dnssec}"


def _sts(facts: DomainFacts) -> str:
    policy = policy_of(facts)
    if policy:
        return f"mode {policy.mode} for {shorten(', '.join(policy.mx)) or 'no host'}, max_age {policy.max_age}"
    return "no policy that senders can use" if facts.sts_record.values or facts.sts_record.failure else "not published"


def _reports(facts: DomainFacts) -> str:
    for text in facts.tlsrpt.values:
        try:
            return f"reports go to {shorten(', '.join(parse_report(text)))}"
        except ReportInvalid:
            continue
    return "not published"


def _spf(facts: DomainFacts) -> str:
    found = [text for text in facts.spf.records.values if is_spf_record(text)]
    return f"{_first(found)} ({facts.spf.lookups} lookups)" if found else "not published"


def _dmarc(facts: DomainFacts) -> str:
    found = dmarc_policy(facts)
    if found is None:
        return "no record that receivers can use"
    name, record = found
    is_own = name == f"_dmarc.{facts.domain}"
    return f"policy {record.policy}" if is_own else f"policy {record.subdomain_policy}, from {name}"


def _first(texts: tuple[str, ...] | list[str]) -> str:
    return quote(texts[0].encode()) if texts else "no record"
