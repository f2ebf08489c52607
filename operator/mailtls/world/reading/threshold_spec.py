"""Reads `probe.thresholds` of a resource's spec, and those of single ports."""

from mailtls.probe.threshold import PortThresholds, RsaBits, Thresholds, TlsVersion, parse_margin
from mailtls.world.reading.document import Node


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
