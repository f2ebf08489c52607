"""Checks on SPF, DMARC and DKIM: do receivers trust the domain's mail. They only warn: TLS does not depend on them."""

from collections.abc import Iterator
from typing import Final

from mailtls.maildomain.facts import DomainFacts, Published
from mailtls.maildomain.records.dkim import DkimInvalid, DkimKey, is_dkim_record, parse_dkim
from mailtls.maildomain.records.dmarc import DmarcInvalid, DmarcRecord, is_dmarc_record, parse_dmarc
from mailtls.maildomain.records.spf import MOST_LOOKUPS, MOST_VOIDS, SpfInvalid, SpfRecord, is_spf_record, parse_spf
from mailtls.net.answer import Records
from mailtls.reasons.quoting import quote, quote_all, shorten
from mailtls.reasons.reason import Finding, Reason, Severity

_RSA_LEAST: Final = 1024  # RFC 8301 section 3.2: verifiers take no less
_RSA_GOOD: Final = 2048


def spf_is_missing(published: Published) -> Iterator[Finding]:
    """No record says which servers send the domain's mail."""
    facts = published.facts
    if not facts.spf.records.failure and not _spf_texts(facts) and not published.is_empty:
        wanted = "v=spf1 mx -all" if published.takes_mail else "v=spf1 -all"
        yield _warning(
            facts,
            Reason.SPF_MISSING,
            f"{facts.display_name} has no SPF record, so receivers cannot distinguish its servers from others: publish "
            f"the TXT record «{wanted}», with all servers that send for it.",
        )


def spf_records_are_many(published: Published) -> Iterator[Finding]:
    """More than one record is an error for receivers (RFC 7208 section 4.5)."""
    facts, found = published.facts, _spf_texts(published.facts)
    if len(found) > 1:
        yield _warning(
            facts,
            Reason.SPF_MULTIPLE,
            f"{facts.display_name} has {len(found)} SPF records, and receivers treat that as an error: merge them.",
            quote_all(found),
        )


def spf_is_invalid(published: Published) -> Iterator[Finding]:
    """The record, or one that it includes, cannot be evaluated (RFC 7208 section 2.6.7: permerror)."""
    facts, found = published.facts, _spf_texts(published.facts)
    if len(found) != 1:
        return
    faults = list(facts.spf.faults)
    try:
        parse_spf(found[0])
    except SpfInvalid as invalid:
        faults.insert(0, str(invalid))
    if faults:
        yield _warning(
            facts,
            Reason.SPF_INVALID,
            f"Receivers cannot evaluate the SPF record of {facts.display_name}: {shorten(faults[0])}.",
            quote(found[0].encode()),
        )


def spf_allows_everybody(published: Published) -> Iterator[Finding]:
    """`+all` lets the whole world send in the domain's name."""
    record = _spf(published.facts)
    if record and record.allows_all:
        yield _warning(
            published.facts,
            Reason.SPF_ALLOWS_ALL,
            f"The SPF record of {published.facts.display_name} allows every sender (+all): end it with ~all or -all.",
        )


def spf_has_too_many_lookups(published: Published) -> Iterator[Finding]:
    """Receivers stop at ten lookups, and treat the record as broken (RFC 7208 section 4.6.4)."""
    spf = published.facts.spf
    if spf.lookups > MOST_LOOKUPS:
        number = f"at least {spf.lookups}" if spf.is_cut else str(spf.lookups)
        yield _warning(
            published.facts,
            Reason.SPF_TOO_MANY_LOOKUPS,
            f"The SPF record of {published.facts.display_name} needs {number} DNS lookups, and receivers stop at "
            f"{MOST_LOOKUPS}: remove includes of services that you no longer use, or write addresses (ip4:, ip6:).",
        )


def spf_has_void_lookups(published: Published) -> Iterator[Finding]:
    """Names without records count against a limit of two (RFC 7208 section 4.6.4)."""
    voids = published.facts.spf.voids
    if voids > MOST_VOIDS:
        yield _warning(
            published.facts,
            Reason.SPF_VOID_LOOKUPS,
            f"The SPF record of {published.facts.display_name} names {voids} hosts that do not exist, and receivers "
            f"give up after {MOST_VOIDS}: delete them.",
        )


def dmarc_is_missing(published: Published) -> Iterator[Finding]:
    """No record says what to do with mail that neither SPF nor DKIM confirms, here or at a parent domain."""
    facts = published.facts
    known = any(answer.failure or _dmarc_texts(answer) for answer in facts.dmarc)
    if known or published.is_empty:
        return
    yield _warning(
        facts,
        Reason.DMARC_MISSING,
        f"{facts.display_name} has no DMARC record, and large receivers distrust such mail: publish a TXT record at "
        f"_dmarc.{facts.domain} such as «v=DMARC1; p=none; rua=mailto:dmarc@{facts.domain}».",
    )


def dmarc_records_are_many(published: Published) -> Iterator[Finding]:
    """More than one record counts as none (RFC 9989 section 4.10)."""
    answer = _dmarc_answer(published.facts)
    found = _dmarc_texts(answer) if answer else []
    if answer and len(found) > 1:
        yield _warning(
            published.facts,
            Reason.DMARC_MULTIPLE,
            f"{answer.name} has {len(found)} DMARC records, and receivers then use none: keep one.",
            quote_all(found),
        )


def dmarc_is_invalid(published: Published) -> Iterator[Finding]:
    """The record that applies cannot be read."""
    answer = _dmarc_answer(published.facts)
    found = _dmarc_texts(answer) if answer else []
    if not answer or len(found) != 1:
        return
    try:
        parse_dmarc(found[0])
    except DmarcInvalid as invalid:
        yield _warning(
            published.facts,
            Reason.DMARC_INVALID,
            f"Receivers ignore the DMARC record at {answer.name}: {invalid}.",
            quote(found[0].encode()),
        )


def dkim_keys_are_bad(published: Published) -> Iterator[Finding]:
    """The keys of the named selectors: published, readable, in force and strong enough."""
    for selector, answer in published.facts.dkim.items():
        if not answer.failure:
            yield from _dkim(published.facts, selector, answer)


def dmarc_policy(facts: DomainFacts) -> tuple[str, DmarcRecord] | None:
    """Return the record that receivers apply, and the name it is at; None where there is none."""
    answer = _dmarc_answer(facts)
    found = _dmarc_texts(answer) if answer else []
    try:
        return (answer.name, parse_dmarc(found[0])) if answer and len(found) == 1 else None
    except DmarcInvalid:
        return None


def _dmarc_answer(facts: DomainFacts) -> Records[str] | None:
    """Choose as RFC 9989 section 4.10.1 says: the domain's own record, else that of its Organizational Domain.

    That is the one with the fewest labels, unless a record in between has a tag `psd`: n means that one, and y means
    the one below it.
    """
    own, *parents = facts.dmarc or (None,)
    if own is None or _dmarc_texts(own):
        return own
    chosen: Records[str] | None = None
    for answer in parents:
        match _psd(answer):
            case "n":
                return answer
            case "y":
                return chosen or answer
            case "u":
                chosen = answer
    return chosen


def _psd(answer: Records[str]) -> str:
    """Return the tag psd of a parent's record; empty where there is no record to read."""
    found = _dmarc_texts(answer)
    try:
        return parse_dmarc(found[0]).psd if len(found) == 1 else ""
    except DmarcInvalid:
        return ""


def _dkim(facts: DomainFacts, selector: str, answer: Records[str]) -> Iterator[Finding]:
    found = [text for text in answer.values if is_dkim_record(text)]
    if not found:
        yield _warning(
            facts,
            Reason.DKIM_MISSING,
            f"There is no DKIM key at {answer.name}, so signatures with s={selector} fail: publish the TXT record that "
            "your signer printed (opendkim-genkey, rspamd).",
        )
        return
    try:
        key = parse_dkim(found[0])
    except DkimInvalid as invalid:
        words = f"Receivers cannot use the DKIM record at {answer.name}: {invalid}."
        yield _warning(facts, Reason.DKIM_INVALID, words, quote(found[0].encode()))
        return
    yield from _key_findings(facts, answer.name, key)


def _key_findings(facts: DomainFacts, name: str, key: DkimKey) -> Iterator[Finding]:
    if key.is_revoked:
        yield _warning(
            facts,
            Reason.DKIM_REVOKED,
            f"The DKIM key at {name} is revoked (an empty p=), so signatures with it fail: sign with another selector.",
        )
        return
    if key.is_testing:
        yield _warning(
            facts,
            Reason.DKIM_TESTING,
            f"The DKIM key at {name} is in testing mode (t=y), so receivers treat signed mail like unsigned mail: "
            "remove t=y from the record.",
        )
    if key.kind == "rsa" and key.bits < _RSA_GOOD:
        refused = "fewer than receivers accept" if key.bits < _RSA_LEAST else "fewer than is good practice"
        yield _warning(
            facts,
            Reason.DKIM_KEY_WEAK,
            f"The DKIM key at {name} has {key.bits} bits, {refused}: make one of {_RSA_GOOD} bits under a "
            "new selector.",
        )


def _spf_texts(facts: DomainFacts) -> list[str]:
    return [text for text in facts.spf.records.values if is_spf_record(text)]


def _spf(facts: DomainFacts) -> SpfRecord | None:
    found = _spf_texts(facts)
    try:
        return parse_spf(found[0]) if len(found) == 1 else None
    except SpfInvalid:
        return None


def _dmarc_texts(answer: Records[str]) -> list[str]:
    return [text for text in answer.values if is_dmarc_record(text)]


def _warning(facts: DomainFacts, reason: Reason, message: str, evidence: str = "") -> Finding:
    return Finding(reason, message, Severity.WARN, evidence, facts.display_name)
