"""Certificate chains as a CA hands them out (RFC 8555 section 7.4.2)."""

import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from requests.utils import parse_header_links


def clean_chain(pem: str) -> str:
    """Return only the certificates of an answer, each as PEM: nothing else may slip into a Secret.

    RFC 8555 section 11.4 asks clients to check this. Raises ValueError when there is no certificate.
    """
    certificates = x509.load_pem_x509_certificates(pem.encode())
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def ends_in(chain_pem: str, common_name: str) -> bool:
    """Whether a chain leads to the root of this common name: the issuer of its last certificate."""
    last = x509.load_pem_x509_certificates(chain_pem.encode())[-1]
    issuers = last.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return any(attribute.value == common_name for attribute in issuers)


def links(response: requests.Response, relation: str) -> list[str]:
    """Return the URLs that an answer's Link headers give for a relation (RFC 8288); there may be several."""
    found = parse_header_links(response.headers.get("Link", ""))
    return [link["url"] for link in found if link.get("rel") == relation]
