"""Which mail server it is, as far as its greeting tells."""

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
    GENERIC = "generic"


_NAMES: Final = {Software.OPENSMTPD: "OpenSMTPD", Software.HAPROXY: "HAProxy"}


def software_of(lines: Iterable[str]) -> Software | None:
    """Return the server that names itself in what it said first; None where none does, as is its right."""
    said = " ".join(lines).lower()
    return next((each for each in Software if each is not Software.GENERIC and each in said), None)


def product_name(software: Software) -> str:
    """Write the server's name as its makers do."""
    return _NAMES.get(software, software.capitalize())
