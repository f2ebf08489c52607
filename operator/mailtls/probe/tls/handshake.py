"""TLS as a client without I/O: bytes in, bytes out, the facts of the session, and the roots that it trusts."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from mailtls.hostname import sni
from mailtls.pki import loading
from mailtls.pki.loading import certificates
from mailtls.pki.roots import missing_roots, root_places
from mailtls.pki.served_certificate import WITHOUT_ROOT
from mailtls.probe.facts import Fault, Session, Verification
from mailtls.reasons.quoting import quote, shorten


@cache
def staging_roots() -> tuple[x509.Certificate, ...]:
    """Return the roots that come with this package."""
    return tuple(certificates(files(__package__).joinpath("letsencrypt-staging.pem").read_bytes()))


# No codes of OpenSSL: the extra roots are no certificates, and there are no roots at all.
UNREADABLE_ROOTS: Final = -1
NO_ROOTS: Final = -2
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class TrustStore:
    """The system's roots and extra ones at one moment; verifies chains by OpenSSL, but no names and no purpose.

    Roots are read when the first chain comes, which takes a while: servers that are dead show none. Names and purpose
    are judged on the leaf itself. Not for use by several threads.
    """

    def __init__(self, extra_roots_pem: str, now: datetime, *, trusts_staging: bool = False) -> None:
        self._extra, self._now, self._trusts_staging = extra_roots_pem, now, trusts_staging
        self._has_more = trusts_staging or bool(extra_roots_pem.strip())
        self._unreadable = ""
        self._last: tuple[tuple[bytes, ...], Verification] | None = None

    @cached_property
    def _store(self) -> crypto.X509Store:
        store = _system_roots(self._now)
        try:
            _add(store, self._extra)
        except ValueError as error:
            self._unreadable = shorten(str(error))
        for root in staging_roots() if self._trusts_staging else ():
            store.add_cert(crypto.X509.from_cryptography(root))
        return store

    @cached_property
    def _system(self) -> crypto.X509Store:
        return _system_roots(self._now)

    @cached_property
    def _missing(self) -> str:
        return "" if self._has_more else missing_roots()

    def verify(self, der: tuple[bytes, ...], chain: list[crypto.X509]) -> Verification:
        """Build and check a path from the leaf to a root, with the served certificates alone between them."""
        store = self._store
        if self._unreadable:
            return Verification(UNREADABLE_ROOTS, 0, self._unreadable)
        if self._last is None or self._last[0] != der:  # pods of one workload serve one chain: verify it once
            self._last = (der, self._verify(store, chain))
        return self._last[1]

    def _verify(self, store: crypto.X509Store, chain: list[crypto.X509]) -> Verification:
        try:
            path = crypto.X509StoreContext(store, chain[0], chain[1:]).get_verified_chain()
        except crypto.X509StoreContextError as error:
            code, depth, words = error.errors
            if self._missing and code in WITHOUT_ROOT:
                return Verification(NO_ROOTS, depth, self._missing)
            return Verification(code, depth, shorten(str(words)))
        is_trial = path[-1].to_cryptography() in staging_roots()
        return Verification(is_trial=is_trial, is_public=self._is_public(chain))

    def _is_public(self, chain: list[crypto.X509]) -> bool:
        """Whether the system's roots alone are enough, for a chain that is trusted."""
        if not self._has_more:
            return True
        try:
            crypto.X509StoreContext(self._system, chain[0], chain[1:]).verify_certificate()
        except crypto.X509StoreContextError:
            return False
        return True


def _add(store: crypto.X509Store, extra_roots_pem: str) -> None:
    """Trust the roots of a bundle; intermediates in it would hide that the server does not send them."""
    if not extra_roots_pem.strip():
        return
    bundle = loading.certificates(extra_roots_pem.encode(), loading.BUNDLE)
    roots = [root for root in bundle if root.issuer == root.subject]
    if not roots:  # nothing else to trust: take the bundle's certificates as anchors
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for root in roots or bundle:
        store.add_cert(crypto.X509.from_cryptography(root))


def _system_roots(now: datetime) -> crypto.X509Store:
    """Trust what OpenSSL trusts by default: a file and folders, or what SSL_CERT_FILE and SSL_CERT_DIR name instead."""
    store = crypto.X509Store()
    store.set_time(now)
    file, folders = root_places()
    if file is not None and (found := _roots_in(file)) is not None:
        for root in found:
            store.add_cert(root)
    elif file is not None:
        with suppress(crypto.Error):
            store.load_locations(str(file))
    for folder in folders:  # looked up by hash when needed: no cost of parsing a hundred roots
        store.load_locations(None, str(folder))
    return store


def _roots_in(file: Path) -> tuple[crypto.X509, ...] | None:
    """Read the roots in a file, again only when it was changed: a hundred take longer than all else of a probe.

    None: it holds more than certificates, which only OpenSSL's own reader understands.
    """
    try:
        state = file.stat()
        return _parsed(file, (state.st_mtime_ns, state.st_size, state.st_ino))
    except OSError:
        return ()


@lru_cache(maxsize=4)
def _parsed(file: Path, _state: tuple[int, int, int]) -> tuple[crypto.X509, ...] | None:
    found, pem = [], file.read_bytes()
    if b"-----BEGIN TRUSTED CERTIFICATE" in pem:
        return None
    for each in _CERTIFICATE.findall(pem):
        with suppress(crypto.Error):  # what is no certificate is no root
            found.append(crypto.load_certificate(crypto.FILETYPE_PEM, each))
    return tuple(found)


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
        if name := sni(server_name):
            self._connection.set_tlsext_host_name(name)
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
