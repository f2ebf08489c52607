"""DMARC records (RFC 9989, which replaced RFC 7489): what receivers do with mail that SPF and DKIM do not confirm."""

import re
from dataclasses import dataclass
from typing import Final

from mailtls.maildomain.records.dkim import TagsInvalid, parse_tags
from mailtls.reasons.quoting import quote

VERSION: Final = "DMARC1"
_POLICIES: Final = frozenset({"none", "quarantine", "reject"})
_CHOICES: Final = {
    "sp": _POLICIES,
    "np": _POLICIES,
    "adkim": frozenset({"r", "s"}),
    "aspf": frozenset({"r", "s"}),
    "psd": frozenset({"y", "n", "u"}),
    "t": frozenset({"y", "n"}),
}
_MOST_LABELS: Final = 8  # RFC 9989 section 4.10: a walk makes eight lookups at most
_STARTS = re.compile(rf"v[ \t]*=[ \t]*{VERSION}[ \t]*(?:;.*)?", re.DOTALL)


class DmarcInvalid(ValueError):
    """A record that receivers ignore; the text says what is wrong, in a few words."""


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """The policy for the domain, for subdomains, and whether the domain is a public suffix (`psd`)."""

    policy: str
    subdomain_policy: str
    psd: str = "u"


def is_dmarc_record(text: str) -> bool:
    """Whether receivers would take a TXT record for one of DMARC; the others at the name do not count."""
    return _STARTS.fullmatch(text) is not None


def parse_dmarc(text: str) -> DmarcRecord:
    """Read a record (RFC 9989 section 4.8); raises `DmarcInvalid`."""
    try:
        tags = parse_tags(text)
    except TagsInvalid as invalid:
        raise DmarcInvalid(str(invalid)) from None
    if next(iter(tags.items()), None) != ("v", VERSION):
        raise DmarcInvalid(f"it does not begin with v={VERSION};")
    policy = tags.get("p", "").lower() or ("none" if "rua" in tags else "")
    if policy not in _POLICIES:
        raise DmarcInvalid("its policy (p=) is not none, quarantine or reject")
    for name, choices in _CHOICES.items():
        if name in tags and tags[name].lower() not in choices:
            raise DmarcInvalid(f"«{name}={quote(tags[name].encode())}» is none of {', '.join(sorted(choices))}")
    _check_addresses(tags)
    return DmarcRecord(policy, tags.get("sp", policy).lower(), tags.get("psd", "u").lower())


def tree_walk(domain: str) -> tuple[str, ...]:
    """Return the domain and its parents in the order of the tree walk (RFC 9989 section 4.10)."""
    labels = domain.split(".")
    behind = labels[1:] if len(labels) <= _MOST_LABELS else labels[-(_MOST_LABELS - 1) :]
    parents = (".".join(behind[start:]) for start in range(len(behind)))
    return (domain, *parents)


def _check_addresses(tags: dict[str, str]) -> None:
    for name in ("rua", "ruf"):
        for address in tags[name].split(",") if name in tags else ():
            if not re.fullmatch(r"mailto:[^@\s]+@[^@\s]+", address.strip(), re.IGNORECASE):
                raise DmarcInvalid(f"the address «{quote(address.strip().encode())}» in {name}= is not mailto: and one")
