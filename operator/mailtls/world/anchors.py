"""Whether a leaf needs no other certificate beside it to be trusted here."""

from datetime import datetime

from OpenSSL import crypto

from mailtls.model import loading
from mailtls.probe.tls.trust_store import TrustStore


def is_anchored(leaf_pem: str, roots_pem: str, now: datetime) -> bool:
    """Whether a root that is trusted by default, or one of `roots_pem`, signed the leaf itself."""
    try:
        (leaf,) = loading.certificates(leaf_pem.encode())
        served = crypto.X509.from_cryptography(leaf)
        found = TrustStore(roots_pem, now).verify((leaf_pem.encode(),), [served])
    except ValueError:
        return False
    return found.code == 0
