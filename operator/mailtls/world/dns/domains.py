"""Looks up everything that a mail domain publishes; only reads, and judges nothing."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from mailtls.model.domain.dmarc import names_to_ask
from mailtls.model.domain.facts import DomainFacts, Records, SpfFacts, StsFetch
from mailtls.model.domain.name import InvalidName, displayed, domain_name, selector_name
from mailtls.model.spec import MailDomain
from mailtls.world.dns.mail_hosts import MailHosts
from mailtls.world.dns.records import Lookup
from mailtls.world.dns.resolver import ResolverSettings
from mailtls.world.dns.spf_cost import SpfCost
from mailtls.world.dns.sts_fetch import PolicyFetcher

__all__ = ["DomainReader", "InvalidName", "ResolverSettings"]

_AT_ONCE: Final = 16
_DOMAINS_AT_ONCE: Final = 4


class Fetches(Protocol):
    """Fetches an MTA-STS policy."""

    def fetch(self, host: str, addresses: Sequence[str], seconds: float | None = None) -> StsFetch:
        """Return what `host` at one of `addresses` gave."""


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
        asks = Lookup(self._settings)
        return tuple(address for answer in asks.addresses(domain_name(host).ascii) for address in answer.values)


def _read(reading: "_Reading", domain: MailDomain) -> DomainFacts:
    return reading.read(domain.name, displayed(domain.name), domain.dkim_selectors, (25,))


class _Reading:
    """One reading of domains: what does not wait for another answer is asked at once."""

    def __init__(self, lookup: Lookup, fetcher: Fetches, pool: ThreadPoolExecutor) -> None:
        self._lookup, self._fetcher, self._pool = lookup, fetcher, pool

    def read(self, domain: str, shown: str, selectors: Iterable[str], ports: Sequence[int]) -> DomainFacts:
        texts = self._lookup.texts
        sts_record = self._pool.submit(texts, f"_mta-sts.{domain}")
        policy = self._pool.submit(self._policy, f"mta-sts.{domain}")
        tlsrpt = self._pool.submit(texts, f"_smtp._tls.{domain}")
        spf = self._pool.submit(self._spf, domain)
        dmarc = [self._pool.submit(texts, f"_dmarc.{name}") for name in names_to_ask(domain)]
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
