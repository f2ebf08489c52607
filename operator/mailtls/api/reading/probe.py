"""Reads ports and what is demanded there, how their probe goes about, and which mail domains are looked up."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from mailtls.api.reading.acme import bundle_ref, object_name
from mailtls.api.reading.document import Node, duration
from mailtls.api.spec import Probe, PublicName
from mailtls.api.workload import Workload
from mailtls.hostname import certificate_name, client_name
from mailtls.maildomain.facts import MailDomain
from mailtls.maildomain.name import InvalidName, address_of, domain_name, selector_name
from mailtls.probe.target import (
    RELAY_PORT,
    Depth,
    Port,
    PortThresholds,
    Protocol,
    ProxyProtocol,
    Route,
    RsaBits,
    Thresholds,
    TlsMode,
    TlsPolicy,
    TlsVersion,
    parse_margin,
)

_SHORTEST: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(minutes=1)  # the step that probes pods has two, for all connections to a port


def default_policy(port: int, tls: TlsMode) -> TlsPolicy:
    """What a port must do where the spec does not say: only port 25 may accept plain text, as other servers use it."""
    takes_plain_text = port == RELAY_PORT and tls is TlsMode.START_TLS
    return TlsPolicy.OPPORTUNISTIC if takes_plain_text else TlsPolicy.ENFORCED


def ports_listed(node: Node) -> tuple[Port, ...]:
    """Return the ports of a list, none where it is absent."""
    ports: dict[int, Port] = {}
    for item in node.items(16):
        port = _port(item)
        if port.port in ports:
            raise item.refused(f"port {port.port} is listed twice, so remove one of the two")
        ports[port.port] = port
    return tuple(ports.values())


def _port(node: Node) -> Port:
    number, tls = node.at("port").whole(1, 65535), node.at("tlsMode").choice(TlsMode)
    protocol, policy = node.at("protocol"), node.at("tlsPolicy")
    wanted = policy.choice(TlsPolicy) if policy.is_given else default_policy(number, tls)
    if tls is TlsMode.IMPLICIT and wanted is TlsPolicy.OPPORTUNISTIC:
        raise policy.refused("implicit TLS never allows plain text, so remove tlsPolicy, or set it to Enforced")
    spoken = protocol.choice(Protocol) if protocol.is_given else Protocol.SMTP
    proxy, timeout = node.at("proxyProtocol"), node.at("timeout")
    return Port(
        port=number,
        tls_mode=tls,
        tls_policy=wanted,
        protocol=spoken,
        proxy_protocol=proxy.choice(ProxyProtocol) if proxy.is_given else ProxyProtocol.NONE,
        xclient_address=_xclient_address(node.at("xclientAddress"), spoken),
        thresholds=port_thresholds(node.at("thresholds")),
        timeout=duration(timeout, _SHORTEST, _LONGEST) if timeout.is_given else None,
    )


def _xclient_address(node: Node, spoken: Protocol) -> str | None:
    if not node.is_given:
        return None
    if spoken not in {Protocol.SMTP, Protocol.LMTP}:
        raise node.refused("only smtp and lmtp support XCLIENT, so remove xclientAddress")
    return str(node.read(_address))


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError("write an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1") from None


def thresholds(node: Node) -> Thresholds:
    """Read the thresholds; those that are left out are the probe's own. Raises `InvalidSpec`."""
    soon, version, bits = node.at("expiringSoon"), node.at("minimumTLSVersion"), node.at("minimumRSABits")
    return Thresholds(
        expiring_soon=soon.read(parse_margin) if soon.is_given else Thresholds().expiring_soon,
        minimum_tls=version.choice(TlsVersion) if version.is_given else None,
        minimum_rsa_bits=_rsa_bits(bits) if bits.is_given else None,
    )


def port_thresholds(node: Node) -> PortThresholds | None:
    """Read the thresholds of one port, None where it has none of its own. Raises `InvalidSpec`."""
    if not node.is_given:
        return None
    soon, version, bits = node.at("expiringSoon"), node.at("minimumTLSVersion"), node.at("minimumRSABits")
    return PortThresholds(
        expiring_soon=soon.read(parse_margin) if soon.is_given else None,
        minimum_tls=version.choice(TlsVersion) if version.is_given else None,
        minimum_rsa_bits=_rsa_bits(bits) if bits.is_given else None,
    )


def _rsa_bits(node: Node) -> RsaBits:
    for size in RsaBits:
        if size == node.value and not isinstance(node.value, bool):
            return size
    raise node.refused(f"write one of {', '.join(str(size.value) for size in RsaBits)}")


_LEAST: Final = timedelta(minutes=1)
_MOST: Final = timedelta(hours=168)
_LEAST_DEEP: Final = timedelta(hours=1)
_MOST_DEEP: Final = timedelta(hours=8760)


@dataclass(frozen=True, slots=True)
class ProbeDefaults:
    """What gives the probe its defaults."""

    namespace: str
    host: str
    workloads: tuple[Workload, ...]
    interval: timedelta
    client_name: str


def probe(node: Node, defaults: ProbeDefaults) -> Probe:
    """Read `spec.probe`."""
    interval, depth, auth = node.at("interval"), node.at("depth"), node.at("authSecretRef")
    deep, name = node.at("deepInterval"), node.at("clientName")
    routes = _routes(node.at("from"))
    return Probe(
        interval=duration(interval, _LEAST, _MOST) if interval.is_given else defaults.interval,
        trust=bundle_ref(node.at("trust"), defaults.namespace),
        depth=depth.choice(Depth) if depth.is_given else Probe().depth,
        auth_secret=object_name(auth.at("name")) if auth.is_given else None,
        deep_interval=duration(deep, _LEAST_DEEP, _MOST_DEEP) if deep.is_given else None,
        thresholds=thresholds(node.at("thresholds")),
        routes=routes,
        public=_public(node.at("public"), defaults, routes),
        client_name=name.read(client_name) if name.is_given else defaults.client_name,
    )


def _routes(node: Node) -> frozenset[Route]:
    if not node.is_given:
        return Probe().routes
    routes = [item.choice(Route) for item in node.items(3)]
    if Route.PODS not in routes:
        raise node.refused("a rollout is decided by what each pod serves, so keep Pods in the list")
    if len(set(routes)) < len(routes):
        raise node.refused("a route is listed twice, so remove one of the two")
    return frozenset(routes)


def _public(node: Node, defaults: ProbeDefaults, routes: frozenset[Route]) -> PublicName | None:
    if Route.PUBLIC not in routes:
        if node.is_given:
            raise node.refused("the public route is not probed, so add Public to probe.from, or remove public")
        return None
    host, ports = node.at("host"), ports_listed(node.at("ports")) or _ports_outside(defaults.workloads)
    if defaults.workloads and not ports:
        raise node.at("ports").refused(_NO_PORT)
    return PublicName(host.read(_host) if host.is_given else defaults.host, ports)


_NO_PORT: Final = (
    "no port of the workloads is for the public route, so list some, such as {port: 25, tlsMode: StartTLS}"
)


def _host(text: str) -> str:
    if "*" in text:
        raise ValueError("a name with a wildcard cannot be dialled, so write a full host name such as mx1.example.com")
    return certificate_name(text)


def _ports_outside(workloads: Iterable[Workload]) -> tuple[Port, ...]:
    """The ports of the public route: a balancer adds PROXY headers, and LMTP is for the inside."""
    ports = (port for workload in workloads for port in workload.ports if port.protocol is not Protocol.LMTP)
    bare = (replace(port, proxy_protocol=ProxyProtocol.NONE, xclient_address=None) for port in ports)
    return tuple({port.port: port for port in bare}.values())


MOST_DOMAINS: Final = 20
MOST_SELECTORS: Final = 10


def domains(node: Node) -> tuple[MailDomain, ...]:
    """Read the list, none when it is absent; raises `InvalidSpec`."""
    found: dict[str, MailDomain] = {}
    for item in node.items(MOST_DOMAINS):
        name = item.at("name").read(_domain)
        if name in found:
            raise item.refused("a domain is listed twice, so remove one of the two")
        selectors = item.at("dkimSelectors").items(MOST_SELECTORS)
        found[name] = MailDomain(name, tuple(dict.fromkeys(each.read(_selector) for each in selectors)))
    return tuple(found.values())


def _domain(text: str) -> str:
    """Read a name of any script; the sentences are those of the schema."""
    if "@" in text:
        raise ValueError("write only the part after the @, such as example.com")
    if address_of(text):
        raise ValueError("mail goes to names and not to IP addresses, so give a domain such as example.com")
    try:
        return domain_name(text).ascii
    except InvalidName:
        raise ValueError("write a mail domain such as example.com, of letters, digits and inner hyphens") from None


def _selector(text: str) -> str:
    try:
        return selector_name(text)
    except InvalidName:
        raise ValueError("write a DKIM selector such as mail2026, as it stands after s= in a DKIM-Signature") from None
