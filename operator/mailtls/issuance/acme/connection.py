"""TLS connections to ACME servers: the address that was judged is dialled, nothing lasts beyond its deadline.

A name is resolved here and nowhere else, so that no second answer of the DNS can lead elsewhere. What a CA counts is
sent only while the process may still have effects, which is looked at after the connection stands: making one takes
long enough for a lease to end.
"""

import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from mailtls.net.addresses import LOOKUP_SECONDS, AddressPolicy, SocketAddress, look_up
from mailtls.net.effects import before_effect, bounded, seconds_left
from mailtls.pki.roots import trusting

CONNECT_SECONDS: Final = 10.0  # for one address
_MOST_ADDRESSES: Final = 8


class AddressRefused(Exception):
    """All addresses of a name are such as must not be dialled; no OSError, which urllib3 would take for a failure."""


class _TlsSocket(ssl.SSLSocket):
    """Waits for each octet no longer than the whole request may last: a server that drips wins no time by it."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - the base class names it so
        """Read, within what is left."""
        self._hurry()
        return super().read(len, buffer)

    def send(self, data: Any, flags: int = 0) -> int:
        """Write, within what is left."""
        self._hurry()
        return super().send(data, flags)

    def _hurry(self) -> None:
        left = seconds_left()
        if left is not None:
            self.settimeout(left)


class _Connection(HTTPSConnection):
    """Resolves, judges and dials; the certificate is checked against the name as ever."""

    policy: AddressPolicy | None = None
    _counts = False  # whether what is being sent is something that a CA counts

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that takes it (urllib3's place to make a socket)."""
        try:
            found = self._admitted(self._resolved())
            return self._dial(found)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host} in time") from error
        except (socket.gaierror, UnicodeError) as error:
            failure = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
            raise NameResolutionError(self.host, self, failure) from error
        except OSError as error:
            raise NewConnectionError(self, f"Failed to establish a new connection: {error}") from error

    def _resolved(self) -> Sequence[SocketAddress]:
        return look_up(self._dns_host.strip("[]"), self.port, bounded(LOOKUP_SECONDS))

    def _admitted(self, found: Sequence[SocketAddress]) -> Sequence[SocketAddress]:
        if self.policy is None or self.proxy is not None:
            return found  # a proxy is the installation's word, and decides itself where it leads
        dialled = [(str(each[4][0]), int(each[4][1])) for each in found]
        refusals = [(address, self.policy.refusal(address, port)) for address, port in dialled]
        admitted = [each for each, (_, what) in zip(found, refusals, strict=True) if what is None]
        if not admitted:
            address, what = refusals[0]
            raise AddressRefused(f"its address {address} is {what}")
        return admitted

    def _dial(self, addresses: Sequence[SocketAddress]) -> socket.socket:
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in addresses[:_MOST_ADDRESSES]:
            made = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    made.setsockopt(*option)
                made.settimeout(bounded(CONNECT_SECONDS))
                made.connect(address)
                made.settimeout(bounded(CONNECT_SECONDS))  # for the TLS handshake
            except OSError as error:
                made.close()
                failure = error
            else:
                return made
        raise failure

    def request(self, method: str, url: str, *args: Any, **options: Any) -> None:
        """Send a request over a connection that stands."""
        self._counts = method == "POST"
        super().request(method, url, *args, **options)

    def send(self, data: Any) -> None:
        """Send bytes; of what a CA counts only while effects are allowed, looked at as late as can be."""
        if self._counts:
            if self.sock is None:
                self.connect()
            before_effect()
        super().send(data)


class Roots(HTTPAdapter):
    """Trusts only the roots of one PEM bundle; without one what OpenSSL trusts by default, as the probe does.

    Addresses that `policy` refuses are not dialled; without one all are, as befits the command line. Raises
    ValueError for a bundle that holds something else.
    """

    def __init__(self, pem: str = "", *, policy: AddressPolicy | None = None, **options: Any) -> None:
        self._policy = policy
        self._context = trusting(pem)
        self._context.sslsocket_class = _TlsSocket
        if pem:
            # Private CAs seldom fill in every extension of RFC 5280, and their bundle may hold an intermediate only.
            self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the connections of this module (an extension point of requests)."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": self._pool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make them through a proxy too (an extension point of requests)."""
        manager: Any = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": self._pool}
        return manager

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ARG002 - the bundle alone decides
        cert: Any = None,
    ) -> tuple[Any, Any]:
        """Give every connection this adapter's TLS context (an extension point of requests)."""
        host, tls = super().build_connection_pool_key_attributes(request, verify=True, cert=cert)
        return host, {**tls, "ssl_context": self._context}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Add no other roots (an extension point of requests)."""

    def _pool(self, *args: Any, **options: Any) -> HTTPSConnectionPool:
        pool: Any = HTTPSConnectionPool(*args, **options)

        def connect(*args: Any, **options: Any) -> _Connection:
            connection = _Connection(*args, **options)
            connection.policy = self._policy
            return connection

        pool.ConnectionCls = connect
        made: HTTPSConnectionPool = pool
        return made
