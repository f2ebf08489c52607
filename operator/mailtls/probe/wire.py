"""One TCP connection of a probe, bare or under TLS, without asyncio's streams: they hide what comes before TLS."""

import asyncio
import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Final

from mailtls.probe.target import ProxyProtocol
from mailtls.probe.tls.handshake import TlsClient

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY: Final = b"\x21"  # version 2, command PROXY
_FAMILIES: Final = {4: b"\x11", 6: b"\x21"}  # TCP over IPv4 and IPv6


def proxy_header(version: ProxyProtocol, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """Describe the connection as it is: we are no proxy, so both ends are our own socket's."""
    (ours, our_port), (theirs, their_port) = source, destination
    family = ip_address(ours).version
    if version is ProxyProtocol.V1:
        return f"PROXY TCP{family} {ours} {theirs} {our_port} {their_port}\r\n".encode()
    ports = our_port.to_bytes(2, "big") + their_port.to_bytes(2, "big")
    body = ip_address(ours).packed + ip_address(theirs).packed + ports
    return _SIGNATURE + _PROXY + _FAMILIES[family] + len(body).to_bytes(2, "big") + body


_READS_IN_A_ROW: Final = 16
CHUNK: Final = 16384  # octets read at once: all that a peer can make a probe hold


class Wire:
    """A connected socket; used by one task. Raises OSError for what the network does."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._reads = 0

    @classmethod
    async def connect(cls, host: str, port: int) -> "Wire":
        """Connect to an address; of a name, each address is a target of its own."""
        family = socket.AF_INET6 if isinstance(ip_address(host), IPv6Address) else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    @property
    def client_name(self) -> str:
        """Our address as a literal: a client without a name of its own may say so (RFC 5321 section 4.1.4)."""
        address, _ = _address(self._socket.getsockname())
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    def proxy_header(self, version: ProxyProtocol) -> bytes:
        """What a port that expects the PROXY protocol expects first, empty for `NONE`."""
        if version is ProxyProtocol.NONE:  # most ports: no need to query the socket, which may be gone already
            return b""
        ours, theirs = (_address(name) for name in (self._socket.getsockname(), self._socket.getpeername()))
        return proxy_header(version, ours, theirs)

    async def receive(self) -> bytes:
        """Return some bytes, none when the peer has closed."""
        self._reads += 1
        if self._reads % _READS_IN_A_ROW == 0:  # a flood is always readable: without this no time limit would fire
            await asyncio.sleep(0)
        return await self._loop.sock_recv(self._socket, CHUNK)

    async def send(self, data: bytes) -> None:
        """Send all of `data`; a peer that has gone is left for `receive` to find, as its last words say why."""
        with suppress(ConnectionError):
            if data:
                await self._loop.sock_sendall(self._socket, data)

    def close(self, farewell: bytes = b"") -> None:
        """Close, after trying to say a last word that nobody waits for."""
        with suppress(OSError):
            if farewell:
                self._socket.send(farewell)
        self._socket.close()


def _address(name: tuple[str, int]) -> tuple[str, int]:
    """Address and port of a socket's end, without the zone of a link-local address."""
    return name[0].split("%", maxsplit=1)[0], name[1]


class TlsWire:
    """The same under TLS; raises `HandshakeFailed` for what TLS says."""

    def __init__(self, wire: Wire, tls: TlsClient) -> None:
        self._wire, self._tls = wire, tls

    async def receive(self) -> bytes:
        """Return some plain text, none when the peer has closed."""
        received = b""  # the handshake's last bytes may have brought the greeting along
        while True:
            text, closed = self._tls.decrypt(received)
            await self._wire.send(self._tls.outgoing())
            if text or closed:
                return text
            received = await self._wire.receive()
            if not received:
                return b""

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._wire.send(self._tls.encrypt(data))
