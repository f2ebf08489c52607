"""Host names as certificates hold them: lower case, ASCII, no trailing dot, a wildcard at the left only."""

import re
from collections.abc import Collection
from ipaddress import ip_address

import idna

UNDER_WILDCARD = "mailtls-probe"  # no host of this name need exist: it is only sent as SNI
LONGEST_NAME = 253  # RFC 1035 section 3.1, without the root's empty label and the length octets
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ZONE_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_IPV4 = re.compile(r"[0-9.]+")
_IPV6 = re.compile(r"\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*\]?")
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_NOT_IN_ANY_SCRIPT = (
    "this name holds characters that no host name has (IDNA 2008), so use others, or write its ASCII form (xn--)"
)
_AN_ADDRESS = "mail clients check names and not IP addresses, so give a name such as mx1.example.com"
_NOT_A_HOST = "write a full host name such as mx1.example.com, of letters, digits and inner hyphens"


class InvalidLabel(ValueError):
    """A label holds what IDNA 2008 does not allow; the text, in the words of the `idna` library, says what."""


def certificate_name(text: str) -> str:
    """Normalise a name for a certificate (RFC 9525 section 6.3: a wildcard is the whole leftmost label).

    Names in other scripts become A-labels. Raises ValueError with the sentence to show a person.
    """
    if _IPV4.fullmatch(text) or _IPV6.fullmatch(text):
        raise ValueError(_AN_ADDRESS)
    bare = text.removeprefix("*.")
    if "*" in bare:
        raise ValueError("a wildcard stands for the whole leftmost label, so write *.example.com, or list each name")
    found = _in_ascii(bare)
    name = text[: len(text) - len(bare)] + ".".join(found)
    if _IPV4.fullmatch(name.removeprefix("*.")):  # in the digits or dots of another script
        raise ValueError(_AN_ADDRESS)
    is_whole = len(found) > 1 and all(_LABEL.fullmatch(label) for label in found)
    if not is_whole or len(name) > LONGEST_NAME:
        raise ValueError(_NOT_A_HOST)
    return name


def client_name(text: str) -> str:
    """Normalise the name by which a client of SMTP introduces itself (RFC 5321 section 4.1.1.1).

    Raises ValueError with the sentence to show a person.
    """
    if "*" in text:
        raise ValueError(_NOT_A_HOST)
    return certificate_name(text)


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


def sni(host: str) -> bytes:
    """What is sent as SNI to a host: no trailing dot, and nothing for an address (RFC 6066 section 3)."""
    return b"" if address_in(host) else host.removesuffix(".").encode("ascii", "replace")


def zone_name(text: str) -> str:
    """Normalise a DNS zone, whose labels may begin with an underscore.

    Names in other scripts become A-labels. Raises ValueError with the sentence to show a person.
    """
    found = _in_ascii(text)
    name = ".".join(found)
    if len(name) > LONGEST_NAME or not found or not all(_ZONE_LABEL.fullmatch(label) for label in found):
        raise ValueError("write a bare domain in lower case such as example.com, without wildcard or trailing dot")
    return name


def name_glob(text: str) -> str:
    """Normalise a glob over names, whose labels in other scripts become A-labels, as those of the names do.

    Raises ValueError with the sentence to show a person.
    """
    try:
        return ".".join(a_label(label) for label in labels(text))
    except InvalidLabel:
        raise ValueError(
            f"in {text}, a part in another script stands for itself alone, so write *, ? and [] in parts of their own"
        ) from None


def a_label(label: str) -> str:
    """Turn a label of any script into what the DNS holds, as browsers do (IDNA 2008; UTS 46, nontransitional).

    What is ASCII is only made lower case. Raises `InvalidLabel`.
    """
    if label.isascii():
        return label.lower()
    try:
        return idna.encode(label, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as refusal:
        raise InvalidLabel(str(refusal)) from None


def labels(text: str) -> list[str]:
    """Split a name at its dots, those of other scripts included (RFC 3490 section 3.1), without the root's label."""
    found = _DOTS.split(text)
    return found[:-1] if found[-1] == "" else found


def displayed(name: str) -> str:
    """Return the name in its own script; as it stands where A-labels hold nothing that IDNA allows."""
    try:
        return idna.decode(name, uts46=False) if "xn--" in name else name
    except (idna.IDNAError, UnicodeError):
        return name


def named(name: str) -> str:
    """Return a name for a message, in both forms where they differ: `bücher.example (xn--bcher-kva.example)`."""
    prefix = "*." if name.startswith("*.") else ""
    readable = prefix + displayed(name.removeprefix("*."))
    return name if readable == name else f"{readable} ({name})"


def _in_ascii(text: str) -> list[str]:
    try:
        return [a_label(label) for label in labels(text)]
    except InvalidLabel:
        raise ValueError(_NOT_IN_ANY_SCRIPT) from None
