"""Looks up everything that a mail domain publishes; only reads, and judges nothing."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from mailtls.hostname import displayed
from mailtls.maildomain.facts import DomainFacts, MailDomain, SpfFacts, StsFetch
from mailtls.maildomain.lookup.policy_fetch import PolicyFetcher
from mailtls.maildomain.lookup.records import Lookup, MailHosts
from mailtls.maildomain.name import domain_name, selector_name
from mailtls.maildomain.records.dmarc import tree_walk
from mailtls.maildomain.records.spf import MOST_LOOKUPS, SpfInvalid, Term, is_spf_record, parse_spf
from mailtls.net.answer import Records
from mailtls.net.resolver import ResolverSettings

_AT_ONCE: Final = 16
_DOMAINS_AT_ONCE: Final = 4
_MOST_COUNTED: Final = 3 * MOST_LOOKUPS  # enough to say how far above the limit a record is
_DEEPEST: Final = 12  # includes below each other


class Fetches(Protocol):
    """Fetches an MTA-STS policy."""

    def fetch(self, host: str, addresses: Sequence[str], seconds: float | None = None) -> StsFetch:
        """Return what `host` at one of `addresses` gave."""


class Lookups(Protocol):
    """Looks up texts and addresses."""

    def texts(self, name: str) -> Records[str]:
        """Return the TXT records of a name."""

    def exists(self, name: str, kind: str) -> bool | None:
        """Whether a name has records of a kind; None when nobody answered."""


class DomainReader:
    """Reads domains through the resolvers of `settings`; thread-safe.

    Raises ValueError with a sentence for settings that name no resolver.
    """

    def __init__(self, resolver: ResolverSettings | None = None, fetcher: Fetches | None = None) -> None:
        self._settings = resolver or ResolverSettings()
        self._fetcher = fetcher or PolicyFetcher()
        Lookup(self._settings)  # names a nameserver that is none at once

    def read(self, name: str, *, dkim_selectors: Sequence[str] = (), ports: Sequence[int] = (25,)) -> DomainFacts:
        """Look a domain up, with TLSA records for `ports` of its hosts; raises `InvalidName` and nothing else."""
        domain = domain_name(name)
        selectors = tuple(dict.fromkeys(selector_name(selector) for selector in dkim_selectors))
        with ThreadPoolExecutor(_AT_ONCE, "domain-lookup") as pool:
            return _Reading(Lookup(self._settings), self._fetcher, pool).read(
                domain.ascii, domain.shown, selectors, ports
            )

    def read_all(self, domains: Sequence[MailDomain]) -> list[DomainFacts]:
        """Look several up, with TLSA records for port 25; the limit of time is one for all of them."""
        with (
            ThreadPoolExecutor(_AT_ONCE, "domain-lookup") as pool,
            ThreadPoolExecutor(_DOMAINS_AT_ONCE, "domain") as several,  # a reading waits for the pool of its lookups
        ):
            reading = _Reading(Lookup(self._settings), self._fetcher, pool)
            return list(several.map(lambda each: _read(reading, each), domains))

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return the IPv4 and then the IPv6 addresses of a host; raises `InvalidName`."""
        lookup = Lookup(self._settings)
        return tuple(address for answer in lookup.addresses(domain_name(host).ascii) for address in answer.values)


def _read(reading: "_Reading", domain: MailDomain) -> DomainFacts:
    return reading.read(domain.name, displayed(domain.name), domain.dkim_selectors, (25,))


class _Reading:
    """One reading of domains: lookups that do not depend on each other run at the same time."""

    def __init__(self, lookup: Lookup, fetcher: Fetches, pool: ThreadPoolExecutor) -> None:
        self._lookup, self._fetcher, self._pool = lookup, fetcher, pool

    def read(self, domain: str, shown: str, selectors: Iterable[str], ports: Sequence[int]) -> DomainFacts:
        texts = self._lookup.texts
        sts_record = self._pool.submit(texts, f"_mta-sts.{domain}")
        policy = self._pool.submit(self._policy, f"mta-sts.{domain}")
        tlsrpt = self._pool.submit(texts, f"_smtp._tls.{domain}")
        spf = self._pool.submit(self._spf, domain)
        dmarc = [self._pool.submit(texts, f"_dmarc.{name}") for name in tree_walk(domain)]
        dkim = {each: self._pool.submit(texts, f"{each}._domainkey.{domain}") for each in selectors}
        hosts = MailHosts(self._lookup, self._pool).of(domain, ports)
        return DomainFacts(
            domain=domain,
            display_name=shown,
            mx_records=hosts.records,
            mx=hosts.hosts,
            has_null_mx=hosts.has_null_mx,
            is_implicit_mx=hosts.is_implicit,
            sts_record=sts_record.result(),
            sts_policy=policy.result(),
            tlsrpt=tlsrpt.result(),
            spf=spf.result(),
            dmarc=tuple(each.result() for each in dmarc),
            dkim={selector: each.result() for selector, each in dkim.items()},
        )

    def _policy(self, host: str) -> StsFetch | None:
        """Fetch the policy where there is a host for it; None where there is none."""
        addresses = [address for answer in self._lookup.addresses(host) for address in answer.values]
        return self._fetcher.fetch(host, addresses, self._lookup.seconds_left()) if addresses else None

    def _spf(self, domain: str) -> SpfFacts:
        records: Records[str] = self._lookup.texts(domain)
        return SpfCost(self._lookup).of(domain, records)


class SpfCost:
    """Counts the terms that need a lookup, as for a sender that no term matches, so that all are reached."""

    def __init__(self, lookups: Lookups) -> None:
        self._dns = lookups
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
            if term.needs_lookup and self._lookups < _MOST_COUNTED:
                self._lookups += 1
                self._look(domain, term, path)

    def _look(self, domain: str, term: Term, path: tuple[str, ...]) -> None:
        name = (term.domain or domain).rstrip(".").lower()
        if term.has_macro:  # it depends on the message: counted, but not looked up
            return
        if term.name in {"include", "redirect"}:
            self._enter(name, term, path)
        elif term.name in {"a", "exists"}:
            kinds = ("A", "AAAA") if term.name == "a" else ("A",)
            self._count_void([self._dns.exists(name, kind) for kind in kinds])
        elif term.name == "mx":
            self._count_void([self._dns.exists(name, "MX")])

    def _enter(self, name: str, term: Term, path: tuple[str, ...]) -> None:
        if name in path or len(path) >= _DEEPEST:
            self._faults.append(f"{term.name} leads back to {name}, in a circle")
            return
        records = self._dns.texts(name)
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
        """One address family is enough: a receiver looks up only the sender's."""
        self._voids += all(each is False for each in found)
