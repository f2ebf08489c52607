"""From the options of `mailtls probe` to a request; whatever makes no sense is refused in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailtls.cli.output.words import safe
from mailtls.cli.survey import BOTH_FAMILIES, ONLY_IPV4, ONLY_IPV6, Preamble, Request
from mailtls.cli.targets import BadTarget, Kind, read_ports, read_target
from mailtls.hostname import client_name
from mailtls.maildomain.name import address_of, domain_name, selector_name
from mailtls.net.resolver import ResolverSettings
from mailtls.pki.loading import BUNDLE, certificates
from mailtls.probe.conversation import Limits
from mailtls.probe.target import (
    Credentials,
    Depth,
    Expected,
    ProxyProtocol,
    RsaBits,
    Thresholds,
    TlsVersion,
    parse_margin,
)

_WAITING: Final = 10  # so many more may wait for servers that do not answer
_LARGEST_FILE: Final = 4 * 1024 * 1024
_Choice = TypeVar("_Choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options as they were typed."""

    targets: tuple[str, ...]
    mx: bool = False
    host: bool = False
    ports: tuple[str, ...] = ()
    only_ipv4: bool = False
    only_ipv6: bool = False
    depth: Depth = Depth.QUICK
    server_names: tuple[str, ...] = ()
    ca_file: Path | None = None
    staging: bool = False
    expiring_soon: str | None = None
    min_tls: str | None = None
    min_rsa_bits: str | None = None
    expect_cert: Path | None = None
    resolvers: tuple[str, ...] = ()
    dkim_selectors: tuple[str, ...] = ()
    timeout: float = 20.0
    concurrency: int = 50
    proxy_protocol: str | None = None
    xclient: str | None = None
    client_name: str | None = None
    login: tuple[str, str] | None = field(default=None, repr=False)  # user and password


def request(options: Options) -> Request:
    """Check all options; raises ValueError or OSError with the sentence to show."""
    if options.login and options.depth is Depth.QUICK:
        raise BadTarget("A quick probe tries no login: write --depth full or --deep beside --auth-user.")
    if options.server_names[1:] and options.depth is Depth.QUICK:
        raise BadTarget("A quick probe dials one name: write --depth full or --deep for more than one --server-name.")
    names = tuple(dict.fromkeys(domain_name(name).ascii for name in options.server_names))
    kind = _kind(options)
    return Request(
        wanted=tuple(dict.fromkeys(read_target(text, kind) for text in options.targets)),
        ports=read_ports(options.ports),
        depth=options.depth,
        server_name=names[0] if names else None,
        expected=replace(_expected(options), names=names),
        families=_families(options),
        resolver=ResolverSettings(nameservers=options.resolvers, trusts_ad=bool(options.resolvers)),
        dkim_selectors=tuple(selector_name(selector) for selector in options.dkim_selectors),
        limits=_limits(options),
        preamble=_preamble(options),
    )


def _kind(options: Options) -> Kind:
    if options.mx and options.host:
        raise BadTarget("Write --mx for mail domains or --host for hosts, not both.")
    if options.mx:
        return Kind.DOMAIN
    return Kind.HOST if options.host else Kind.NAME


def _families(options: Options) -> frozenset[str]:
    if options.only_ipv4 and options.only_ipv6:
        raise BadTarget("Write -4 or -6, or neither for both.")
    if options.only_ipv4:
        return ONLY_IPV4
    return ONLY_IPV6 if options.only_ipv6 else BOTH_FAMILIES


def _preamble(options: Options) -> Preamble:
    version = (options.proxy_protocol or "none").lower()
    known = {each.lower(): each for each in ProxyProtocol}
    if version not in known:
        raise BadTarget(f"«{safe(version)}» is no version of the PROXY protocol: write v1 or v2.")
    address = address_of(options.xclient) if options.xclient else None
    if options.xclient and not address:
        raise BadTarget(f"«{safe(options.xclient)}» is no address: write --xclient 192.0.2.1.")
    return Preamble(known[version], address)


def _limits(options: Options) -> Limits:
    """Stretch all phases with a longer time-out; of a shorter one each phase may take what it usually does."""
    usual = Limits()
    longer = max(1.0, options.timeout / usual.overall)
    return replace(
        usual.lasting(options.timeout),
        inspection=usual.inspection * longer,
        names=usual.names * longer,
        concurrency=options.concurrency,
        connections=max(options.concurrency, min(usual.connections, _WAITING * options.concurrency)),
    )


def _expected(options: Options) -> Expected:
    roots = _read(options.ca_file).decode("utf-8", "replace") if options.ca_file else ""
    if options.ca_file:
        _certificates(roots.encode(), options.ca_file)
    anything = Expected(
        extra_roots_pem=roots,
        login=_credentials(options),
        trusts_staging=options.staging,
        thresholds=_thresholds(options),
        by_hand=True,
        client_name=_client_name(options),
    )
    if options.expect_cert is None:
        return anything
    leaf = _certificates(_read(options.expect_cert), options.expect_cert)[0]
    fingerprint = sha256(leaf.public_bytes(Encoding.DER)).hexdigest()
    return replace(anything, leaf_sha256=fingerprint, not_before=leaf.not_valid_before_utc)


def _client_name(options: Options) -> str:
    try:
        return client_name(options.client_name) if options.client_name else ""
    except ValueError as refusal:
        raise BadTarget(f"For --client-name {refusal}.") from None


def _thresholds(options: Options) -> Thresholds:
    usual = Thresholds()
    try:
        soon = usual.expiring_soon if options.expiring_soon is None else parse_margin(options.expiring_soon)
    except ValueError as refusal:
        raise BadTarget(f"For --expiring-soon {refusal}.") from None
    return Thresholds(
        soon,
        _one_of("--min-tls", options.min_tls, {str(each): each for each in TlsVersion}),
        _one_of("--min-rsa-bits", options.min_rsa_bits, {str(each.value): each for each in RsaBits}),
    )


def _one_of(option: str, word: str | None, known: Mapping[str, _Choice]) -> _Choice | None:
    if word is not None and word not in known:
        raise BadTarget(f"For {option} write one of {', '.join(known)}.")
    return None if word is None else known[word]


def _credentials(options: Options) -> Credentials | None:
    try:
        return Credentials(*options.login) if options.login else None
    except ValueError as refusal:
        raise BadTarget(f"For --auth-user {refusal}.") from None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_LARGEST_FILE)
    except OSError as error:
        raise BadTarget(f"{file} cannot be read ({error.strerror}).") from None


def _certificates(pem: bytes, file: Path) -> list[x509.Certificate]:
    try:
        return certificates(pem, BUNDLE)
    except ValueError:
        raise BadTarget(f"{file} holds no certificate in PEM, or something that is none.") from None
