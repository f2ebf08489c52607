"""SPF records (RFC 7208 section 12): who may send with the domain in the envelope."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from mailtls.reasons.quoting import quote

VERSION: Final = "v=spf1"
MOST_LOOKUPS: Final = 10  # RFC 7208 section 4.6.4: more, and receivers give up with permerror
MOST_VOIDS: Final = 2
_TERM = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*)(?:([:=/])(.*))?", re.DOTALL)
_MACRO = r"%(?:\{[slodiphcrtvSLODIPHCRTV][0-9]*[rR]?[-.+,/_=]*\}|%|_|-)"
_DOMAIN = re.compile(rf"(?:{_MACRO}|[\x21-\x24\x26-\x7e])+")
_TOP_LABEL = re.compile(r"(?![0-9]+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_CIDR = re.compile(r"(?:/(?:[0-9]|[12][0-9]|3[0-2]))?(?://(?:[0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?")
_LOOKING_UP: Final = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
_NAMED: Final = frozenset({"include", "exists"})  # mechanisms that need a domain
_KNOWN: Final = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})


class SpfInvalid(ValueError):
    """A record that receivers answer with permerror; the text says what is wrong, in a few words."""


@dataclass(frozen=True, slots=True)
class Term:
    """A mechanism or modifier: `-all`, `include:_spf.example.com`, `redirect=example.com`.

    `domain` is empty where the current domain is meant; `rest` is a CIDR length or an address range.
    """

    name: str
    domain: str = ""
    qualifier: str = "+"
    rest: str = ""

    @property
    def needs_lookup(self) -> bool:
        """Whether evaluating the term costs one of the ten lookups."""
        return self.name in _LOOKING_UP

    @property
    def has_macro(self) -> bool:
        """Whether the domain depends on the message, so nobody can look it up in advance."""
        return "%" in self.domain


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """The terms in the order of the record."""

    terms: tuple[Term, ...]

    @property
    def allows_all(self) -> bool:
        """Whether everybody may send: an `all` with + or without a qualifier (RFC 7208 section 5.1)."""
        return any(term.name == "all" and term.qualifier == "+" for term in self.terms)

    @property
    def evaluated(self) -> tuple[Term, ...]:
        """The terms that are reached: none behind `all`, and no redirect where there is an `all` (section 6.1)."""
        mechanisms = [term for term in self.terms if term.name in _KNOWN]
        names = [term.name for term in mechanisms]
        if "all" in names:
            return tuple(mechanisms[: names.index("all") + 1])
        return (*mechanisms, *(term for term in self.terms if term.name == "redirect"))


def is_spf_record(text: str) -> bool:
    """Whether receivers would take a TXT record for one of SPF (RFC 7208 section 4.5)."""
    return text.lower() == VERSION or text.lower().startswith(f"{VERSION} ")


def parse_spf(text: str) -> SpfRecord:
    """Read a record; raises `SpfInvalid`."""
    if not is_spf_record(text):
        raise SpfInvalid(f"it does not begin with «{VERSION} »")
    terms = tuple(_term(word) for word in text[len(VERSION) :].split(" ") if word)
    for modifier in ("redirect", "exp"):
        if sum(term.name == modifier for term in terms) > 1:
            raise SpfInvalid(f"it has {modifier}= twice")
    return SpfRecord(terms)


def _term(word: str) -> Term:
    match = _TERM.fullmatch(word)
    if match is None:
        raise SpfInvalid(f"«{quote(word.encode())}» is neither a mechanism nor a modifier")
    sign, name, mark, value = match[1], match[2].lower(), match[3] or "", match[4] or ""
    if mark == "=":
        return _modifier(sign, name, value, word)
    if name not in _KNOWN:
        raise SpfInvalid(f"«{quote(word.encode())}» is no mechanism that receivers know")
    return _mechanism(Term(name, qualifier=sign or "+"), mark, value, word)


def _modifier(sign: str, name: str, value: str, word: str) -> Term:
    known = name in {"redirect", "exp"}
    if sign or (known and not _is_domain(value)):
        raise SpfInvalid(f"the modifier «{quote(word.encode())}» is malformed")
    return Term(name, domain=value)  # unknown modifiers are ignored (RFC 7208 section 6)


def _mechanism(term: Term, mark: str, value: str, word: str) -> Term:
    malformed = SpfInvalid(f"the mechanism «{quote(word.encode())}» is malformed")
    if term.name in {"ip4", "ip6"}:
        if mark != ":" or not _is_range(term.name, value):
            raise malformed
        return Term(term.name, qualifier=term.qualifier, rest=value)
    domain, slash, lengths = (value, "", "") if mark == ":" else ("", mark, value)
    if mark == ":" and term.name in {"a", "mx"}:
        domain, slash, lengths = value.partition("/")
    may_have_lengths = term.name in {"a", "mx"}
    if (mark == ":" or term.name in _NAMED) and not _is_domain(domain):
        raise malformed
    if slash and not (may_have_lengths and _CIDR.fullmatch(slash + lengths)):
        raise malformed
    if term.name == "all" and mark:
        raise malformed
    return Term(term.name, domain, term.qualifier, slash + lengths)


def _is_domain(text: str) -> bool:
    """Whether it is a domain-spec (RFC 7208 section 7.1): it ends in a top label behind a dot, or in a macro."""
    before, dot, last = text.removesuffix(".").rpartition(".")
    ends = text.endswith("}") or bool(dot and before and _TOP_LABEL.fullmatch(last))
    return ends and _DOMAIN.fullmatch(text) is not None


def _is_range(name: str, value: str) -> bool:
    address, slash, length = value.partition("/")
    most = 32 if name == "ip4" else 128
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return False
    good_length = length.isascii() and length.isdecimal() and len(length) <= 3 and int(length) <= most  # noqa: PLR2004
    return version == (4 if name == "ip4" else 6) and (good_length or not slash)
