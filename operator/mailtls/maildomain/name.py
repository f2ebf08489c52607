"""The name of a mail domain or host as a person types it, and as the DNS and a reader want it."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from mailtls.hostname import LONGEST_NAME, InvalidLabel, a_label, displayed, labels
from mailtls.reasons.quoting import quote, shorten

_LONGEST_TYPED: Final = 1024  # no domain is longer in any script; what is longer is not worth reading
_LONGEST_LABEL: Final = 63  # RFC 1035 section 2.3.4
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_SELECTOR_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")


class InvalidName(ValueError):
    """What was typed is no name of a domain or host; the text is the sentence to show."""


@dataclass(frozen=True, slots=True)
class DomainName:
    """`ascii` is what the DNS is asked for (A-labels, lower case, no trailing dot), `shown` what a person reads."""

    ascii: str
    shown: str


def domain_name(text: str) -> DomainName:
    """Read a domain or host name of any script (UTS 46, nontransitional); raises `InvalidName`."""
    typed = text.strip()
    _refuse_other_things(typed)
    name = ".".join(_checked(label, typed) for label in labels(typed))
    if len(name) > LONGEST_NAME:
        raise InvalidName(f"{_shown(typed)} is longer than the {LONGEST_NAME} characters of a domain name.")
    return DomainName(name, displayed(name))


def selector_name(text: str) -> str:
    """Normalise a DKIM selector (RFC 6376 section 3.1); raises `InvalidName`."""
    name = text.strip().lower().removesuffix(".").removesuffix("._domainkey")
    if len(name) > LONGEST_NAME or not all(_SELECTOR_LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidName(f"{_shown(text)} is no DKIM selector: write what stands after s= in a DKIM-Signature header.")
    return name


def address_of(name: str) -> str | None:
    """Return the IP address that a name really is, None for a name."""
    bare = name.strip().removesuffix(".").removeprefix("[").removesuffix("]")
    bare = bare[5:] if bare[:5].lower() == "ipv6:" else bare  # an address literal of mail (RFC 5321 section 4.1.3)
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None


def _refuse_other_things(typed: str) -> None:
    if not typed or typed == ".":
        raise InvalidName("The name is empty: write a domain such as example.com.")
    if len(typed) > _LONGEST_TYPED:
        raise InvalidName(f"{_shown(typed)} is longer than the {LONGEST_NAME} characters of a domain name.")
    if address_of(typed):
        raise InvalidName(f"{_shown(typed)} is an IP address: write the domain that the mail is for.")
    if "/" in typed:
        raise InvalidName(f"{_shown(typed)} is a URL or a path: write the host name in it alone.")
    if "@" in typed:
        raise InvalidName(f"{_shown(typed)} is a mail address: write the part after the @.")


def _checked(label: str, typed: str) -> str:
    if not label:
        raise InvalidName(f"{_shown(typed)} has an empty label: write single dots between the parts of the name.")
    ascii_label = _encoded(label, typed)
    if len(ascii_label) > _LONGEST_LABEL:
        raise InvalidName(
            f"{_shown(typed)} has a part of more than {_LONGEST_LABEL} characters, more than the DNS holds."
        )
    if not _LABEL.fullmatch(ascii_label):
        raise InvalidName(f"{_shown(typed)} is no domain name: its parts are letters, digits and inner hyphens.")
    return ascii_label


def _encoded(label: str, typed: str) -> str:
    try:
        return a_label(label)
    except InvalidLabel as refusal:
        raise InvalidName(f"{_shown(typed)} is no domain name ({shorten(str(refusal))}).") from None


def _shown(typed: str) -> str:
    return f"«{shorten(typed)}»" if typed.isprintable() else f"«{quote(typed.encode(errors='replace'))}»"
