"""The roots of Let's Encrypt's staging authority: what they vouch for is for trials, and no mail client trusts it."""

from functools import cache
from importlib.resources import files

from cryptography import x509

from mailtls.model.loading import certificates


@cache
def staging_roots() -> tuple[x509.Certificate, ...]:
    """Return the roots that come with this package."""
    return tuple(certificates(files(__package__).joinpath("letsencrypt-staging.pem").read_bytes()))
