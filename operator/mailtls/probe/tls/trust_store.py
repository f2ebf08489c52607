"""Whether clients trust a chain: the system's roots, extra ones, and those of Let's Encrypt's staging CA."""

from contextlib import suppress
from datetime import datetime
from functools import cache, cached_property
from importlib.resources import files
from typing import Final

from cryptography import x509
from OpenSSL import crypto

from mailtls.pki import loading
from mailtls.pki.loading import certificates
from mailtls.pki.roots import missing_roots, root_places
from mailtls.probe.replies import Verification
from mailtls.reasons.quoting import shorten


@cache
def staging_roots() -> tuple[x509.Certificate, ...]:
    """Return the roots that come with this package."""
    return tuple(certificates(files(__package__).joinpath("letsencrypt-staging.pem").read_bytes()))


# No codes of OpenSSL: the extra roots are no certificates, and there are no roots at all.
UNREADABLE_ROOTS: Final = -1
NO_ROOTS: Final = -2
_UNTRUSTED: Final = frozenset({2, 19, 20, 21})  # X509_V_ERR_* of chains that lead to no root of ours


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
            if self._missing and code in _UNTRUSTED:
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
    if file is not None:
        with suppress(crypto.Error):  # a file without certificates adds none
            store.load_locations(str(file))
    for folder in folders:  # looked up by hash when needed: no cost of parsing a hundred roots
        store.load_locations(None, str(folder))
    return store
