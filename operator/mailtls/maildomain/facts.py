"""What a mail domain publishes and its hosts serve, before it is judged: plain values, bounded in size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from mailtls.net.answer import Records

RELAY_PORT: Final = 25  # where mail from other servers arrives (RFC 5321 section 4.5.4.2)


@dataclass(frozen=True, slots=True)
class MailDomain:
    """A mail domain as the DNS knows it (A-labels, lower case), and the selectors of its DKIM keys."""

    name: str
    dkim_selectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """A TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching_type: int
    data: bytes

    def __str__(self) -> str:
        shown = self.data.hex()
        return f"{self.parameters} {shown if len(shown) <= 64 else f'{shown[:63]}…'}"  # noqa: PLR2004 - SHA-256 fits

    @property
    def parameters(self) -> str:
        """Usage, selector and matching type as in a zone file: `3 1 1`."""
        return f"{self.usage} {self.selector} {self.matching_type}"


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX record as published; `host` may be a real name, an address in disguise, or empty for a null MX."""

    preference: int
    host: str

    def __str__(self) -> str:
        return f"{self.preference} {self.host}."


@dataclass(frozen=True, slots=True)
class Reverse:
    """The names of an address (PTR records); `confirmed` are those of them that lead back to it."""

    names: Records[str]
    confirmed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MxHost:
    """A host that takes the domain's mail. `answers` are the A and AAAA lookups behind `addresses`.

    `tlsa` is by port; `authoritative` holds each nameserver's own answer, `name` being the
    server. `alias` is where a CNAME at the host's name leads. `reverse` is by address, of public addresses only.
    """

    name: str
    preference: int
    addresses: tuple[str, ...] = ()
    tlsa: Mapping[int, Records[TlsaRecord]] = field(default_factory=dict)
    authoritative: Mapping[int, tuple[Records[TlsaRecord], ...]] = field(default_factory=dict)
    alias: str = ""
    is_address: bool = False
    answers: tuple[Records[str], ...] = ()
    reverse: Mapping[str, Reverse] = field(default_factory=dict)


class StsFault(StrEnum):
    """How fetching a policy ended without one."""

    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    REDIRECT = "redirect"
    STATUS = "status"
    CONTENT_TYPE = "content type"
    TOO_LARGE = "too large"
    NO_ROOTS = "no roots"  # of ours: nothing is known of the server


@dataclass(frozen=True, slots=True)
class StsFetch:
    """What https://mta-sts.<domain>/.well-known/mta-sts.txt gave; `detail` is safe to print, `body` at most 64 KiB."""

    fault: StsFault | None = None
    detail: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class SpfFacts:
    """The TXT records of the domain, and what evaluating its SPF record costs in the worst case.

    `lookups` counts terms that need a lookup, through all includes (RFC 7208 section 4.6.4); `voids` those that found
    nothing; `faults` are sentences about includes that break; `is_cut` says that counting stopped.
    """

    records: Records[str]
    lookups: int = 0
    voids: int = 0
    faults: tuple[str, ...] = ()
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """Everything that was learned about one mail domain; `dmarc` holds the domain's answer, then its parents'."""

    domain: str
    display_name: str
    mx_records: Records[Mx]
    mx: tuple[MxHost, ...]
    has_null_mx: bool
    is_implicit_mx: bool
    sts_record: Records[str]
    sts_policy: StsFetch | None
    tlsrpt: Records[str]
    spf: SpfFacts
    dmarc: tuple[Records[str], ...]
    dkim: Mapping[str, Records[str]] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Records[Mx] | Records[str] | Records[TlsaRecord], ...]:
        """The lookups that got no answer."""
        return tuple(lookup for lookup in self._lookups() if lookup.failure)

    def _lookups(self) -> Iterator[Records[Mx] | Records[str] | Records[TlsaRecord]]:
        yield self.mx_records
        for host in self.mx:
            yield from host.answers
            yield from host.tlsa.values()
        yield from (self.sts_record, self.tlsrpt, self.spf.records, *self.dmarc, *self.dkim.values())


@dataclass(frozen=True, slots=True)
class ServedTls:
    """What one port of one of the domain's hosts served, at one of its addresses.

    `chain` is DER as served, leaf first; empty where no TLS came about. `trouble` says in a few words why a sender that
    trusts only the public CAs refuses the TLS or the chain; empty where it accepts both, and where nobody answered.
    `instead_of_starttls` is what the server offered (printable) where STARTTLS was not among it, None everywhere else.
    """

    host: str
    port: int
    chain: tuple[bytes, ...] = ()
    trouble: str = ""
    instead_of_starttls: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One port of one host, with its TLSA records and all that it served."""

    host: MxHost
    port: int
    tlsa: Records[TlsaRecord]
    authoritative: tuple[Records[TlsaRecord], ...]
    served: tuple[ServedTls, ...]

    @property
    def subject(self) -> str:
        """What a finding about it is about."""
        return f"{self.host.name}:{self.port}"

    @property
    def chains(self) -> tuple[tuple[bytes, ...], ...]:
        """Every chain that was served, each once."""
        return tuple(dict.fromkeys(each.chain for each in self.served if each.chain))


@dataclass(frozen=True, slots=True)
class Published:
    """A domain's facts and what its hosts serve; `now` None: the dates of certificates are not checked."""

    facts: DomainFacts
    all_served: tuple[ServedTls, ...] = ()
    now: datetime | None = None

    @property
    def takes_mail(self) -> bool:
        """Whether there is any host for the domain's mail."""
        return bool(self.facts.mx)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all, so that one finding says enough."""
        facts = self.facts
        return not (facts.mx or facts.mx_records.values or facts.spf.records.values)

    def services(self) -> Iterator[Service]:
        """Yield the ports whose TLSA records were looked up."""
        for host in self.facts.mx:
            for port, tlsa in host.tlsa.items():
                yield Service(host, port, tlsa, host.authoritative.get(port, ()), self.served(host.name, port))

    def served(self, host: str, port: int = RELAY_PORT) -> tuple[ServedTls, ...]:
        """Return what a port of a host served, at all of its addresses."""
        return tuple(each for each in self.all_served if (each.host, each.port) == (host, port))
