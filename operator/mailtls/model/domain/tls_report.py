"""TLSRPT (RFC 8460 section 3): where senders report how TLS with the domain went."""

import re
from typing import Final
from urllib.parse import urlsplit

from mailtls.model.domain.tags import TagsInvalid, parse_tags
from mailtls.model.quoting import quote

VERSION: Final = "TLSRPTv1"
_MAILBOX = re.compile(r"[^@\s]+@[A-Za-z0-9.-]+")


class ReportInvalid(ValueError):
    """A record that senders do not read; the text says what is wrong, in a few words."""


def is_report_record(text: str) -> bool:
    """Whether senders would take a TXT record for one of TLSRPT."""
    return text.startswith(f"v={VERSION}")


def parse_report(text: str) -> tuple[str, ...]:
    """Return the addresses that reports go to; raises `ReportInvalid`."""
    try:
        tags = parse_tags(text)
    except TagsInvalid as invalid:
        raise ReportInvalid(str(invalid)) from None
    if next(iter(tags.items()), None) != ("v", VERSION):
        raise ReportInvalid(f"it does not begin with v={VERSION};")
    addresses = tuple(part.strip() for part in tags.get("rua", "").split(","))
    if addresses == ("",):
        raise ReportInvalid("it names no address (rua=)")
    for address in addresses:
        if not _is_address(address):
            raise ReportInvalid(f"«{quote(address.encode())}» is neither mailto: with an address nor an https: URL")
    return addresses


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "mailto" and bool(_MAILBOX.fullmatch(parts.path))
