"""Asks resolvers what the DNS says, and what DNSSEC says about it; nothing that they answer raises."""

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from mailtls.net.addresses import AddressPolicy
from mailtls.net.answer import Dnssec, Records
from mailtls.net.dns_server import DNS_PORT, Address, is_authoritative, split_server
from mailtls.reasons.quoting import shorten

_Value = TypeVar("_Value")
Read = Callable[[Any], _Value]
_DATAGRAM: Final = 1232  # octets that no path fragments (the DNS flag day of 2020)
_DIRECT_SECONDS: Final = 2.0  # for one authoritative server
_NO_RESOLVER: Final = "this machine names no resolver (/etc/resolv.conf)"


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """Which resolvers are asked, and how patiently; no `nameservers` means the system's.

    `nameservers` are addresses, `[address]:port` for another port than 53. `trusts_ad` takes their word for DNSSEC;
    a resolver on loopback is trusted anyhow, as nobody can stand between. `timeout` is for one question, `overall`
    for all that is asked about a domain, both in seconds. `authoritative_port` is where a zone's servers listen; a zone
    names them itself, so those whose address `policy` refuses are not asked. Without one all are, as befits the command
    line.
    """

    nameservers: tuple[str, ...] = ()
    trusts_ad: bool = False
    timeout: float = 5.0
    overall: float = 30.0
    authoritative_port: int = DNS_PORT
    policy: AddressPolicy | None = None


class Resolver:
    """Asks within one limit of time, which begins now; thread-safe.

    Raises ValueError with a sentence for a nameserver that is no address.
    """

    def __init__(self, settings: ResolverSettings) -> None:
        self._settings = settings
        self._until = time.monotonic() + settings.overall
        self._servers = tuple(_address(server) for server in settings.nameservers)
        self._lock = threading.Lock()
        self._validates: bool | None = None
        self._plain = _configured(self._servers, dns.flags.AD)  # asks what DNSSEC says (RFC 6840 section 5.7)
        self._unchecked = _configured(self._servers, dns.flags.CD)  # wants no checks
        self._trusted = settings.trusts_ad or self._is_local()

    def ask(self, name: str, kind: str, read: Read[_Value], most: int) -> Records[_Value]:
        """Ask for the records of a name; `read` makes a value of each, or None of what is not to be had."""
        try:
            return self._found(
                name, kind, self._answer(self._plain, name, kind), partial(_values, read=read, most=most)
            )
        except _ServerFailure as failure:
            return self._doubted(name, kind, str(failure), partial(_values, read=read, most=most))
        except _Unanswered as unanswered:
            return Records(name, kind, failure=str(unanswered))

    def zone(self, name: str) -> str | None:
        """Return the zone that a name is in, by the SOA record that answers carry; None when it is not to be found."""
        try:
            answer = self._answer(self._plain, name, "SOA")
        except _Unanswered:
            return None
        sections = (*answer.response.answer, *answer.response.authority)
        owners = [found.name for found in sections if found.rdtype == dns.rdatatype.SOA]
        return _text(owners[0]) if owners else None

    def ask_directly(
        self, server: Address, name: str, kind: str, read: Read[_Value], most: int = 100
    ) -> Records[_Value]:
        """Ask one authoritative server; `name` of the answer is the server's address."""
        policy = self._settings.policy
        if policy is not None and (what := policy.refusal(server.host, server.port)) is not None:
            return Records(str(server), kind, failure=f"{what}, which is not connected to")
        try:
            query = dns.message.make_query(name, kind, use_edns=0, payload=_DATAGRAM, flags=0)
            seconds = min(_DIRECT_SECONDS, self._left())
            answer, _ = dns.query.udp_with_fallback(query, server.host, timeout=seconds, port=server.port)
        except (dns.exception.DNSException, OSError, EOFError, ValueError, _Unanswered) as error:
            return Records(str(server), kind, failure=_words(error))
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            return Records(str(server), kind, failure=dns.rcode.to_text(answer.rcode()))
        if not is_authoritative(answer):  # resolvers pass over it, too: it does not know the zone
            return Records(str(server), kind, failure="not authoritative for the zone")
        wanted = dns.rdatatype.from_text(kind)
        found = [each for each in answer.answer if each.rdtype == wanted]
        values, left_out = _values([rdata for each in found for rdata in each], read=read, most=most)
        return Records(str(server), kind, values, max((each.ttl for each in found), default=0), left_out=left_out)

    def _found(
        self, name: str, kind: str, answer: "_Answer", values: Callable[[Iterable[Any]], tuple[tuple[_Value, ...], int]]
    ) -> Records[_Value]:
        kept, left_out = values(answer.rrset)
        alias = "" if answer.canonical == dns.name.from_text(name) else _text(answer.canonical)
        return Records(name, kind, kept, answer.ttl, self._dnssec(answer), alias=alias, left_out=left_out)

    def _doubted(
        self, name: str, kind: str, words: str, values: Callable[[Iterable[Any]], tuple[tuple[_Value, ...], int]]
    ) -> Records[_Value]:
        """Distinguish a broken chain of signatures from a broken server: the former answers when checking is off."""
        failed: Records[_Value] = Records(name, kind, failure=words)
        try:
            self._answer(self._unchecked, name, kind)
        except _Unanswered:
            return failed
        try:  # a server that was only tired for a moment is not to be called bogus
            return self._found(name, kind, self._answer(self._plain, name, kind), values)
        except _ServerFailure:
            words = "SERVFAIL, but an answer when DNSSEC is not checked"
            return Records(name, kind, failure=words, dnssec=Dnssec.BOGUS)
        except _Unanswered:
            return failed

    def _answer(self, resolver: dns.resolver.Resolver | None, name: str, kind: str) -> "_Answer":
        if resolver is None:
            raise _Unanswered(_NO_RESOLVER)
        seconds = min(self._settings.timeout, self._left())
        try:
            found = resolver.resolve(name, kind, raise_on_no_answer=False, search=False, lifetime=seconds)
        except dns.resolver.NXDOMAIN as nothing:
            responses: Mapping[Any, dns.message.Message] = nothing.kwargs["responses"]
            return _Answer.of(next(iter(responses.values())), dns.rdatatype.from_text(kind))
        except dns.resolver.NoNameservers as failure:
            raise _refusal(failure) from None
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            raise _Unanswered(_words(error)) from None
        return _Answer.of(found.response, dns.rdatatype.from_text(kind))

    def _dnssec(self, answer: "_Answer") -> Dnssec:
        if not self._trusted:
            return Dnssec.UNKNOWN
        if answer.is_authentic:
            self._validates = True
            return Dnssec.SECURE
        return Dnssec.INSECURE if self._is_validating() else Dnssec.UNKNOWN

    def _is_validating(self) -> bool:
        """Whether the resolver checks signatures at all: it then calls the signed root authentic."""
        with self._lock:
            if self._validates is None:
                try:
                    self._validates = self._answer(self._plain, ".", "SOA").is_authentic
                except _Unanswered:
                    self._validates = False
            return self._validates

    def _is_local(self) -> bool:
        servers = self._plain.nameservers if self._plain else ()
        hosts = [server if isinstance(server, str) else str(server.answer_nameserver()) for server in servers]
        return bool(hosts) and all(_is_loopback(host) for host in hosts)

    def seconds_left(self) -> float:
        """Return the rest of the time, at least a moment."""
        return max(0.1, self._until - time.monotonic())

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise _Unanswered(f"not asked, as {self._settings.overall:g} seconds were over")
        return left


class _Unanswered(Exception):
    """No answer; the text says why in a few words."""


class _ServerFailure(_Unanswered):
    """SERVFAIL: a broken server, or signatures that do not verify."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What counts of a response: the records at the end of the aliases, the longest TTL on the way, and AD."""

    response: dns.message.Message
    rrset: tuple[Any, ...]
    canonical: dns.name.Name
    ttl: int
    is_authentic: bool

    @classmethod
    def of(cls, response: dns.message.Message, kind: dns.rdatatype.RdataType) -> "_Answer":
        canonical = response.question[0].name
        aliases = {each.name: each for each in response.answer if each.rdtype == dns.rdatatype.CNAME}
        ttl = 0
        for _ in range(len(aliases)):  # no more steps than aliases: they may lead in a circle
            if canonical not in aliases:
                break
            ttl, canonical = max(ttl, aliases[canonical].ttl), aliases[canonical][0].target
        found = [each for each in response.answer if each.rdtype == kind and each.name == canonical]
        ttl = max([ttl, *(each.ttl for each in found)])
        authentic = bool(response.flags & dns.flags.AD)
        return cls(response, tuple(rdata for each in found for rdata in each), canonical, ttl, authentic)


def _values(found: Iterable[Any], *, read: Read[_Value], most: int) -> tuple[tuple[_Value, ...], int]:
    """Read at most so many records; how many are left out."""
    records = tuple(found)
    return tuple(read(record) for record in records[:most]), max(0, len(records) - most)


def _configured(servers: tuple[Address, ...], flag: dns.flags.Flag) -> dns.resolver.Resolver | None:
    try:
        resolver = dns.resolver.Resolver(configure=not servers)
    except (dns.exception.DNSException, OSError):
        return None
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(server.host, server.port) for server in servers]
    resolver.flags = dns.flags.RD | flag
    resolver.use_edns(0, 0, _DATAGRAM)
    return resolver


def _address(server: str) -> Address:
    try:
        host, port = split_server(server)
        return Address(str(ipaddress.ip_address(host)), port)
    except ValueError:
        raise ValueError(
            f"«{shorten(server)}» is no resolver: write an address such as 127.0.0.1 or [::1]:5353."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # an address with a zone
        return False


def _refusal(failure: dns.resolver.NoNameservers) -> _Unanswered:
    """Name what the servers said; one SERVFAIL among them makes it worth asking again without checks."""
    responses = [error[4] for error in failure.kwargs.get("errors", ()) if len(error) > 4 and error[4] is not None]  # noqa: PLR2004
    codes = list(dict.fromkeys(dns.rcode.to_text(response.rcode()) for response in responses))
    if "SERVFAIL" in codes:
        return _ServerFailure("SERVFAIL")
    return _Unanswered(" and ".join(codes) or "the resolvers' answers cannot be read")


def _words(error: Exception) -> str:
    match error:
        case _Unanswered():
            return str(error)
        case dns.exception.Timeout() | TimeoutError():
            return "no answer in time"
        case OSError():
            return shorten(error.strerror or type(error).__name__)
    return f"an answer that cannot be read ({type(error).__name__})"


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
