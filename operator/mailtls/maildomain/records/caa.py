"""CAA records: which CAs may issue for a name (RFC 8659), and how (RFC 8657)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mailtls.hostname import named
from mailtls.reasons.reason import Finding, Reason

_CRITICAL: Final = 128  # RFC 8659 section 4.1.1
_ISSUE, _ISSUE_WILD = "issue", "issuewild"
_KNOWN: Final = frozenset({_ISSUE, _ISSUE_WILD, "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"})
_METHODS: Final = "validationmethods"  # RFC 8657 section 4
_ACCOUNT: Final = "accounturi"  # RFC 8657 section 3


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """One record as published; `value` is text that is safe to print."""

    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        return f'{self.flags} {self.tag} "{self.value}"'

    @property
    def is_critical(self) -> bool:
        """Whether a CA that does not know the tag must not issue."""
        return bool(self.flags & _CRITICAL)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an `issue` or `issuewild` record says: the domain of the CA, empty for no CA at all, and its parameters."""

    issuer: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def grant_of(record: CaaRecord) -> Grant:
    """Read the value (RFC 8659 section 4.2); what makes no sense grants nothing."""
    issuer, *rest = (part.strip() for part in record.value.split(";"))
    pairs = (part.partition("=") for part in rest if part)
    return Grant(issuer.lower().rstrip("."), {name.strip().lower(): value.strip() for name, _, value in pairs})


def caa_forbids(records: Sequence[CaaRecord], name: str, ca_domains: Collection[str], challenge: str) -> Finding | None:
    """Say why the CA of these domains may not issue; None where it may, and where there is no record."""
    unknown = next((each for each in records if each.is_critical and each.tag not in _KNOWN), None)
    if unknown:
        return _refused(name, f"the record {unknown} is critical, and CAs do not know its tag")
    relevant = _relevant(records, is_wildcard=name.startswith("*."))
    if not relevant:
        return None
    ours = [grant for grant in map(grant_of, relevant) if grant.issuer in ca_domains]
    if not ours:
        named = ", ".join(str(each) for each in relevant)
        return _refused(name, f"it allows other CAs than {' or '.join(sorted(ca_domains))} ({named})")
    if not any(_allows(grant, challenge) for grant in ours):
        return _refused(name, f"it allows other challenges than {challenge} ({_METHODS})")
    return None


def caa_binds_account(records: Sequence[CaaRecord], name: str, ca_domains: Collection[str]) -> bool:
    """Whether only named accounts of the CA may order; whether ours is one of them is unknown here."""
    relevant = _relevant(records, is_wildcard=name.startswith("*."))
    ours = [grant for grant in map(grant_of, relevant) if grant.issuer in ca_domains]
    return bool(ours) and all(_ACCOUNT in grant.parameters for grant in ours)


def _relevant(records: Sequence[CaaRecord], *, is_wildcard: bool) -> list[CaaRecord]:
    """For a wildcard name, issuewild replaces issue (RFC 8659 section 4.3)."""
    wild = [each for each in records if each.tag == _ISSUE_WILD]
    return wild if is_wildcard and wild else [each for each in records if each.tag == _ISSUE]


def _allows(grant: Grant, challenge: str) -> bool:
    methods = grant.parameters.get(_METHODS)
    return methods is None or challenge in [method.strip() for method in methods.split(",")]


def _refused(name: str, why: str) -> Finding:
    message = f"CAA forbids {named(name)}: {why}; add a record for the CA, or use one that is allowed."
    return Finding(Reason.CAA_FORBIDS, message)
