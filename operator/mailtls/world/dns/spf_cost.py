"""Follows an SPF record through its includes and counts what evaluating it costs (RFC 7208 section 4.6.4)."""

from typing import Final, Protocol

from mailtls.model.domain.facts import Records, SpfFacts
from mailtls.model.domain.spf import MOST_LOOKUPS, SpfInvalid, Term, is_spf_record, parse_spf

_MOST_COUNTED: Final = 3 * MOST_LOOKUPS  # enough to say how far above the limit a record is
_DEEPEST: Final = 12


class Asks(Protocol):
    """Looks texts and addresses up."""

    def texts(self, name: str) -> Records[str]:
        """Return the TXT records of a name."""

    def exists(self, name: str, kind: str) -> bool | None:
        """Whether a name has records of a kind; None when nobody answered."""


class SpfCost:
    """Counts the terms that ask the DNS, all of them reached, as for a sender that none of them matches."""

    def __init__(self, asks: Asks) -> None:
        self._asks = asks
        self._lookups = self._voids = 0
        self._faults: list[str] = []

    def of(self, domain: str, records: Records[str]) -> SpfFacts:
        """Follow the record of a domain, if it has exactly one that can be read."""
        found = [text for text in records.values if is_spf_record(text)]
        if len(found) == 1:
            self._follow(domain, found[0], (domain,))
        is_cut = self._lookups >= _MOST_COUNTED
        return SpfFacts(records, self._lookups, self._voids, tuple(self._faults), is_cut)

    def _follow(self, domain: str, text: str, path: tuple[str, ...]) -> None:
        try:
            terms = parse_spf(text).evaluated
        except SpfInvalid as invalid:
            if len(path) > 1:  # the domain's own record is judged elsewhere
                self._faults.append(f"the record of {domain} cannot be read: {invalid}")
            return
        for term in terms:
            if term.asks and self._lookups < _MOST_COUNTED:
                self._lookups += 1
                self._look(domain, term, path)

    def _look(self, domain: str, term: Term, path: tuple[str, ...]) -> None:
        name = (term.domain or domain).rstrip(".").lower()
        if term.has_macro:  # it depends on the message: counted, but nobody can ask in advance
            return
        if term.name in {"include", "redirect"}:
            self._enter(name, term, path)
        elif term.name in {"a", "exists"}:
            kinds = ("A", "AAAA") if term.name == "a" else ("A",)
            self._count_void([self._asks.exists(name, kind) for kind in kinds])
        elif term.name == "mx":
            self._count_void([self._asks.exists(name, "MX")])

    def _enter(self, name: str, term: Term, path: tuple[str, ...]) -> None:
        if name in path or len(path) >= _DEEPEST:
            self._faults.append(f"{term.name} leads back to {name}, in a circle")
            return
        records = self._asks.texts(name)
        found = [text for text in records.values if is_spf_record(text)]
        if records.failure:
            self._faults.append(f"{name}, which {term.name} names, could not be looked up ({records.failure})")
        elif len(found) != 1:
            self._voids += not records.values
            has = "no SPF record" if not found else "more than one SPF record"
            self._faults.append(f"{name}, which {term.name} names, has {has}")
        else:
            self._follow(name, found[0], (*path, name))

    def _count_void(self, found: list[bool | None]) -> None:
        """One address family is enough: a receiver asks for the sender's alone."""
        self._voids += all(each is False for each in found)
