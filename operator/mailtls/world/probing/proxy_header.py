"""What a client says first where the PROXY protocol is expected (haproxy's proxy-protocol.txt, versions 1 and 2)."""

from ipaddress import ip_address
from typing import Final

from mailtls.model.spec import ProxyProtocol

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY: Final = b"\x21"  # version 2, command PROXY
_FAMILIES: Final = {4: b"\x11", 6: b"\x21"}  # TCP over IPv4 and IPv6


def proxy_header(version: ProxyProtocol, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """Tell the connection as it is: we are no proxy, so both ends are our own socket's."""
    (ours, our_port), (theirs, their_port) = source, destination
    family = ip_address(ours).version
    if version is ProxyProtocol.V1:
        return f"PROXY TCP{family} {ours} {theirs} {our_port} {their_port}\r\n".encode()
    ports = our_port.to_bytes(2, "big") + their_port.to_bytes(2, "big")
    body = ip_address(ours).packed + ip_address(theirs).packed + ports
    return _SIGNATURE + _PROXY + _FAMILIES[family] + len(body).to_bytes(2, "big") + body
