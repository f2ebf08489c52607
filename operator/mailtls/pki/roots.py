"""The roots that are trusted, one store for all; and what only Let's Encrypt's staging CA vouches for."""

import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from mailtls.pki import loading

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # how OpenSSL finds a root in a folder
EMPTY_STORE: Final = (
    "The trust store where this runs is empty: install the package ca-certificates, or let SSL_CERT_FILE or "
    "SSL_CERT_DIR name root certificates."
)


def root_places() -> tuple[Path | None, list[Path]]:
    """The file and the folders; SSL_CERT_DIR may name several, as OpenSSL splits it."""
    paths = ssl.get_default_verify_paths()
    named = os.environ.get(paths.openssl_capath_env, paths.openssl_capath)
    folders = [Path(each) for each in named.split(os.pathsep) if each and Path(each).is_dir()]
    return Path(paths.cafile) if paths.cafile else None, folders


def missing_roots() -> str:
    """Say why roots that should be trusted by default are not there, in a sentence; empty where all is well.

    Never raises: a file that this process may not read is one of the causes.
    """
    file, folders = root_places()
    places: list[tuple[Path, Callable[[Path], bool]]] = [(each, _holds_roots) for each in folders]
    if file is not None:
        places.insert(0, (file, _has_roots))
    refused: list[str] = []
    found = [_look(place, has, refused) for place, has in places]
    if refused:
        return f"Roots that should be trusted cannot be read here: {'; '.join(refused)}. Let this process read them."
    return "" if any(found) else EMPTY_STORE


def _look(place: Path, has: Callable[[Path], bool], refused: list[str]) -> bool:
    try:
        return has(place)
    except OSError as error:
        refused.append(f"{place} ({error.strerror or error})")
        return False


def _has_roots(file: Path) -> bool:
    return b"-----BEGIN" in file.read_bytes()


def _holds_roots(folder: Path) -> bool:
    return any(_HASHED.fullmatch(each.name) for each in folder.iterdir())


def trusting(pem: str) -> ssl.SSLContext:
    """A client's TLS settings that trust the roots of a bundle alone; without one, those that are trusted by default.

    Raises ValueError, with a sentence, for a bundle that is none.
    """
    if not pem.strip():
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    add_roots(context, pem)
    return context


def add_roots(context: ssl.SSLContext, pem: str) -> None:
    """Trust the certificates of a bundle too, one by one: a whole bundle is loaded with all other threads held up.

    Raises ValueError, with a sentence, for a bundle that is none.
    """
    for root in loading.certificates(pem.encode(), loading.BUNDLE):
        context.load_verify_locations(cadata=root.public_bytes(Encoding.DER))
