"""Which mail server it is, as far as its greeting says."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Software(StrEnum):
    """Mail servers that `workloads[].preset` can name; `GENERIC` is any other."""

    POSTFIX = "postfix"
    DOVECOT = "dovecot"
    EXIM = "exim"
    OPENSMTPD = "opensmtpd"
    HAPROXY = "haproxy"
    NGINX = "nginx"
    SENDMAIL = "sendmail"
    COURIER = "courier"
    CYRUS = "cyrus"
    CHASQUID = "chasquid"
    MADDY = "maddy"
    MOX = "mox"
    GENERIC = "generic"


_NAMES: Final = {
    Software.OPENSMTPD: "OpenSMTPD",
    Software.HAPROXY: "HAProxy",
    Software.NGINX: "nginx",
    Software.CHASQUID: "chasquid",
    Software.MADDY: "maddy",
    Software.MOX: "mox",
}
_NO_LETTERS: Final = re.compile(r"[^a-z0-9]+")


def software_of(lines: Iterable[str]) -> Software | None:
    """Return the server that names itself in what it said first; None where none does, as is its right.

    Host names are left out: mox.example.com may run anything.
    """
    words = (word for word in " ".join(lines).lower().split() if "." not in word.strip(".,;:()"))
    said = {part for word in words for part in _NO_LETTERS.split(word)}
    return next((each for each in Software if each is not Software.GENERIC and each in said), None)


def product_name(software: Software) -> str:
    """Write the server's name as its makers do."""
    return _NAMES.get(software, software.capitalize())
