"""What a mail domain publishes, as it was looked up and before anybody judged it: plain values, bounded in size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Dnssec(StrEnum):
    """What is known about the signatures of an answer; `UNKNOWN` where no trusted resolver validated it."""

    SECURE = "secure"  # AD of a validating resolver on loopback or of the user's choice (RFC 6840 section 5.8)
    INSECURE = "insecure"  # such a resolver answered without AD
    BOGUS = "bogus"  # SERVFAIL that goes away with CD, checking disabled (RFC 4035 section 3.2.2)
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Records(Generic[Value]):
    """The answer to one question. No such name and no such record are answers; `failure` says why there is none.

    `ttl` in seconds is the longest of the records and of the aliases before them; `alias` is the name at the end of
    CNAMEs; `left_out` counts records beyond what is kept.
    """

    name: str
    kind: str
    values: tuple[Value, ...] = ()
    ttl: int = 0
    dnssec: Dnssec = Dnssec.UNKNOWN
    failure: str = ""
    alias: str = ""
    left_out: int = 0


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
class MxHost:
    """A host that takes the domain's mail. `answers` are the A and AAAA questions behind `addresses`.

    `tlsa` is by port; `authoritative` holds each nameserver's own answer to the same question, `name` being the
    server. `alias` is where a CNAME at the host's name leads.
    """

    name: str
    preference: int
    addresses: tuple[str, ...] = ()
    tlsa: Mapping[int, Records[TlsaRecord]] = field(default_factory=dict)
    authoritative: Mapping[int, tuple[Records[TlsaRecord], ...]] = field(default_factory=dict)
    alias: str = ""
    is_address: bool = False
    answers: tuple[Records[str], ...] = ()


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

    `lookups` counts terms that ask the DNS, through all includes (RFC 7208 section 4.6.4); `voids` those that found
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
        """The questions that got no answer."""
        return tuple(asked for asked in self._asked() if asked.failure)

    def _asked(self) -> Iterator[Records[Mx] | Records[str] | Records[TlsaRecord]]:
        yield self.mx_records
        for host in self.mx:
            yield from host.answers
            yield from host.tlsa.values()
        yield from (self.sts_record, self.tlsrpt, self.spf.records, *self.dmarc, *self.dkim.values())
