"""Reads ports: how they are probed, and what is demanded there."""

from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from mailtls.api.reading.document import Node, duration
from mailtls.probe.target import (
    RELAY_PORT,
    Port,
    PortThresholds,
    Protocol,
    ProxyProtocol,
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
