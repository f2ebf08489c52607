"""Host names as certificates hold them: lower case, ASCII, no trailing dot, a wildcard at the left only."""

import re
import unicodedata
from collections.abc import Collection
from ipaddress import ip_address

UNDER_WILDCARD = "mailtls-probe"  # no host of this name need exist: it is only sent as SNI
LONGEST_NAME = 253  # RFC 1035 section 3.1, without the root's empty label and the length octets
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ZONE_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_IPV4 = re.compile(r"[0-9.]+")
_IPV6 = re.compile(r"\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*\]?")
_NOT_A_HOST = "write a full host name such as mx1.example.com, of letters, digits and inner hyphens"


def certificate_name(text: str) -> str:
    """Normalise a name for a certificate (RFC 9525 section 6.3: a wildcard is the whole leftmost label).

    Names in other scripts become A-labels. Raises ValueError with the sentence to show a person.
    """
    if _IPV4.fullmatch(text) or _IPV6.fullmatch(text):
        raise ValueError("mail clients check names and not IP addresses, so give a name such as mx1.example.com")
    bare = text.removeprefix("*.")
    if "*" in bare:
        raise ValueError("a wildcard stands for the whole leftmost label, so write *.example.com, or list each name")
    labels = [_a_label(label) for label in bare.removesuffix(".").split(".")]
    name = text[: len(text) - len(bare)] + ".".join(labels)
    is_whole = len(labels) > 1 and all(_LABEL.fullmatch(label) for label in labels)
    if not is_whole or len(name) > LONGEST_NAME:
        raise ValueError(_NOT_A_HOST)
    return name


def is_named(host: str, names: Collection[str]) -> bool:
    """Whether one of a certificate's names is for `host` (RFC 9525 section 6.3: a wildcard is one whole label)."""
    wanted = host.lower().rstrip(".")
    _, _, parent = wanted.partition(".")
    return wanted in names or (bool(parent) and f"*.{parent}" in names)


def dialled(name: str) -> str:
    """The host that a client dials for a name of a certificate: of a wildcard a made-up one that it is for."""
    return f"{UNDER_WILDCARD}.{name.removeprefix('*.')}" if name.startswith("*.") else name


def address_in(host: str) -> str | None:
    """Return the address that stands in a host's place, without the zone of a link-local one; None for a name."""
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def zone_name(text: str) -> str:
    """Normalise a DNS zone, whose labels may begin with an underscore; raises ValueError with the sentence to show."""
    name = text.lower().removesuffix(".")
    if len(name) > LONGEST_NAME or not all(_ZONE_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("write a bare domain in lower case such as example.com, without wildcard or trailing dot")
    return name


def _a_label(label: str) -> str:
    """Turn a label of any script into ASCII; refuse what IDNA 2003 and 2008 read differently (`straße`)."""
    if label.isascii():
        return label.lower()
    composed = unicodedata.normalize("NFC", label).lower()
    try:
        encoded = composed.encode("idna")
        if encoded.decode("idna") == composed:
            return encoded.decode("ascii")
    except UnicodeError:
        pass
    raise ValueError("this name can be read in more than one way, so write it in ASCII (xn--)")
