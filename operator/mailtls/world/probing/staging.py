"""The roots of Let's Encrypt's staging authority: what they vouch for is for trials, and no mail client trusts it."""

from functools import cache
from importlib.resources import files

from cryptography import x509


@cache
def staging_roots() -> tuple[x509.Certificate, ...]:
    """Return the roots that come with this package."""
    return tuple(x509.load_pem_x509_certificates(files(__package__).joinpath("letsencrypt-staging.pem").read_bytes()))
