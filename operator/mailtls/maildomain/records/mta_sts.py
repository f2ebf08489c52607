"""MTA-STS (RFC 8461), the record that announces a policy and the policy itself; and TLSRPT (RFC 8460) beside it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from mailtls.maildomain.records.dkim import TagsInvalid, parse_tags
from mailtls.reasons.quoting import quote

VERSION: Final = "STSv1"
REPORT_VERSION: Final = "TLSRPTv1"  # RFC 8460 section 3
LONGEST_AGE: Final = 31_557_600  # a year (RFC 8461 section 3.2)
_EXTENSION = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x3a\x3c\x3e-\x7e]+"
# RFC 8461 section 3.1: `v` comes first, fields of other names are extensions.
_RECORD = re.compile(rf"v=STSv1((?:[ \t]*;[ \t]*{_EXTENSION})+)[ \t]*(?:;[ \t]*)?")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_MX = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_AGE = re.compile(r"[0-9]{1,10}")
_MAILBOX = re.compile(r"[^@\s]+@[A-Za-z0-9.-]+")
_PRESENT: Final = "a policy has"


class StsInvalid(ValueError):
    """A record or policy that senders do not read; the text says what is wrong, in a few words."""


class ReportInvalid(ValueError):
    """A record that senders do not read; the text says what is wrong, in a few words."""


class StsMode(StrEnum):
    """What senders do where TLS does not come about as the policy wants (RFC 8461 section 5)."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsRecord:
    """The TXT record at `_mta-sts`; senders fetch the policy again when `id` changes."""

    id: str

    def __str__(self) -> str:
        return f"v={VERSION}; id={self.id};"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """The policy; `mx` are host names or wildcards for one label, `max_age` seconds."""

    mode: StsMode
    mx: tuple[str, ...]
    max_age: int

    def __str__(self) -> str:
        hosts = "".join(f"mx: {host}\r\n" for host in self.mx)
        return f"version: {VERSION}\r\nmode: {self.mode}\r\n{hosts}max_age: {self.max_age}\r\n"

    def lists(self, host: str) -> bool:
        """Whether a pattern is the host, a wildcard standing for exactly one label (RFC 8461 section 4.1)."""
        wanted = host.lower().rstrip(".")
        _, _, parent = wanted.partition(".")
        return any(pattern in {wanted, f"*.{parent}"} for pattern in self.mx)


def is_sts_record(text: str) -> bool:
    """Whether senders would take a TXT record for one of MTA-STS; the others at the name do not count."""
    return text == "v=STSv1" or text.startswith(("v=STSv1;", "v=STSv1 ", "v=STSv1\t"))


def parse_record(text: str) -> StsRecord:
    """Read the TXT record strictly, as RFC 8461 section 3.1 writes it down; raises `StsInvalid`."""
    match = _RECORD.fullmatch(text)
    if match is None:
        raise StsInvalid("it is not of the form «v=STSv1; id=20260801T120000;»")
    fields = [field.strip(" \t").partition("=") for field in match[1].split(";")[1:]]
    ids = [value for name, _, value in fields if name == "id"]
    if len(ids) != 1:
        raise StsInvalid("it has no id" if not ids else "it has more than one id")
    if not _ID.fullmatch(ids[0]):
        raise StsInvalid("its id is not 1 to 32 letters and digits")
    return StsRecord(ids[0])


def parse_policy(body: bytes) -> StsPolicy:
    """Read a policy (RFC 8461 section 3.2), with any line end; raises `StsInvalid`."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise StsInvalid("it is not UTF-8 text") from None
    fields, hosts = _fields(text)
    if fields.get("version") != VERSION:
        raise StsInvalid(f"{_PRESENT} the line «version: {VERSION}», and this one does not")
    mode = _mode(fields.get("mode"))
    if mode is not StsMode.NONE and not hosts:
        raise StsInvalid("it has no mx line, so it allows no host of the domain")
    return StsPolicy(mode, tuple(hosts), _max_age(fields.get("max_age")))


def is_report_record(text: str) -> bool:
    """Whether senders would take a TXT record for one of TLSRPT."""
    return text.startswith(f"v={REPORT_VERSION}")


def parse_report(text: str) -> tuple[str, ...]:
    """Return the addresses that reports go to; raises `ReportInvalid`."""
    try:
        tags = parse_tags(text)
    except TagsInvalid as invalid:
        raise ReportInvalid(str(invalid)) from None
    if next(iter(tags.items()), None) != ("v", REPORT_VERSION):
        raise ReportInvalid(f"it does not begin with v={REPORT_VERSION};")
    addresses = tuple(part.strip() for part in tags.get("rua", "").split(","))
    if addresses == ("",):
        raise ReportInvalid("it names no address (rua=)")
    for address in addresses:
        if not _is_address(address):
            raise ReportInvalid(f"«{quote(address.encode())}» is neither mailto: with an address nor an https: URL")
    return addresses


def _fields(text: str) -> tuple[dict[str, str], list[str]]:
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon or not name:
            raise StsInvalid(f"the line «{quote(line.encode())}» is not of the form «name: value»")
        if name == "mx":
            hosts.append(_host(value))
        else:
            fields.setdefault(name, value)  # the first of a repeated field counts
    return fields, hosts


def _host(value: str) -> str:
    if not _MX.fullmatch(value):
        raise StsInvalid(f"«{quote(value.encode())}» is no host name, nor *. and a domain")
    return value.lower()


def _mode(value: str | None) -> StsMode:
    if value not in set(StsMode):
        words = "none" if value is None else f"«{quote(value.encode())}»"
        raise StsInvalid(f"{_PRESENT} the line «mode: enforce», testing or none; here it is {words}")
    return StsMode(value)


def _max_age(value: str | None) -> int:
    if value is None or not _AGE.fullmatch(value) or int(value) > LONGEST_AGE:
        raise StsInvalid(f"{_PRESENT} a line max_age with 0 to {LONGEST_AGE} seconds")
    return int(value)


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "mailto" and bool(_MAILBOX.fullmatch(parts.path))
