"""TLS as a client without I/O: bytes in, bytes out, and the facts of the session.

pyOpenSSL rather than `ssl`: it shows the chain as served on every Python release (`ssl` only from 3.13 on), and brings
its own OpenSSL, so that the same fault reads the same everywhere. The handshake itself verifies nothing, because a
certificate that is refused cannot be described; `TrustStore` verifies afterwards.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from OpenSSL import SSL, crypto

from mailtls.hostname import address_in
from mailtls.probe.replies import Fault, Session
from mailtls.probe.tls.trust_store import TrustStore
from mailtls.reasons.quoting import quote, shorten

RECORD_LIMIT: Final = 16384  # octets of plain text in one TLS record (RFC 8446 section 5.1)
_RECORDS: Final = frozenset({b"\x15", b"\x16"})  # alert, handshake: how a server's first record can begin
_VERSION_FAULTS: Final = ("protocol version", "unsupported protocol", "version too low", "no protocols available")


class HandshakeFailed(Exception):
    """TLS did not come about; `detail` quotes OpenSSL or the peer."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault, self.detail = fault, shorten(detail)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client proposes; the default takes part in any TLS from 1.2 on (RFC 9325 section 3.1.1).

    Security level 0: a weak key must be seen to be named. `newest` 0: the newest there is.
    """

    oldest: int = SSL.TLS1_2_VERSION
    newest: int = 0
    ciphers: bytes = b"DEFAULT:@SECLEVEL=0"


@cache
def client_context(offer: Offer = Offer()) -> SSL.Context:
    """Settings of a mail client that verifies nothing; one context serves any number of connections and threads."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(offer.oldest)
    context.set_max_proto_version(offer.newest)
    context.set_cipher_list(offer.ciphers)
    return context


class TlsClient:
    """One TLS session over bytes that somebody else carries; SNI is sent for a `server_name` that is no address.

    `resumed` is the `ticket` of an earlier session over the same context.
    """

    def __init__(self, context: SSL.Context, server_name: str, resumed: SSL.Session | None = None) -> None:
        self._connection = SSL.Connection(context, None)
        if server_name and not address_in(server_name):  # RFC 6066 section 3 forbids it, and some servers abort
            self._connection.set_tlsext_host_name(server_name.encode("ascii", "replace"))
        if resumed is not None:
            self._connection.set_session(resumed)
        self._connection.set_connect_state()
        self._has_received = False

    def handshake(self, received: bytes = b"") -> bool:
        """Take bytes of the server; True once the handshake is done. Raises `HandshakeFailed`."""
        if received and not self._has_received:
            self._has_received = True
            if received[:1] not in _RECORDS:
                raise HandshakeFailed(Fault.NOT_TLS, quote(received.split(b"\n", 1)[0]))
        try:
            self._write(received)
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise _failure(error) from None
        return True

    def outgoing(self) -> bytes:
        """Take the bytes that must be sent now, empty when there are none."""
        chunks = []
        while True:
            try:
                chunks.append(self._connection.bio_read(RECORD_LIMIT))
            except SSL.Error:  # WantReadError: drained
                return b"".join(chunks)

    def encrypt(self, data: bytes) -> bytes:
        """Return the records that carry `data`; raises `HandshakeFailed` when the session is over."""
        try:
            if data:
                self._connection.sendall(data)
        except SSL.Error as error:
            raise _failure(error) from None
        return self.outgoing()

    def decrypt(self, received: bytes) -> tuple[bytes, bool]:
        """Return plain text and whether the peer closed the session; raises `HandshakeFailed` on an alert."""
        chunks = []
        try:
            self._write(received)
            while True:
                chunks.append(self._connection.recv(RECORD_LIMIT))
        except SSL.WantReadError:
            return b"".join(chunks), False
        except SSL.ZeroReturnError:
            return b"".join(chunks), True
        except SSL.Error as error:
            raise _failure(error) from None

    def close(self) -> bytes:
        """Return the closing alert (RFC 8446 section 6.1)."""
        try:
            self._connection.shutdown()
        except SSL.Error:  # the peer broke the session first: nothing to close
            return b""
        return self.outgoing()

    def session(self, trust: TrustStore) -> Session:
        """Facts of the session and what `trust` makes of its chain; call after the handshake."""
        chain = self._connection.get_peer_cert_chain() or []
        if not chain:
            raise HandshakeFailed(Fault.TLS_REFUSED, "the server showed no certificate")
        der = tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, served) for served in chain)
        return Session(
            chain=der,
            tls_version=self._connection.get_protocol_version_name(),
            cipher=self._connection.get_cipher_name() or "",
            verification=trust.verify(der, chain),
        )

    def ticket(self) -> SSL.Session | None:
        """What a later session can resume; with TLS 1.3 it comes after the handshake (RFC 8446 section 4.6.1)."""
        return self._connection.get_session()

    def _write(self, received: bytes) -> None:
        if received:
            self._connection.bio_write(received)


def _failure(error: SSL.Error) -> HandshakeFailed:
    """Name an error of OpenSSL by its reason text, which is the same for all releases that matter."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = str(queue[-1][-1]) if queue else "the server closed the session"
    version = any(mark in words for mark in _VERSION_FAULTS)
    return HandshakeFailed(Fault.NO_SHARED_VERSION if version else Fault.TLS_REFUSED, words)
