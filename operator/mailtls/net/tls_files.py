"""A server's certificate in files that somebody else replaces, as kubelets replace those of a mounted Secret."""

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

RECHECK: Final = 10.0  # seconds between looks at the files
log = structlog.get_logger()


class CertificateFiles:
    """Gives what TLS is spoken with from `tls.crt` and `tls.key` of a folder, and anew when they have changed.

    None while there is no usable pair; one that cannot be used does not take the place of the one before. To be
    called by one thread only.
    """

    def __init__(self, folder: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pair = (folder / "tls.crt", folder / "tls.key")
        self._monotonic, self._due_at = monotonic, monotonic()
        self._context: ssl.SSLContext | None = None
        self._loaded: tuple[bytes, ...] | None = None

    def __call__(self) -> ssl.SSLContext | None:
        """Return what the next connection is secured with."""
        if self._monotonic() >= self._due_at:
            self._due_at = self._monotonic() + RECHECK
            try:
                self._load()
            except (OSError, ValueError) as problem:  # ssl.SSLError is an OSError
                log.warning("the status page's certificate cannot be used", error=str(problem))
        return self._context

    def _load(self) -> None:
        found = tuple(each.read_bytes() for each in self._pair)
        if found == self._loaded:
            return
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._pair)
        self._context, self._loaded = context, found
