"""What a person asks to be probed: names, addresses and ports as they are typed on a command line."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mailtls.api.reading.probe import default_policy
from mailtls.maildomain.name import InvalidName, address_of, domain_name
from mailtls.probe.target import Port, Protocol, TlsMode
from mailtls.reasons.quoting import quote

_HIGHEST_PORT: Final = 65535
_MODES: Final = {"starttls": TlsMode.START_TLS, "implicit": TlsMode.IMPLICIT, "tls": TlsMode.IMPLICIT}
# RFC 6335's registry; the TLS ports of RFC 8314, LMTP by custom.
KNOWN_PORTS: Final = {
    24: ("lmtp", TlsMode.START_TLS),
    25: ("smtp", TlsMode.START_TLS),
    110: ("pop3", TlsMode.START_TLS),
    143: ("imap", TlsMode.START_TLS),
    465: ("smtp", TlsMode.IMPLICIT),
    587: ("smtp", TlsMode.START_TLS),
    993: ("imap", TlsMode.IMPLICIT),
    995: ("pop3", TlsMode.IMPLICIT),
    4190: ("sieve", TlsMode.START_TLS),
}


class Kind(StrEnum):
    """What a target is; `NAME` may be a mail domain or a host, and its MX records decide."""

    DOMAIN = "domain"
    HOST = "host"
    ADDRESS = "address"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One target; `ports` are those written with it, empty: those of the whole command. `shown` is for people."""

    name: str
    shown: str
    kind: Kind
    ports: tuple[Port, ...] = ()


class BadTarget(ValueError):
    """What was typed makes no sense; the text is the sentence to show."""


def read_target(text: str, kind: Kind = Kind.NAME) -> Wanted:
    """Read a domain, a host, host:port, an address, or [address]:port; `kind` is what `--mx` or `--host` said."""
    name, port = _split(text.strip())
    ports = (read_port(port),) if port else ()
    address = address_of(name)
    if address and "%" in address:
        raise BadTarget(
            f"{_shown(text)} is an address of one link alone: write a global or unique local one, without its zone (%)."
        )
    if kind is Kind.DOMAIN and (address or ports):
        raise BadTarget(f"{_shown(text)} is no mail domain: with --mx write a domain such as example.com.")
    if address:
        return Wanted(address, address, Kind.ADDRESS, ports)
    try:
        read = domain_name(name)
    except InvalidName as invalid:
        raise BadTarget(str(invalid)) from None
    is_host = ports or "." not in read.ascii
    return Wanted(read.ascii, read.shown, Kind.HOST if is_host and kind is Kind.NAME else kind, ports)


def read_port(text: str) -> Port:
    """Read `465`, `465/implicit`, `587/smtp/starttls` or `2525/smtp`; a known port implies what is left out."""
    number, *words = text.strip().lower().split("/")
    if not (number.isascii() and number.isdecimal()) or not 1 <= int(number[:6]) <= _HIGHEST_PORT:
        raise BadTarget(f"{_shown(text)} is no port: write a number from 1 to {_HIGHEST_PORT}, such as 465/implicit.")
    protocols, modes = [word for word in words if word not in _MODES], [word for word in words if word in _MODES]
    if len(protocols) > 1 or len(modes) > 1:
        raise BadTarget(f"{_shown(text)} is no port: write port/protocol/mode, such as 587/smtp/starttls.")
    protocol, tls = KNOWN_PORTS.get(int(number), ("smtp", TlsMode.START_TLS))
    tls = _MODES[modes[0]] if modes else tls
    policy = default_policy(int(number), tls)
    return Port(int(number), tls, policy, _protocol(protocols[0] if protocols else protocol, text))


def read_ports(texts: Iterable[str]) -> tuple[Port, ...]:
    """Read all of them, each number once; the last word on a number counts."""
    ports = {port.port: port for port in map(read_port, texts)}
    return tuple(ports.values())


def _protocol(word: str, text: str) -> Protocol:
    for protocol in Protocol:
        if word in (protocol.value.lower(), protocol.name.lower()):
            return protocol
    names = ", ".join(protocol.value.lower() for protocol in Protocol)
    raise BadTarget(
        f"{_shown(text)}: «{quote(word.encode())}» is no protocol that can be probed; write one of {names}."
    )


def _split(text: str) -> tuple[str, str]:
    """Part host and port; an IPv6 address without brackets is all host."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or rest == ":":
            raise BadTarget(f"{_shown(text)} is no address: write [2001:db8::1]:25.")
        return host, rest.removeprefix(":")
    if text.count(":") != 1 or "://" in text or _is_address(text):
        return text, ""
    host, _, port = text.partition(":")
    if not port:
        raise BadTarget(f"{_shown(text)} has no port after its colon: write host:25.")
    return host, port


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return f"«{quote(text.encode(errors='replace'))}»"


MX_PORTS: Final = read_ports(["25"])
HOST_PORTS: Final = read_ports(["25", "465", "587"])
